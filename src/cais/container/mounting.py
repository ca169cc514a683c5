"""The mounts of a container: from its plan's mount points to what a runtime, or ``container.files``, mounts."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.container.mount_options import MountPoint
from cais.errors import Invalid, from_os_error
from cais.runtime import spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.volume.store import VolumeStore


def prepare_mount(volumes: VolumeStore, point: MountPoint, rootfs: str) -> Mapping[str, Any]:
    """``point`` as the OCI runtime spec has it; a new volume is filled from the image. Raises Invalid, NotFound, ..."""
    if point.kind == "tmpfs":
        return _tmpfs(point)
    if point.kind == "volume":
        volume = volumes.use(point.source)
        if volume.options:
            from cais.volume.mounting import mount

            mount(volume)
        if point.copy:
            from cais.volume.filling import fill
            from cais.volume.options import has_dress

            fill(volume.path, rootfs, point.target, dressed=has_dress(volume.options))
        source = volume.path
    else:
        source = point.source
        _check_source(point)
    options = ["rbind" if point.recursive else "bind", *_readonly(point)]
    if point.propagation:
        options.append(point.propagation)
    return spec.bind(source, point.target, options)


def _tmpfs(point: MountPoint) -> Mapping[str, Any]:
    options = ["nosuid", "nodev", "noexec"]
    for flag in point.flags:
        options = [option for option in options if option != "no" + flag] + [flag]
    if point.size_bytes:
        options.append(f"size={point.size_bytes}")
    if point.mode:
        options.append(f"mode={point.mode}")
    options.append("ro" if point.readonly else "rw")
    return {"destination": point.target, "type": "tmpfs", "source": "tmpfs", "options": options}


def _readonly(point: MountPoint) -> list[str]:
    if not point.readonly:
        return ["rw"]
    if point.kind == "bind" and not os.path.isdir(point.source):
        return ["ro"]  # nothing is below a file, and crun takes `rro` for directories only
    # Read-only below, too, as Docker has it; the kernel can do that since 5.12.
    release = os.uname().release.split(".")
    recent = release[0].isdigit() and (int(release[0]), int("".join(filter(str.isdigit, release[1])) or 0)) >= (5, 12)
    return ["ro", "rro"] if recent and point.recursive else ["ro"]


def _check_source(point: MountPoint) -> None:
    if os.path.lexists(point.source):
        return
    if not point.make_source:
        raise Invalid(
            f'invalid mount config for type "bind": bind source path does not exist: {point.source}', exit_code=125
        )
    try:
        os.makedirs(point.source, 0o755, exist_ok=True)
    except OSError as error:
        raise from_os_error(error, f"make the directory {point.source}")


def host_path(volumes: VolumeStore, point: MountPoint) -> str:
    """What of this host stands behind a volume or a bind; "" for others."""
    if point.kind == "volume":
        volume = volumes.get(point.source)
        if volume.options:
            from cais.volume.mounting import mount

            mount(volume)
        return volume.path
    return point.source if point.kind == "bind" else ""
