"""Sizes, ages and durations in the words of Docker's client (its go-units)."""

from __future__ import annotations

from cais.spec.duration import human_duration

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")


def human_size(size_bytes: float, digits: int = 3) -> str:
    """Powers of 1000: ``1.23MB``. Image lists use three digits, container sizes and totals four or three."""
    return _scaled(size_bytes, 1000.0, _DECIMAL, digits)


def binary_size(size_bytes: float) -> str:
    """Powers of 1024: ``1.95GiB``."""
    return _scaled(size_bytes, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    index = 0
    while size >= base and index < len(units) - 1:
        size /= base
        index += 1
    return f"{size:.{digits}g}{units[index]}"


def age(created_unix: float, now: float) -> str:
    """``2 minutes ago``; "N/A" for a time that is not known."""
    return human_duration(now - created_unix) + " ago" if created_unix > 0 else "N/A"


def local_time(created_unix: float) -> str:
    """As Go prints a time: ``2026-01-31 12:00:00 +0000 UTC``; "N/A" for a time that is not known."""
    if created_unix <= 0:
        return "N/A"
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(created_unix))
