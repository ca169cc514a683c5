"""``cais volume ls``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cais.cli.call import Call
    from cais.engine.volumes import Volume, Volumes

COMMAND = Command(
    "[OPTIONS]",
    "List volumes",
    aliases=("volume ls", "volume list"),
    flags=(
        Flag("cluster", "", "", hidden=True),
        filter_flag("f", 'Provide filter values (e.g. "dangling=true")'),
        list_format(),
        Flag("quiet", "q", "", "Only display volume names"),
        Flag("size", "s", "", "Display what the volumes take"),
        Flag("snapshots", "", "", "List the snapshots of volumes instead"),
    ),
    examples=(
        "cais volume ls --size",
        "cais volume ls --snapshots",
        "cais volume ls -q --filter dangling=true",
        "cais volume ls --filter kind=cache",
    ),
)


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age
    from cais.cli.values import filters

    volumes = call.engine.volumes
    if call["snapshots"]:
        return _snapshots(call)
    found = volumes.list(filters(call["filter"]))
    caches = any(volume.kind == "cache" for volume in found)
    fields: dict[str, Callable[[Any], Any]] = {
        "Availability": lambda volume: "N/A",
        "Driver": lambda volume: volume.kind,
        "Group": lambda volume: "N/A",
        "Labels": lambda volume: ",".join(f"{key}={value}" for key, value in sorted(volume.labels.items())),
        "Links": lambda volume: str(volumes.links(volume.name)) if call["size"] else "N/A",
        "Mountpoint": lambda volume: volume.path,
        "Name": lambda volume: volume.name,
        "Scope": lambda volume: "local",
        "Size": lambda volume: _size(volumes, volume) if call["size"] else "N/A",
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
            "Size": lambda volume: _size(volumes, volume) if volume.kind == "cache" or call["size"] else "N/A",
        }
    methods = {"Label": lambda volume: lambda name: volume.labels.get(name, "")}
    show(
        found, fields, headers, _columns(call, caches),
        kind="volume", format=call["format"], quiet="Name" if call["quiet"] else "", methods=methods,
    )  # fmt: skip
    return 0


def _columns(call: Call, caches: bool) -> tuple[str, ...]:
    if call["cluster"]:
        return ("Name", "Group", "Driver", "Availability", "Status")
    if caches:
        return ("Driver", "Name", "Size", "LastUsed")
    return ("Driver", "Name", "Size") if call["size"] else ("Driver", "Name")


def _size(volumes: Volumes, volume: Volume) -> str:
    from cais.cli.units import human_size

    size = volumes.size_bytes(volume)
    return human_size(size) if size >= 0 else "N/A"


def _snapshots(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age, human_size
    from cais.cli.values import filters
    from cais.errors import Invalid

    asked = filters(call["filter"])
    for key in asked:
        if key != "name":
            raise Invalid(f"invalid filter '{key}'", hint="Snapshots are filtered by name.")
    wanted = asked.get("name", [""])
    found = [item for item in call.engine.volumes.snapshots() if any(text in item.volume for text in wanted)]
    fields = {
        "CreatedAt": lambda item: age(item.created, time.time()),
        "Mountpoint": lambda item: item.path,
        "Name": lambda item: f"{item.volume}@{item.name}",
        "Size": lambda item: human_size(item.size_bytes),
        "Snapshot": lambda item: item.name,
        "Volume": lambda item: item.volume,
    }
    headers = {
        "CreatedAt": "CREATED", "Mountpoint": "MOUNTPOINT", "Name": "NAME", "Size": "SIZE", "Snapshot": "SNAPSHOT",
        "Volume": "VOLUME NAME",
    }  # fmt: skip
    show(
        found, fields, headers, ("Volume", "Snapshot", "CreatedAt", "Size"), kind="volume", format=call["format"],
        quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    return 0
