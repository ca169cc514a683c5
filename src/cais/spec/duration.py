"""Durations as Docker says them to people (docker/go-units)."""

from __future__ import annotations


def human_duration(seconds: float) -> str:
    """``Less than a second``, ``2 minutes``, ``About an hour``, ``3 weeks``."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    # Hours are rounded, and only hours.
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float | None:
    """Go's durations (``1h30m``, ``1.5s``), and days (``60d``), in seconds; None where ``text`` is none."""
    if text == "0":
        return 0.0
    total = 0.0
    index = 0
    while index < len(text):
        start = index
        while index < len(text) and text[index] in "0123456789.":
            index += 1
        number = text[start:index]
        start = index
        while index < len(text) and text[index] not in "0123456789.":
            index += 1
        unit = _SECONDS.get(text[start:index])
        if unit is None or not number.strip(".") or number.count(".") > 1:
            return None
        total += float(number) * unit
    return total if text else None
