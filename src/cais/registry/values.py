"""Values of settings: read from a text or from what TOML made of it, and written as in the file."""

from __future__ import annotations

import math

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.registry.settings import Setting

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


def read_value(row: Setting, value: Any, where: str) -> Any:
    """``value`` (a text, or what TOML made of it) as the kind of ``row`` wants it. Raises Invalid, naming ``where``."""
    if "|" in row.kind:
        if value in row.kind.split("|"):
            return value
        raise Invalid(f"{where}: {row.name} is {value!r}, and not one of {row.kind.replace('|', ', ')}")
    read, wanted = _READERS[row.kind]
    try:
        return read(value)
    except ValueError:
        shown = "" if row.kind == "secret" else f" {value!r}"
        raise Invalid(f"{where}: the value{shown} of {row.name} is not {wanted}")


def format_value(row: Setting, value: Any) -> str:
    """A value as one writes it in the file; a secret is not shown."""
    if row.kind == "secret":
        return '"..."' if value else '""'
    if row.kind == "duration":
        for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
            if value and value % seconds == 0:
                return f'"{value / seconds:.0f}{unit}"'
        return f'"{value:g}s"' if value else "0"
    if row.kind == "size":
        for unit, size in (("GiB", _GIB), ("MiB", _MIB), ("KiB", _KIB)):
            if value and value % size == 0:
                return f'"{value // size}{unit}"'
        return str(value)
    if row.kind == "switch":
        return "true" if value else "false"
    if row.kind == "count":
        return str(value)
    if row.kind == "networks":
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"'


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _networks(value: Any) -> tuple[str, ...]:
    """Each an address, a network without bits of a host, or ``*``."""
    from ipaddress import ip_network

    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    found = tuple(map(_text, value if isinstance(value, list) else [value]))
    for one in found:
        if one != "*":
            ip_network(one)
    return found


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    number = int(value)
    if number < 0:
        raise ValueError
    return number


def _size(value: Any) -> int:
    if isinstance(value, str):
        number = value.rstrip("KMGTiB ")
        size = float(number) * _UNITS.get(value[len(number) :].strip(), math.nan)
        if not 0 <= size < math.inf:
            raise ValueError
        return int(size)
    return _count(value)


def _duration(value: Any) -> float:
    from cais.spec.duration import parse_duration

    seconds = parse_duration(value) if isinstance(value, str) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError
    return float(seconds)


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError
    return value in ("true", "1", "yes")


_UNITS = {
    "": 1, "B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": _KIB, "MiB": _MIB, "GiB": _GIB, "TiB": 1 << 40,
}  # fmt: skip
_READERS: dict[str, tuple[Any, str]] = {
    "text": (_text, "a text"),
    "secret": (_text, "a text"),
    "networks": (_networks, 'a list of addresses and networks (["192.0.2.7", "10.0.0.0/8"])'),
    "count": (_count, "a number"),
    "size": (_size, 'a size ("4MiB", "10GB")'),
    "duration": (_duration, 'a duration ("30s", "12h", "7d")'),
    "switch": (_switch, "true or false"),
}
