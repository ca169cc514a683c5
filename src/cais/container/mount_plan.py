"""Which mounts a container has: those of its flags, of other containers, and the volumes of its image. Pure."""

from __future__ import annotations

import posixpath

from cais.container import mount_options
from cais.container.mount_options import IMAGE, MountPoint
from cais.container.options import RunOptions
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What shows numbers only, and is replaced by programs that show those of the container (LXCFS). Everything else in
# /proc steers the kernel, or is what security modules are told by.
_REPLACEABLE = (
    "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev", "/proc/slabinfo",
    "/proc/stat", "/proc/swaps", "/proc/uptime",
)  # fmt: skip


def plan_mounts(
    volumes: Iterable[str], wanted: RunOptions, directory: str, inherited: Sequence[MountPoint] = ()
) -> tuple[MountPoint, ...]:
    """``volumes`` are the image's, ``directory`` what relative paths start from, ``inherited`` what ``--volumes-from``
    brings. What a flag says stands before those. Parents come first. Raises Invalid."""
    given = [
        *(mount_options.parse_volume(item, directory) for item in dict.fromkeys(wanted.volumes)),
        *(mount_options.parse_mount(item, directory) for item in wanted.mounts),
        *(mount_options.parse_tmpfs(item) for item in wanted.tmpfs),
    ]
    found: dict[str, MountPoint] = {point.target: point for point in inherited}
    mine: set[str] = set()
    anonymous = [point for point in given if point.anonymous and point.origin == mount_options.VOLUME_FLAG]
    for point in given:
        if point in anonymous:
            continue
        if point.target in mine:
            raise Invalid(f"Duplicate mount point: {point.target}", exit_code=125)
        mine.add(point.target)
        found[point.target] = point
    for point in anonymous:
        found.setdefault(point.target, point)
    for path in volumes:
        target = posixpath.normpath("/" + str(path).lstrip("/"))
        if target != "/":
            found.setdefault(target, MountPoint("volume", "", target, anonymous=True, origin=IMAGE))
    if wanted.volume_driver:
        for target, point in found.items():
            if point.kind == "volume" and point.origin != mount_options.OTHER and not point.driver:
                found[target] = point._replace(driver=wanted.volume_driver)
    for target in found:
        if target.startswith("/proc/") and target not in _REPLACEABLE:
            raise Invalid(
                f'cannot mount at "{target}": it is inside /proc',
                hint=f"There may be replaced: {', '.join(_REPLACEABLE)}.",
                exit_code=125,
            )
    # What is mounted at /a must not hide what is mounted at /a/b.
    return tuple(sorted(found.values(), key=lambda point: point.target.count("/")))
