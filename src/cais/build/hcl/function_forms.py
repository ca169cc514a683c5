"""``format`` and its kin, and times."""

from __future__ import annotations

import datetime
import re

from cais.build.hcl.values import number, number_text, text
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VERB = re.compile(r"%([ +#0-]*)(\d*|\*)(?:\.(\d+))?(?:\[(\d+)\])?(.)", re.DOTALL)
_WIDEST = 1000
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+")


def format(pattern: Any, *values: Any) -> str:
    """As go-cty's: the verbs v, q, s, d, x, X, o, b, t, e, f, g. Raises Invalid."""
    used = [False] * len(values)
    at = 0

    def verb(match: re.Match[str]) -> str:
        nonlocal at
        flags, width, precision, index, letter = match.groups()
        if letter == "%":
            return "%"
        if index is not None:
            at = int(index) - 1
        if not 0 <= at < len(values):
            raise Invalid(
                f"not enough arguments for {match.group()!r}: need index {at + 1} but have {len(values)} total"
            )
        value = values[at]
        used[at] = True
        at += 1
        if len(width) > 4 or len(precision or "") > 4 or int(width or 0) > _WIDEST or int(precision or 0) > _WIDEST:
            raise Invalid(f"{match.group()!r} is too wide")
        return _formed(flags, width, precision, letter, value)

    formed = _VERB.sub(verb, text(pattern))
    if not all(used) and not re.search(r"\[\d+\]", text(pattern)):
        raise Invalid(f"too many arguments; no verb in format string uses argument {used.index(False) + 1}")
    return formed


def _formed(flags: str, width: str, precision: str | None, letter: str, value: Any) -> str:
    if letter in "vq" and isinstance(value, list | dict):
        from cais.build.hcl.function_texts import _to_json

        shown = _to_json(value)
    elif letter == "v":
        shown = "null" if value is None else text(value)
    elif letter == "s":
        shown = text(value)
    elif letter == "q":
        from cais.build.hcl.function_texts import _to_json

        shown = _to_json(text(value))
    elif letter == "t":
        from cais.build.hcl.values import truth

        shown = text(truth(value))
    elif letter in "dxXob":
        whole = int(number(value))
        shown = f"{whole:{letter}}"
        if "+" in flags and whole >= 0:
            shown = "+" + shown
    elif letter in "eEfFgG":
        shown = f"{float(number(value)):{'+' if '+' in flags else ''}.{precision or 6}{letter}}"
        if letter in "gG" and precision is None:
            shown = number_text(number(value))
    else:
        raise Invalid(f"unsupported format verb {letter!r}")
    if precision is not None and letter in "svq":
        shown = shown[: int(precision)]
    size = int(width or 0)
    if "-" in flags:
        return shown.ljust(size)
    if "0" in flags and letter in "dxXobeEfFgG":
        return shown.zfill(size)
    return shown.rjust(size)


def format_list(pattern: Any, *values: Any) -> list[str]:
    """``format`` with every element of the lists among ``values``. Raises Invalid."""
    sizes = {len(value) for value in values if isinstance(value, list)}
    if not sizes:
        return [format(pattern, *values)]
    if len(sizes) > 1:
        raise Invalid("all lists must have the same length")
    return [
        format(pattern, *(value[at] if isinstance(value, list) else value for value in values))
        for at in range(sizes.pop())
    ]


def timestamp() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(value: Any) -> datetime.datetime:
    given = text(value)
    try:
        found = datetime.datetime.fromisoformat(given)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or "T" not in given:
        raise Invalid(f"not a valid RFC3339 timestamp: {given[:80]!r}")
    return found


def _written(time: datetime.datetime) -> str:
    return time.isoformat(timespec="seconds").replace("+00:00", "Z")


def time_add(time: Any, duration: Any) -> str:
    """Raises Invalid."""
    given = text(duration)
    sign, rest = (-1, given[1:]) if given.startswith("-") else (1, given.removeprefix("+"))
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", rest)
    if not parts or "".join(number + unit for number, unit in parts) != rest:
        raise Invalid(f"invalid duration {given[:80]!r}", hint="As in 1h30m.")
    seconds = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
    total = sign * sum(float(number) * seconds[unit] for number, unit in parts)
    return _written(_time(time) + datetime.timedelta(seconds=total))


def format_date(pattern: Any, time: Any) -> str:
    """``YYYY-MM-DD'T'hh:mm:ssZ`` and the like. Raises Invalid."""
    when, given = _time(time), text(pattern)
    found: list[str] = []
    at = 0
    for match in _TOKEN.finditer(given):
        if match.start() != at:
            break
        at = match.end()
        token = match.group()
        if token.startswith("'"):
            found.append(match.group(1).replace("''", "'"))
        elif token[0].isascii() and token[0].isalpha():
            found.append(_date_part(token, when))
        else:
            found.append(token)
    if at != len(given):
        raise Invalid("unterminated literal '")
    return "".join(found)


def _date_part(token: str, when: datetime.datetime) -> str:
    hour = when.hour % 12 or 12
    parts = {
        "YYYY": f"{when.year:04}", "YY": f"{when.year % 100:02}", "M": f"{when.month}", "MM": f"{when.month:02}",
        "MMM": when.strftime("%b"), "MMMM": when.strftime("%B"), "D": f"{when.day}", "DD": f"{when.day:02}",
        "EEE": when.strftime("%a"), "EEEE": when.strftime("%A"), "h": f"{when.hour}", "hh": f"{when.hour:02}",
        "H": f"{hour}", "HH": f"{hour:02}", "AA": "AM" if when.hour < 12 else "PM",
        "aa": "am" if when.hour < 12 else "pm", "m": f"{when.minute}", "mm": f"{when.minute:02}",
        "s": f"{when.second}", "ss": f"{when.second:02}",
    }  # fmt: skip
    if token in parts:
        return parts[token]
    offset = when.strftime("%z")[:5]
    zones = {
        "Z": "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}",
        "ZZZZ": offset,
        "ZZZ": "UTC" if offset == "+0000" else offset,
        "ZZZZZ": f"{offset[:3]}:{offset[3:]}",
    }
    if token in zones:
        return zones[token]
    raise Invalid(f"invalid date format verb {token!r}")
