"""Timestamps as images carry them: RFC 3339 with up to nine digits of fraction (image-spec config.md, ``created``)."""

from __future__ import annotations


def parse(text: str) -> float:
    """``text`` as seconds since 1970; 0.0 where it is empty or no RFC 3339 time (images are full of both)."""
    if not text:
        return 0.0
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except OverflowError:
        return 0.0


def format(seconds: float) -> str:
    """RFC 3339 in UTC, with nanoseconds where there are any: ``1970-01-01T00:00:00Z``."""
    import time

    whole = int(seconds // 1)
    fraction = f"{seconds - whole:.9f}"[1:].rstrip("0").rstrip(".") if seconds != whole else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + fraction + "Z"
