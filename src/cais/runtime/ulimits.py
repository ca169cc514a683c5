"""Ulimits: the limits of each single process (setrlimit(2)), as they are written and as this host can give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.errors import Invalid

_INFINITE = (1 << 64) - 1
_NAMES = frozenset(
    ("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
     "rttime", "sigpending", "stack")
)  # fmt: skip


def parse_ulimit(text: str) -> tuple[str, int, int]:
    """``nofile=1024:2048`` as (``RLIMIT_NOFILE``, soft, hard). -1 is unlimited. Raises Invalid."""
    name, equals, values = text.partition("=")
    parts = values.split(":")
    try:
        if not equals:
            raise ValueError(f"invalid ulimit argument: {text}")
        if name not in _NAMES:
            raise ValueError(f"invalid ulimit type: {name}")
        if len(parts) > 2:
            raise ValueError(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
        low, high = _number(parts[0]), _number(parts[-1])
        if high != -1 and low == -1:
            raise ValueError(
                f"ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {high}"
            )
        if high != -1 and low > high:
            raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {low} > {high}")
    except ValueError as error:
        raise Invalid(f'invalid argument "{text}" for "--ulimit" flag: {error}', exit_code=125)
    return f"RLIMIT_{name.upper()}", low, high


def _number(text: str) -> int:
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or int(text) < -1:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return int(text)


def clamped(limit: tuple[str, int, int], hard_limits: Mapping[str, int]) -> tuple[str, int, int]:
    """An rlimit within ``hard_limits`` (by name); -1 (unlimited) becomes what the kernel calls so."""
    name, soft, hard = limit
    ceiling = hard_limits.get(name, -1)
    ceiling = _INFINITE if ceiling < 0 else ceiling
    return (
        name,
        min(_INFINITE if soft < 0 else soft, ceiling),
        min(_INFINITE if hard < 0 else hard, ceiling),
    )


def clamp_warnings(rlimits: Sequence[tuple[str, int, int]], hard_limits: Mapping[str, int]) -> list[str]:
    """A line for each of ``rlimits`` that ``clamped`` makes smaller."""
    lines = []
    for limit in rlimits:
        given = clamped(limit, hard_limits)
        if given[1:] != tuple(_INFINITE if value < 0 else value for value in limit[1:]):
            name = limit[0].removeprefix("RLIMIT_").lower()
            lines.append(f"WARNING: the limit {name} is {given[1]}:{given[2]}: this process may not have more.")
    return lines


def hard_limits(rlimits: Sequence[tuple[str, int, int]]) -> dict[str, int]:
    """This process's own hard limits, by name: nobody that it starts can be given more, unless it is root."""
    if not rlimits:
        return {}
    import resource

    found = {}
    for name, _, _ in rlimits:
        number = getattr(resource, name, None)
        if number is not None:
            found[name] = resource.getrlimit(number)[1]
    return found
