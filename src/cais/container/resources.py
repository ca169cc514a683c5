"""What a container may use of the host: read from the flags, and checked by Docker's rules. Pure but for
``check_here``."""

from __future__ import annotations

import os

from cais.container import options
from cais.container.options import RunOptions
from cais.errors import Conflict, Invalid
from cais.runtime.limits import MEMORY_MINIMUM_BYTES, DeviceRates, Resources, memory_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Of control groups of version 1; version 2 has weights, which shares are turned into.
LEAST_SHARES, MOST_SHARES = 2, 262144
_RATE_UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "b": 1}
_RATE_FORMATS = {
    False: "<device-path>:<number>. Number must be a positive integer",
    True: "<device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, "
    "or gb",
}


def resources(wanted: RunOptions) -> Resources:
    """Raises Invalid with Docker's words."""
    return checked(read(wanted))


def read(wanted: RunOptions) -> Resources:
    """What the flags say, each for itself. Raises Invalid."""
    swap = 0
    if wanted.memory_swap:
        swap = -1 if wanted.memory_swap == "-1" else options.parse_bytes(wanted.memory_swap, "memory-swap")
    return Resources(
        options.parse_bytes(wanted.memory, "memory") if wanted.memory else 0,
        swap,
        options.parse_bytes(wanted.memory_reservation, "memory-reservation") if wanted.memory_reservation else 0,
        options.parse_cpus(wanted.cpus) if wanted.cpus else 0,
        wanted.cpu_shares,
        wanted.cpuset_cpus,
        max(wanted.pids_limit, 0),
        wanted.cpuset_mems,
        wanted.cpu_period,
        wanted.cpu_quota,
        wanted.cpu_rt_period,
        wanted.cpu_rt_runtime,
        wanted.memory_swappiness,
        wanted.oom_kill_disable,
        wanted.blkio_weight,
        _rates(wanted.blkio_weight_devices, "blkio-weight-device"),
        _rates(wanted.device_read_bps, "device-read-bps"),
        _rates(wanted.device_write_bps, "device-write-bps"),
        _rates(wanted.device_read_iops, "device-read-iops"),
        _rates(wanted.device_write_iops, "device-write-iops"),
    )


def check_update(wanted: RunOptions) -> None:
    """Whether what ``container update`` was given can be, whatever the container has. Raises Invalid."""
    change = read(wanted)
    checked(change if change.memory_bytes else change._replace(memory_swap_bytes=0))
    check_here(change)


def updated(old: Resources, wanted: RunOptions, pids: int | None) -> Resources:
    """``old`` with what ``container update`` was given; ``pids`` None was not.

    Where swap was not limited before, it is limited with the memory as for a new container. Raises Invalid, Conflict
    with Docker's words.
    """
    change = read(wanted)
    for value, other, text in (
        (change.nano_cpus, old.cpu_period_microseconds, "Nano CPUs cannot be updated as CPU Period"),
        (change.nano_cpus, old.cpu_quota_microseconds, "Nano CPUs cannot be updated as CPU Quota"),
        (change.cpu_period_microseconds, old.nano_cpus, "CPU Period cannot be updated as NanoCPUs"),
        (change.cpu_quota_microseconds, old.nano_cpus, "CPU Quota cannot be updated as NanoCPUs"),
    ):
        if value > 0 and other > 0:
            raise Conflict(f"Conflicting options: {text} has already been set")
    if not change.memory_swap_bytes and 0 < old.memory_swap_bytes < change.memory_bytes:
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
        )
    defaults = Resources()
    given = {
        name: value for name, value in change._asdict().items() if value != getattr(defaults, name) and name != "pids"
    }
    if pids is not None:
        given["pids"] = max(pids, 0)
    return checked(old._replace(**given))


def checked(given: Resources) -> Resources:
    """``given`` with the swap that Docker adds to its memory. Raises Invalid for what contradicts itself."""
    memory, swap = memory_limits(given.memory_bytes, given.memory_swap_bytes)
    reservation = given.memory_reservation_bytes
    period, quota = given.cpu_period_microseconds, given.cpu_quota_microseconds
    wrong = ""
    if not -1 <= given.memory_swappiness <= 100:
        wrong = f"invalid value: {given.memory_swappiness}. Valid memory swappiness range is 0-100"
    elif 0 < reservation < MEMORY_MINIMUM_BYTES:
        wrong = "Minimum memory reservation allowed is 6MB"
    elif 0 < memory < reservation:
        wrong = "Minimum memory limit can not be less than memory reservation limit, see usage"
    elif given.nano_cpus and period:
        wrong = "Conflicting options: Nano CPUs and CPU Period cannot both be set"
    elif given.nano_cpus and quota:
        wrong = "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
    elif period and not 1000 <= period <= 1_000_000:
        wrong = "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
    elif 0 < quota < 1000:
        wrong = "CPU cfs quota can not be less than 1ms (i.e. 1000)"
    elif given.cpu_shares < 0:
        wrong = f"invalid CPU shares {given.cpu_shares}: shares: invalid argument"
    elif 0 < given.cpu_realtime_period_microseconds < given.cpu_realtime_runtime_microseconds:
        wrong = "cpu real-time runtime cannot be higher than cpu real-time period"
    elif given.blkio_weight and not 10 <= given.blkio_weight <= 1000:
        wrong = "Range of blkio weight is from 10 to 1000"
    if wrong:
        raise Invalid(wrong, exit_code=125)
    return given._replace(memory_swap_bytes=swap)


def check(given: Resources, *, cpus: int, online_cpus: str, online_mems: str) -> None:
    """Against this host: ``cpus`` there are, ``online_cpus`` and ``online_mems`` as the kernel lists them.

    Raises Invalid.
    """
    if given.nano_cpus and not 0 < given.nano_cpus <= cpus * 1_000_000_000:
        raise Invalid(
            f"Range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available", exit_code=125
        )
    for text, what, subject, online in (
        (given.cpuset_cpus, "cpus", "CPUs", online_cpus),
        (given.cpuset_mems, "mems", "memory nodes", online_mems),
    ):
        try:
            missing = bool(online) and not number_set(text) <= number_set(online)
        except ValueError:
            raise Invalid(f"Invalid value {text} for cpuset {what}: invalid format: {text}", exit_code=125)
        if missing:
            raise Invalid(
                f"Requested {subject} are not available - requested {text}, available: {online}", exit_code=125
            )


def check_here(given: Resources) -> None:
    """``check`` against the host of this process. Raises Invalid."""
    if given.nano_cpus or given.cpuset_cpus or given.cpuset_mems:
        online = (_line("/sys/devices/system/cpu/online"), _line("/sys/devices/system/node/online"))
        check(given, cpus=os.cpu_count() or 1, online_cpus=online[0], online_mems=online[1])
    if given.cpu_shares:
        from cais.runtime.find import cgroups

        if cgroups().mode != "unified":
            check_shares(given.cpu_shares)


def check_shares(shares: int) -> None:
    """Of control groups of version 1: the kernel would take another number without a word. Raises Invalid."""
    for wrong, what, bound in (
        (shares < LEAST_SHARES, "minimum", LEAST_SHARES),
        (shares > MOST_SHARES, "maximum", MOST_SHARES),
    ):
        if wrong:
            raise Invalid(f"the {what} allowed cpu-shares is {bound}", exit_code=125)


def _line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def number_set(text: str) -> set[int]:
    """``0-2,5`` as numbers. Raises ValueError."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(last or first) > 6:
            raise ValueError(text)
        found.update(range(int(first), int(last or first) + 1))
    return found


def _rates(values: Sequence[str], flag: str) -> DeviceRates:
    return tuple(_rate(text, flag) for text in values)


def _rate(text: str, flag: str) -> tuple[str, int]:
    path, colon, number = text.rpartition(":")
    digits = number.rstrip("kmgbKMGB")
    unit = number[len(digits) :].lower()
    weight = flag == "blkio-weight-device"
    wrong = ""
    if not colon or not path:
        wrong = f"bad format: {text}"
    elif not path.startswith("/dev/"):
        wrong = f"bad format for device path: {text}"
    elif weight and not (number.isdigit() and (number == "0" or 10 <= int(number) <= 1000)):
        wrong = f"invalid weight for device: {text}"
    elif not weight and not (
        digits.isascii() and digits.isdigit() and unit in (_RATE_UNITS if "bps" in flag else ("",))
    ):
        wrong = f"invalid rate for device: {text}. The correct format is {_RATE_FORMATS['bps' in flag]}"
    if wrong:
        raise Invalid(f'invalid argument "{text}" for "--{flag}" flag: {wrong}', exit_code=125)
    return path, int(digits) * _RATE_UNITS[unit]
