"""``system df -v``: every image, container, volume and entry of the build cache, in Docker's four tables."""

from __future__ import annotations

import time

from cais.cli.others import put, quoted
from cais.cli.table import aligned
from cais.cli.units import age, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cais.engine.usage import UsageDetails

_IMAGES = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
_CONTAINERS = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
_VOLUMES = ("Name", "Links", "Size")
_CACHE = ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "UsageCount", "Shared")
_TITLES = {
    "CacheType": "CACHE TYPE", "Command": "COMMAND", "Containers": "CONTAINERS", "CreatedSince": "CREATED",
    "Image": "IMAGE", "LastUsedSince": "LAST USED", "Links": "LINKS", "LocalVolumes": "LOCAL VOLUMES",
    "Name": "VOLUME NAME", "Names": "NAMES", "Repository": "REPOSITORY", "RunningFor": "CREATED", "Shared": "SHARED",
    "SharedSize": "SHARED SIZE", "Size": "SIZE", "Status": "STATUS", "Tag": "TAG", "UniqueSize": "UNIQUE SIZE",
    "UsageCount": "USAGE",
}  # fmt: skip


def show_details(details: UsageDetails, format: str) -> None:
    """Prints them, or what ``format`` makes of ``.Images``, ``.Containers``, ``.Volumes`` and ``.BuildCache``."""
    document = _document(details)
    if format not in ("", "table"):
        from cais.cli.documents import formatted

        put(formatted(document, format) + "\n")
        return
    taken = human_size(sum(entry.size_bytes for entry in details.cache), 4)
    parts = (
        ("Images space usage:", "Images", _IMAGES, "IMAGE ID"),
        ("Containers space usage:", "Containers", _CONTAINERS, "CONTAINER ID"),
        ("Local Volumes space usage:", "Volumes", _VOLUMES, ""),
        (f"Build cache usage: {taken}", "BuildCache", _CACHE, "CACHE ID"),
    )
    texts = []
    for title, key, columns, id in parts:
        rows = [[id if name == "ID" else _TITLES[name] for name in columns]]
        rows += [[row[name] for name in columns] for row in document[key]]
        texts.append(f"{title}\n\n{aligned(rows)}")
    put("\n".join(texts))


def _document(details: UsageDetails) -> dict[str, Sequence[dict[str, str]]]:
    now = time.time()
    return {
        "Images": [
            {
                "Repository": image.repository, "Tag": image.tag, "ID": image.id[7:19],
                "CreatedSince": age(image.created_unix, now), "Size": human_size(image.size_bytes),
                "SharedSize": human_size(shared, 4), "UniqueSize": human_size(max(0, image.size_bytes - shared), 4),
                "Containers": str(containers),
            }
            for image, shared, containers in details.images
        ],
        "Containers": [
            {
                "ID": row.id[:12], "Image": row.image, "Command": _command(row.command),
                "LocalVolumes": str(len(row.volumes)), "Size": human_size(size), "RunningFor": age(row.created, now),
                "Status": row.status, "Names": row.name,
            }
            for row, size in details.containers
        ],
        "Volumes": [
            {"Name": volume.name, "Links": str(links), "Size": human_size(size, 4) if size >= 0 else "N/A"}
            for volume, links, size in details.volumes
        ],
        "BuildCache": [
            {
                "ID": entry.id, "CacheType": entry.type, "Size": human_size(entry.size_bytes, 4),
                "CreatedSince": age(entry.created, now), "LastUsedSince": age(entry.used, now),
                "UsageCount": str(entry.uses), "Shared": "true" if entry.shared else "false",
            }
            for entry in details.cache
        ],
    }  # fmt: skip


def _command(text: str) -> str:
    short = text if len(text) <= 20 else text[:19] + "…"
    return quoted(short)
