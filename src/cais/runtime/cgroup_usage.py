"""What a container's control group uses, in version 1, 2 or both; None for what this host cannot tell."""

from __future__ import annotations

import os

from cais.runtime.cgroup_files import path_of
from cais.spec.named import NamedTuple

_ROOT = "/sys/fs/cgroup"
_LIMIT_BYTES = 1 << 20


class GroupUsage(NamedTuple):
    """``memory_bytes`` is without the cache that the kernel would give back at once, as Docker counts it."""

    cpu_nanoseconds: int | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    processes: int | None = None


def read(group: str) -> GroupUsage:
    """``group`` as ``cgroup_files`` has it; "" gives nothing but None."""
    if not group:
        return GroupUsage()
    path = path_of(group)
    read_bytes, written_bytes = _transferred(path)
    memory, limit = _memory(path)
    return GroupUsage(_cpu(path), memory, limit, read_bytes, written_bytes, _processes(path))


def processes(group: str) -> list[int] | None:
    """The numbers of all processes in it and below it, in order; None where there is no such group to ask."""
    if not group:
        return None
    path = path_of(group)
    for top in (f"{_ROOT}/pids{path}", f"{_ROOT}/memory{path}", f"{_ROOT}{path}"):
        if os.path.exists(os.path.join(top, "cgroup.procs")):
            break
    else:
        return None
    found: set[int] = set()
    for directory, _, _ in os.walk(top):
        found.update(int(line) for line in (_text(os.path.join(directory, "cgroup.procs")) or "").split())
    found.discard(0)  # of another pid namespace
    return sorted(found)


def _cpu(path: str) -> int | None:
    spent = _number(f"{_ROOT}/cpuacct{path}/cpuacct.usage")
    if spent is None:
        microseconds = _named(f"{_ROOT}{path}/cpu.stat").get("usage_usec")
        return None if microseconds is None else microseconds * 1000
    return spent


def _memory(path: str) -> tuple[int | None, int | None]:
    legacy = f"{_ROOT}/memory{path}"
    used = _number(f"{legacy}/memory.usage_in_bytes")
    if used is not None:
        cache = _named(f"{legacy}/memory.stat").get("total_inactive_file", 0)
        limit = _number(f"{legacy}/memory.limit_in_bytes")
    else:
        used = _number(f"{_ROOT}{path}/memory.current")
        if used is None:
            return None, None
        cache = _named(f"{_ROOT}{path}/memory.stat").get("inactive_file", 0)
        limit = _number(f"{_ROOT}{path}/memory.max")  # "max" is no number
    there = _host_memory()
    return used - cache if cache < used else used, there if limit is None or 0 < there < limit else limit


def _host_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _transferred(path: str) -> tuple[int | None, int | None]:
    for name in ("blkio.throttle.io_service_bytes_recursive", "blkio.bfq.io_service_bytes_recursive"):
        text = _text(f"{_ROOT}/blkio{path}/{name}")
        if text is not None:
            lines = [line.split() for line in text.splitlines()]
            sums = [sum(int(line[2]) for line in lines if line[1:2] == [word]) for word in ("Read", "Write")]
            return sums[0], sums[1]
    text = _text(f"{_ROOT}{path}/io.stat")
    if text is None:
        return None, None
    counts = [part.partition("=") for part in text.split()]
    read_sum, written_sum = (sum(int(n) for key, _, n in counts if key == word) for word in ("rbytes", "wbytes"))
    return read_sum, written_sum


def _processes(path: str) -> int | None:
    count = _number(f"{_ROOT}/pids{path}/pids.current")
    return _number(f"{_ROOT}{path}/pids.current") if count is None else count


def _named(path: str) -> dict[str, int]:
    """Lines of ``name number``."""
    lines = (line.split() for line in (_text(path) or "").splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def _number(path: str) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdigit() else None


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_LIMIT_BYTES)
    except OSError:
        return None
