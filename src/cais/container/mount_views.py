"""The mounts of a container as ``inspect`` shows them, in Docker's words. Pure."""

from __future__ import annotations

from cais.container.mount_options import MOUNT_FLAG, TMPFS_FLAG, VOLUME_FLAG, MountPoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    Points = Sequence[MountPoint]


def binds(points: Points) -> list[str] | None:
    """``HostConfig.Binds``: what ``-v`` was given, but for anonymous volumes."""
    found = [
        f"{point.source}:{point.target}" + (f":{point.given_mode}" if point.given_mode else "")
        for point in points
        if point.origin == VOLUME_FLAG and not point.anonymous
    ]
    return found or None


def host_config(points: Points) -> dict[str, Any]:
    """``Mounts`` and ``Tmpfs`` of HostConfig: what ``--mount`` and ``--tmpfs`` were given, where they were."""
    value: dict[str, Any] = {
        "Mounts": [_spec(point) for point in points if point.origin == MOUNT_FLAG],
        "Tmpfs": dict(sorted((point.target, ",".join(point.flags)) for point in points if point.origin == TMPFS_FLAG)),
    }
    return {name: found for name, found in value.items() if found}


def anonymous(points: Points) -> dict[str, Any] | None:
    """``Config.Volumes``."""
    return {point.target: {} for point in points if point.anonymous and point.origin != MOUNT_FLAG} or None


def mounts(points: Points, volume_paths: Mapping[str, str]) -> list[dict[str, Any]]:
    """``Mounts``: what is mounted. ``volume_paths``: where each volume's files are."""
    return [_mount(point, volume_paths) for point in points if point.origin != TMPFS_FLAG]


def _mount(point: MountPoint, volume_paths: Mapping[str, str]) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": point.kind}
    if point.kind == "volume":
        value["Name"] = point.source
    value["Source"] = volume_paths.get(point.source, "") if point.kind == "volume" else point.source
    value["Destination"] = point.target
    if point.kind == "volume":
        value["Driver"] = point.driver or "local"
    # Docker's default mode of a volume that was asked for by name or by --mount.
    named = point.kind == "volume" and (point.origin == MOUNT_FLAG or not point.anonymous)
    value["Mode"] = point.given_mode or ("z" if named else "")
    value["RW"] = not point.readonly
    value["Propagation"] = point.propagation or ("rprivate" if point.kind == "bind" else "")
    return value


def _spec(point: MountPoint) -> dict[str, Any]:
    value: dict[str, Any] = {"Type": point.kind}
    if point.source and not point.anonymous:
        value["Source"] = point.source
    value["Target"] = point.target
    if point.readonly and point.kind != "image":
        value["ReadOnly"] = True
    if point.consistency:
        value["Consistency"] = point.consistency
    more = {"bind": _bind, "volume": _volume, "tmpfs": _tmpfs, "image": _image}[point.kind](point)
    if more:
        value[f"{point.kind.capitalize()}Options"] = more
    return value


def _bind(point: MountPoint) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if point.propagation:
        value["Propagation"] = point.propagation
    if not point.recursive:
        value["NonRecursive"] = True
    if point.make_source:
        value["CreateMountpoint"] = True
    if point.nested:
        value["ReadOnlyNonRecursive" if point.nested == "writable" else "ReadOnlyForceRecursive"] = True
    return value


def _volume(point: MountPoint) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if not point.copy:
        value["NoCopy"] = True
    if point.labels:
        value["Labels"] = dict(item.partition("=")[::2] for item in point.labels)
    if point.subpath:
        value["Subpath"] = point.subpath
    driver: dict[str, Any] = {"Name": point.driver} if point.driver else {}
    if point.driver_options:
        driver["Options"] = dict(item.partition("=")[::2] for item in point.driver_options)
    return {**value, "DriverConfig": driver} if value or driver else {}


def _tmpfs(point: MountPoint) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if point.size_bytes:
        value["SizeBytes"] = point.size_bytes
    if point.mode:
        value["Mode"] = int(point.mode, 8)
    return value


def _image(point: MountPoint) -> dict[str, Any]:
    return {"Subpath": point.subpath} if point.subpath else {}
