"""The bound of the build cache: how much of the disk it may take, and how long what nobody uses is kept.

As BuildKit's default rules have it. It is looked at after a build that made something: a query that an index answers,
and no more while the cache is within its bounds.
"""

from __future__ import annotations

import os
import time

from cais.engine.stores import Stores
from cais.errors import CaisError, Invalid
from cais.spec.duration import parse_duration
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.build_prune import PruneOptions

_GB = 10**9
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": _GB, "tb": 10**12,
          "k": 10**3, "m": 10**6, "g": _GB, "t": 10**12,
          "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}  # fmt: skip
_DEFAULT_AGE_SECONDS = 60 * 86400.0
# How often caches of RUN, whose size takes a walk to know, are looked at.
_MOUNTS_SECONDS = 86400.0
_COMMAND = "the bound of the build cache"


class Bound(NamedTuple):
    """In bytes and seconds; 0: no bound. No more than ``max_used`` is kept, and less while not ``min_free`` of the disk
    are free, but ``reserved`` always; what was not used for ``age_seconds`` goes."""

    max_used: int
    reserved: int
    min_free: int
    age_seconds: float


def bound(stores: Stores) -> Bound:
    """By the settings, for the disk that has the root directory. Raises Invalid."""
    disk = os.statvfs(stores.root)
    total = disk.f_blocks * disk.f_frsize
    settings = stores.settings
    age = settings.build_cache_age
    seconds = parse_duration(age) if age else _DEFAULT_AGE_SECONDS
    if seconds is None:
        raise Invalid(f"build_cache_age is {age!r}, not a duration", hint="As in: 720h, 60d; 0: no bound.")
    return Bound(
        _size(settings.build_cache_size, "size", total, min(100 * _GB, total * 80 // 100)),
        _size(settings.build_cache_reserved, "reserved", total, min(10 * _GB, total // 10)),
        _size(settings.build_cache_free, "free", total, total // 5),
        seconds,
    )


def _size(text: str, name: str, total: int, default: int) -> int:
    if not text:
        return default
    number = text.strip().lower()
    digits = len(number) - len(number.lstrip("0123456789."))
    unit = number[digits:].strip()
    try:
        value = float(number[:digits])
        return int(value * total / 100) if unit == "%" and value <= 100 else int(value * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        raise Invalid(
            f"build_cache_{name} is {text!r}, not a size", hint="As in: 20GB, 512MiB, 10% (of the disk); 0: no bound."
        )


def enforce(stores: Stores) -> None:
    """Forgets, the longest unused first, what is beyond the bound and not in use. Never fails a build that is done."""
    try:
        limits = bound(stores)
        if _is_within(stores, limits):
            return
        from cais.engine.build_prune import PruneOptions

        if limits.age_seconds:
            _prune(stores, PruneOptions(all=True, filters=[f"unused-for={limits.age_seconds}s"]))
        if limits.max_used or limits.min_free:
            _prune(
                stores,
                PruneOptions(
                    reserved_bytes=limits.reserved, max_used_bytes=limits.max_used, min_free_bytes=limits.min_free
                ),
            )
    except (CaisError, OSError):
        pass


def _prune(stores: Stores, options: PruneOptions) -> None:
    """What is chosen without a lock is nothing, most times: then nobody has to wait."""
    from cais.engine.build_prune import choose, prune

    if choose(stores, options):
        prune(stores, options, _COMMAND)


def _is_within(stores: Stores, limits: Bound) -> bool:
    row = stores.database.row(
        """SELECT (SELECT coalesce(sum(size_bytes), 0) FROM build_records) +
                  (SELECT coalesce(sum(size_bytes), 0) FROM sources),
                  (SELECT min(used) FROM build_records), julianday('now')"""
    )
    used, oldest, now = row
    if limits.max_used and used > limits.max_used:
        return False
    if limits.age_seconds and oldest is not None and (now - oldest) * 86400 > limits.age_seconds:
        return False
    if limits.min_free and used > limits.reserved:
        disk = os.statvfs(stores.root)
        if disk.f_bavail * disk.f_frsize < limits.min_free:
            return False
    return not _mounts_are_due(stores)


def _mounts_are_due(stores: Stores) -> bool:
    """Once a day, where there are any."""
    if stores.database.row("SELECT 1 FROM volumes WHERE kind = 'cache'") is None:
        return False
    path = os.path.join(stores.root, "contexts", "checked")
    try:
        if 0 <= time.time() - os.stat(path).st_mtime < _MOUNTS_SECONDS:
            return False
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    with open(path, "wb"):
        pass
    return True


class BuilderInfo(NamedTuple):
    """What ``builder inspect`` shows. ``used`` is when the last build began, in seconds since 1970; 0: never."""

    name: str
    driver: str
    endpoint: str
    platforms: tuple[str, ...]
    used: float
    bound: Bound


def builder_info(stores: Stores) -> BuilderInfo:
    """Raises Invalid (a bound in the settings)."""
    from cais.host import binfmt

    host = stores.platform
    found = [str(host)]
    for architecture in ("amd64", "386", "arm64", "arm", "ppc64le", "riscv64", "s390x", "loong64", "mips64le"):
        if architecture == host.architecture:
            continue
        if binfmt.is_native(architecture, host.architecture) or binfmt.find(architecture) is not None:
            found.append(f"linux/{architecture}")
    row = stores.database.row("SELECT max(started) FROM builds")
    return BuilderInfo("default", "cais", stores.root, tuple(found), row[0] or 0.0, bound(stores))
