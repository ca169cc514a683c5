"""``--filter`` of image ls and prune: dangling, reference, before, since, until, label.

Filters of one key are alternatives, except labels, which all have to hold; filters of several keys all have to hold.
"""

from __future__ import annotations

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cais.image.records import ImageRecord

LIST_KEYS = frozenset(("dangling", "reference", "before", "since", "until", "label"))
PRUNE_KEYS = frozenset(("dangling", "until", "label", "label!"))


def check_keys(filters: Mapping[str, Sequence[str]], allowed: frozenset[str]) -> None:
    """Raises Invalid for a filter that there is not."""
    for key in filters:
        if key not in allowed:
            raise Invalid(f"invalid filter '{key}'", hint=f"There are: {', '.join(sorted(allowed))}.")


def truth(filters: Mapping[str, Sequence[str]], key: str) -> bool | None:
    """A boolean filter; None when it is not given. Raises Invalid, also for both values at once."""
    values = set()
    for value in filters.get(key, ()):
        if value.lower() in ("true", "1", "t"):
            values.add(True)
        elif value.lower() in ("false", "0", "f"):
            values.add(False)
        else:
            raise Invalid(f"invalid filter '{key}={value}'", hint="It is true or false.")
    if len(values) > 1:
        raise Invalid(f"invalid filter '{key}': it is given as true and as false")
    return values.pop() if values else None


def moment(text: str, now: float) -> float:
    """A time as seconds since 1970: RFC 3339, a date, seconds since 1970, or a duration before ``now`` (``1h30m``).

    Raises Invalid.
    """
    from cais.spec import timestamp

    try:
        return float(text)
    except ValueError:
        pass
    ago = _duration(text)
    if ago is not None:
        return now - ago
    seconds = timestamp.parse(text)
    if not seconds and not text.startswith("1970"):
        raise Invalid(f"invalid time {text!r}", hint="A time is 2024-01-31, 2024-01-31T12:00:00Z, 1706702400, or 24h.")
    return seconds


_UNIT_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def _duration(text: str) -> float | None:
    """Go's form of a duration (``10m``, ``1h30m``) in seconds, or None."""
    total, rest = 0.0, text
    while rest:
        number = 0
        while number < len(rest) and (rest[number].isdigit() or rest[number] == "."):
            number += 1
        unit = number
        while unit < len(rest) and not (rest[unit].isdigit() or rest[unit] == "."):
            unit += 1
        try:
            total += float(rest[:number]) * _UNIT_SECONDS[rest[number:unit]]
        except (ValueError, KeyError):
            return None
        rest = rest[unit:]
    return total if text else None


def labels_hold(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """``key`` or ``key=value``, all of them."""
    for item in wanted:
        key, equals, value = item.partition("=")
        if key not in labels or (equals and str(labels[key]) != value):
            return False
    return True


def record_filter(
    filters: Mapping[str, Sequence[str]], now: float, created_of: Callable[[str], float]
) -> Callable[[ImageRecord], bool]:
    """The filters that look at an image itself: before, since, until, label. ``created_of`` resolves a name or id."""
    before = [created_of(name) for name in filters.get("before", ())]
    since = [created_of(name) for name in filters.get("since", ())]
    until = [moment(text, now) for text in filters.get("until", ())]
    wanted = filters.get("label", ())
    unwanted = filters.get("label!", ())

    def passes(record: ImageRecord) -> bool:
        if before and not any(record.created < moment for moment in before):
            return False
        if since and not any(record.created > moment for moment in since):
            return False
        if until and not any(record.created < moment for moment in until):
            return False
        if wanted or unwanted:
            labels = labels_of(record.labels)
            if not labels_hold(labels, wanted) or (unwanted and labels_hold(labels, unwanted)):
                return False
        return True

    return passes


def labels_of(text: str) -> dict[str, str]:
    """The labels that a record keeps as JSON."""
    if not text:
        return {}
    import json

    return {key: str(value) for key, value in json.loads(text).items()}


def glob(pattern: str) -> Callable[[str], bool]:
    """Go's ``path.Match``: ``*`` and ``?`` do not match a slash, ``[a-z]``, ``[^a]``, backslash. Raises Invalid."""
    import re

    out, index = [], 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if character == "*":
            out.append("[^/]*")
        elif character == "?":
            out.append("[^/]")
        elif character == "\\":
            if index == len(pattern):
                raise Invalid(f"syntax error in pattern {pattern!r}: nothing behind the last backslash")
            out.append(re.escape(pattern[index]))
            index += 1
        elif character == "[":
            text, index = _character_class(pattern, index)
            out.append(text)
        else:
            out.append(re.escape(character))
    try:
        expression = re.compile("".join(out), re.DOTALL)
    except re.error:
        raise Invalid(f"syntax error in pattern {pattern!r}")
    return lambda text: expression.fullmatch(text) is not None


def _character_class(pattern: str, index: int) -> tuple[str, int]:
    import re

    negated = pattern[index : index + 1] == "^"
    index += negated
    items: list[str] = []
    while pattern[index : index + 1] != "]" or not items:
        low, index = _class_character(pattern, index)
        high = low
        if pattern[index : index + 1] == "-":
            high, index = _class_character(pattern, index + 1)
        items.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"(?!/)[{'^' if negated else ''}{''.join(items)}]", index + 1


def _class_character(pattern: str, index: int) -> tuple[str, int]:
    escaped = pattern[index : index + 1] == "\\"
    index += escaped
    if index >= len(pattern) or (not escaped and pattern[index] in "-]"):
        raise Invalid(f"syntax error in pattern {pattern!r}: a bracket expression is not complete")
    return pattern[index], index + 1
