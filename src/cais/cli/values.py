"""How the values of flags are read, and the words with which Docker's client refuses them."""

from __future__ import annotations

from cais.cli.declare import BadValue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Kinds that collect a list.
MANY = frozenset(("list", "strings", "stringArray", "map", "filter", "mount", "network", "ulimit", "gpu-request"))

_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATIONS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_ULIMITS = frozenset((
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
))  # fmt: skip


def read(kind: str, text: str) -> Any:
    """``text`` as a value of ``kind``: bool, int, str, or a list of str for the kinds of MANY. Raises BadValue.

    bytes gives bytes, duration nanoseconds, decimal (CPUs) billionths.
    """
    if kind == "":
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise BadValue(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    if kind in ("list", "stringArray", "mount", "network", "ulimit", "gpu-request"):
        return [text]
    if kind == "strings":
        return comma_separated(text)
    if kind == "filter":
        if "=" not in text:
            raise BadValue("bad format of filter (expected name=value)")
        return [text]
    if kind == "map":
        return [text]
    if kind == "int":
        return integer(text, "ParseInt", -(1 << 63), (1 << 63) - 1)
    if kind == "uint16":
        return integer(text, "ParseUint", 0, (1 << 16) - 1)
    if kind == "bytes":
        return size_bytes(text)
    if kind == "duration":
        return duration_nanoseconds(text)
    if kind == "decimal":
        return billionths(text)
    return text


def integer(text: str, parser: str, least: int, most: int) -> int:
    """Go's integers with a base: 10, 0x1f, 0o17, 017."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    try:
        if not digits.isascii() or not digits[:1].isdigit() or (text[:1] == "-" and parser == "ParseUint"):
            raise ValueError
        value = int(text, 8) if digits[:1] == "0" and digits.isdigit() else int(text, 0)
    except ValueError:
        raise BadValue(f'strconv.{parser}: parsing "{text}": invalid syntax')
    if not least <= value <= most:
        raise BadValue(f'strconv.{parser}: parsing "{text}": value out of range')
    return value


def size_bytes(text: str) -> int:
    """``512``, ``64k``, ``1.5g``, ``10MiB``, ``1 GB``: powers of 1024, whatever is written; -1 stands for no limit."""
    if text == "-1":
        return -1
    lowered = text.lower()
    digits = len(lowered) - len(lowered.lstrip("0123456789."))
    unit = lowered[digits:].removeprefix(" ")
    if not digits:
        raise BadValue(f"invalid size: '{text}'")
    base = unit[:1] if unit[1:] in ("", "b", "ib") else unit
    if base not in _SIZES or (base in ("", "b") and unit != base):
        raise BadValue(f"invalid suffix: '{unit}'")
    try:
        return int(float(lowered[:digits]) * _SIZES[base])
    except ValueError:
        raise BadValue(f"invalid size: '{text}'")


def duration_nanoseconds(text: str) -> int:
    """Go's durations: ``1h30m``, ``1.5s``, ``300ms``."""
    rest = text[1:] if text[:1] in ("+", "-") else text
    sign = -1 if text[:1] == "-" else 1
    if rest == "0":
        return 0
    total = 0.0
    bad = BadValue(f'time: invalid duration "{text}"')
    if not rest:
        raise bad
    while rest:
        length = 0
        while length < len(rest) and rest[length] in "0123456789.":
            length += 1
        end = length
        while end < len(rest) and rest[end] not in "0123456789.":
            end += 1
        number, unit, rest = rest[:length], rest[length:end], rest[end:]
        if not number.strip(".") or number.count(".") > 1:
            raise bad
        if not unit:
            raise BadValue(f'time: missing unit in duration "{text}"')
        if unit not in _DURATIONS:
            raise BadValue(f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _DURATIONS[unit]
    return sign * round(total)


def billionths(text: str) -> int:
    """A decimal number of CPUs in billionths, exactly."""
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
    whole, _, part = digits.partition(".")
    if not (whole + part).isdigit() or not (whole + part).isascii():
        raise BadValue(f"failed to parse {text} as a rational number")
    if len(part.rstrip("0")) > 9:
        raise BadValue("value is too precise")
    return sign * int((whole or "0") + part[:9].ljust(9, "0"))


def comma_separated(text: str) -> list[str]:
    """One line of CSV: quotes keep a comma."""
    if '"' not in text:
        return text.split(",") if text else []
    fields, field, quoted, index = [], "", False, 0
    while index < len(text):
        letter = text[index]
        if letter == '"':
            if quoted and text[index + 1 : index + 2] == '"':
                field += '"'
                index += 1
            else:
                quoted = not quoted
        elif letter == "," and not quoted:
            fields.append(field)
            field = ""
        else:
            field += letter
        index += 1
    if quoted:
        raise BadValue(f'parse error on line 1, column {len(text) + 1}: extraneous or missing " in quoted-field')
    return [*fields, field]


def environment(text: str) -> None:
    """A check for ``--env``: the name must not be empty."""
    if not text.partition("=")[0]:
        raise BadValue(f"invalid environment variable: {text}")


def label(text: str) -> None:
    """A check for ``--label``."""
    if not text.partition("=")[0]:
        raise BadValue(f"invalid label '{text}': empty name")


def ulimit(text: str) -> None:
    """A check for ``--ulimit``."""
    name, equals, _values = text.partition("=")
    if not equals:
        raise BadValue(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise BadValue(f"invalid ulimit type: {name}")


def key_values(texts: list[str]) -> dict[str, str]:
    """``name=value`` texts as a mapping; the last one of a name wins, a lone name has the value ""."""
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def filters(texts: list[str]) -> dict[str, list[str]]:
    """What the flags ``--filter name=value`` ask for, by name; values of one name are alternatives."""
    asked: dict[str, list[str]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        asked.setdefault(name.strip().lower(), []).append(value.strip())
    return asked


def check_pairs(pairs: list[str]) -> None:
    """Of an option of a build, ``KEY=VALUE`` and ``KEY``: each has a key."""
    from cais.errors import Invalid

    for text in pairs:
        if not text.partition("=")[0]:
            raise Invalid(f'invalid key-value pair "{text}": empty key')


def check_quiet(quiet: bool, progress: str) -> None:
    """``--quiet`` is a kind of progress."""
    from cais.errors import Invalid

    if quiet and progress not in ("auto", "quiet"):
        raise Invalid(f"progress={progress} and quiet cannot be used together")


def check_cached(no_cache: bool, stages: list[str]) -> None:
    """``--no-cache`` is for all stages, ``--no-cache-filter`` for some."""
    from cais.errors import Invalid

    if no_cache and stages:
        raise Invalid("--no-cache and --no-cache-filter cannot currently be used together")


def build_arguments(pairs: list[str]) -> dict[str, str]:
    """Of ``--build-arg``: the value of a name alone comes from the environment, and without one there it is none."""
    import os

    check_pairs(pairs)
    arguments = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if equals:
            arguments[name] = value
        elif name in os.environ:
            arguments[name] = os.environ[name]
    return arguments


def network_mode(text: str) -> str:
    """Of ``--network``."""
    from cais.errors import Invalid

    if text not in ("", "default", "host", "none"):
        raise Invalid(f'network mode "{text}" not supported by buildkit', hint="Use default, host or none.")
    return text


def epoch() -> int | None:
    """Of SOURCE_DATE_EPOCH in the environment."""
    import os

    from cais.errors import Invalid

    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isascii() and text.isdigit()):
        raise Invalid(f"SOURCE_DATE_EPOCH is {text!r}, not a number of seconds")
    return int(text) if text else None
