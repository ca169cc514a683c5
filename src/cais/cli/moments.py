"""Points in time as ``--since`` and ``--until`` take them, exact to the nanosecond."""

from __future__ import annotations

from cais.cli.declare import BadValue
from cais.cli.values import duration_nanoseconds

_BILLION = 1_000_000_000
# After the date, as Docker's client takes them; what stands there has no more than these lengths.
_FORMATS = {10: "%Y-%m-%d", 13: "%Y-%m-%dT%H", 16: "%Y-%m-%dT%H:%M", 19: "%Y-%m-%dT%H:%M:%S"}


def nanoseconds(text: str, now: int) -> int:
    """A moment in nanoseconds since 1970: a duration before ``now``, RFC 3339 or the beginning of one, or seconds.

    ``0`` are seconds, ``0s`` is now. Without a zone the time is this host's, as with Docker's client. Raises Invalid
    with its words.
    """
    from cais.errors import Invalid

    if text == "0":
        return 0
    try:
        return max(now - duration_nanoseconds(text), 0)
    except BadValue:
        pass
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdigit() and (fraction == "" or (fraction.isascii() and fraction.isdigit())):
        return int(whole) * _BILLION + int(fraction[:9].ljust(9, "0") or 0)
    found = _written_out(text)
    if found is None:
        raise Invalid(
            f'failed to parse value as time or duration: "{text}"',
            hint="Give 2026-01-31T12:00:00Z, or 42m for 42 minutes ago.",
        )
    return found


def _written_out(text: str) -> int | None:
    import time
    from datetime import datetime

    clock = text[10:]
    cut = max(clock.rfind("+"), clock.rfind("-"), clock.rfind("Z"))
    zone = clock[cut:] if cut >= 0 else ""
    whole, _, fraction = text[: len(text) - len(zone)].partition(".")
    pattern = _FORMATS.get(len(whole))
    if pattern is None or not (fraction + "0").isdigit():
        return None
    try:
        if zone:
            there = f"{whole}T00" if len(whole) == 10 else whole
            seconds = int(datetime.fromisoformat(there + zone).timestamp())
        else:
            seconds = int(time.mktime(time.strptime(whole, pattern)))
    except (ValueError, OverflowError):
        return None
    return max(seconds * _BILLION + int(fraction[:9].ljust(9, "0")), 0)


def local(moment: int) -> str:
    """RFC 3339 with nine digits, in this host's zone, as Docker prints the time of an event."""
    import time

    seconds, rest = divmod(moment, _BILLION)
    there = time.localtime(seconds)
    zone = time.strftime("%z", there)
    shown = "Z" if there.tm_gmtoff == 0 else f"{zone[:3]}:{zone[3:]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', there)}.{rest:09}{shown}"
