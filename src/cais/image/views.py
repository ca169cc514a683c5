"""What people see of an image: ``inspect`` and ``history``, in Docker's words."""

from __future__ import annotations

from cais.spec import timestamp
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.image.records import ImageRecord
    from cais.image.store import Image, Images

MISSING = "<missing>"
_ZERO_TIME = "0001-01-01T00:00:00Z"


class HistoryEntry(NamedTuple):
    """``id`` is the image's for the newest entry and ``<missing>`` below. ``empty``: it made no layer."""

    id: str
    created_unix: float
    created: str
    created_by: str
    size_bytes: int
    comment: str
    empty: bool
    tags: tuple[str, ...] = ()


def history(images: Images, image: Image) -> list[HistoryEntry]:
    """The newest entry first. Layers that the history does not mention come as entries of their own."""
    layers = iter(zip(image.manifest.layers, image.config.diff_ids, strict=True))
    entries: list[HistoryEntry] = []
    for item in image.config.history:
        size_bytes, empty = 0, bool(item.get("empty_layer"))
        if not empty:
            made = next(layers, None)
            size_bytes = images.layer_sizes((made[0],), (made[1],))[0] if made is not None else 0
        created = _text(item.get("created"))
        entries.append(
            HistoryEntry(
                MISSING, timestamp.parse(created), created, _text(item.get("created_by")), size_bytes,
                _text(item.get("comment")), empty,
            )
        )  # fmt: skip
    for layer, diff_id in layers:
        size_bytes = images.layer_sizes((layer,), (diff_id,))[0]
        entries.append(HistoryEntry(MISSING, 0.0, "", "", size_bytes, "", False))
    entries.reverse()
    if entries:
        entries[0] = entries[0]._replace(id=image.id, tags=tuple(name.familiar for name in image.names if name.tag))
    return entries


def inspect(images: Images, image: Image, record: ImageRecord) -> dict[str, Any]:
    """Docker's JSON of an image, with its keys in Docker's order."""
    size_bytes = record.size_bytes
    if image.config.digest != record.id:
        size_bytes = images.layer_sizes(image.manifest.layers, image.config.diff_ids)[0]
    return {
        **described(image, size_bytes, {"GraphDriver": {"Data": None, "Name": images.driver_name}}),
        "Metadata": {"LastTagTime": timestamp.format(record.recorded)},
        "Descriptor": image.target.to_json(),
        **({"Annotations": image.manifest.annotations} if image.manifest.annotations else {}),
    }


def described(image: Image, size_bytes: int, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an image says of itself, wherever it is; ``more`` stands behind its size."""
    config = image.config
    fields = config.fields
    repositories = sorted({name.familiar_name for name in image.names})
    history_comment = _text(config.history[-1].get("comment")) if config.history else ""
    return {
        "Id": config.digest,
        "RepoTags": [name.familiar for name in image.names if name.tag],
        "RepoDigests": [f"{name}@{image.digest}" for name in repositories],
        "Parent": "",
        "Comment": _text(fields.get("comment")) or history_comment,
        "Created": config.created or _ZERO_TIME,
        "DockerVersion": _text(fields.get("docker_version")),
        "Author": _text(fields.get("author")),
        "Config": _run_config(config.run),
        "Architecture": _text(fields.get("architecture")),
        **({"Variant": _text(fields["variant"])} if fields.get("variant") else {}),
        "Os": _text(fields.get("os")),
        **({"OsVersion": _text(fields["os.version"])} if fields.get("os.version") else {}),
        "Size": size_bytes,
        **(more or {}),
        "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
    }


_RUN_DEFAULTS: Mapping[str, Any] = {
    "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False,
    "ExposedPorts": None, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
    "Healthcheck": None, "ArgsEscaped": None, "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None,
    "NetworkDisabled": None, "MacAddress": None, "OnBuild": None, "Labels": None, "StopSignal": None,
    "StopTimeout": None, "Shell": None,
}  # fmt: skip
_MAPS = frozenset(("ExposedPorts", "Labels", "Volumes"))
_LEFT_OUT_EMPTY = frozenset((
    "ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout", "Shell"
))  # fmt: skip


def _run_config(run: Mapping[str, Any]) -> dict[str, Any]:
    """All of Docker's keys, with its defaults; those that it leaves out where they are empty are left out."""
    value = {}
    for key, default in _RUN_DEFAULTS.items():
        item = run.get(key, default)
        if item is None or (item in ({}, "", False) and key in _LEFT_OUT_EMPTY):
            if key in _LEFT_OUT_EMPTY:
                continue
            item = default
        value[key] = dict(sorted(item.items())) if key in _MAPS and isinstance(item, dict) else item
    value.update({key: item for key, item in run.items() if key not in _RUN_DEFAULTS})
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
