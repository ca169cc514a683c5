"""Durations as Go writes them: ``1h30m``, ``1.5s``, ``300ms``."""

from __future__ import annotations

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LIMIT_NANOSECONDS = (1 << 63) - 1


def parse_duration(text: str) -> int | None:
    """Nanoseconds, or None when ``text`` is no duration (time.ParseDuration's rules)."""
    sign, rest = 1, text
    if rest[:1] in ("-", "+"):
        sign, rest = (-1 if rest[0] == "-" else 1), rest[1:]
    if rest == "0":
        return 0
    if not rest or len(rest) > 100:
        return None
    total = 0
    while rest:
        whole, rest = _digits(rest)
        fraction = ""
        if rest.startswith("."):
            fraction, rest = _digits(rest[1:])
        if not whole and not fraction:
            return None
        length = 0
        while length < len(rest) and rest[length] != "." and not ("0" <= rest[length] <= "9"):
            length += 1
        unit = _UNITS.get(rest[:length])
        if unit is None:
            return None
        rest = rest[length:]
        total += int(whole or "0") * unit + int(fraction or "0") * unit // 10 ** len(fraction)
    return sign * total if total <= _LIMIT_NANOSECONDS else None


def format_duration(nanoseconds: int) -> str:
    """As Go prints it: ``1m30s``, ``1.5s``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign, value = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if value < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if value >= size:
                return sign + _decimal(value, size) + unit
    seconds, rest = divmod(value, 10**9)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    shown = _decimal(seconds * 10**9 + rest, 10**9) + "s"
    if hours:
        return f"{sign}{hours}h{minutes}m{shown}"
    return f"{sign}{minutes}m{shown}" if minutes else sign + shown


def _digits(text: str) -> tuple[str, str]:
    length = 0
    while length < len(text) and "0" <= text[length] <= "9":
        length += 1
    return text[:length], text[length:]


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    if not rest:
        return str(whole)
    return f"{whole}.{str(rest).zfill(len(str(size)) - 1).rstrip('0')}"
