"""``cais volume ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List volumes",
    aliases=("volume ls", "volume list"),
    flags=(
        filter_flag("f", 'Provide filter values (e.g. "dangling=true")'),
        list_format(),
        Flag("quiet", "q", "", "Only display volume names"),
    ),
    examples=("cais volume ls", "cais volume ls -q --filter dangling=true", "cais volume ls --filter kind=cache"),
)


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age, human_size
    from cais.cli.values import filters

    volumes = call.engine.volumes
    found = volumes.list(filters(call["filter"]))
    caches = any(volume.kind == "cache" for volume in found)
    fields: dict[str, Callable[[Any], Any]] = {
        "Availability": lambda volume: "N/A",
        "Driver": lambda volume: volume.kind,
        "Group": lambda volume: "N/A",
        "Labels": lambda volume: ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": lambda volume: "N/A",
        "Mountpoint": lambda volume: volume.path,
        "Name": lambda volume: volume.name,
        "Scope": lambda volume: "local",
        "Size": lambda volume: "N/A",
        "Status": lambda volume: "N/A",
    }
    headers = {
        "Availability": "AVAILABILITY", "Driver": "DRIVER", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS",
        "Mountpoint": "MOUNTPOINT", "Name": "VOLUME NAME", "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS",
        "CacheID": "CACHE ID", "Kind": "KIND", "LastUsed": "LAST USED",
    }  # fmt: skip
    if caches or any(name in call["format"] for name in ("CacheID", "Kind", "LastUsed")):
        fields |= {
            "CacheID": lambda volume: volume.cache_id,
            "Kind": lambda volume: volume.kind,
            "LastUsed": lambda volume: age(volume.last_used, time.time()),
            "Size": lambda volume: human_size(volumes.size_bytes(volume)) if volume.kind == "cache" else "N/A",
        }
    methods = {"Label": lambda volume: lambda name: volume.labels.get(name, "")}
    show(
        found, fields, headers, ("Driver", "Name", "Size", "LastUsed") if caches else ("Driver", "Name"),
        kind="volume", format=call["format"], quiet="Name" if call["quiet"] else "", methods=methods,
    )  # fmt: skip
    return 0
