"""EXPOSE: ``80``, ``80/udp``, ``8000-8010/tcp`` (and ``ip:host:container``, of which only the container's counts)."""

from __future__ import annotations

_PROTOCOLS = ("tcp", "udp", "sctp")


class BadPort(Exception):
    """Why a word is no port; the caller knows the line."""


def exposed_ports(word: str) -> list[str]:
    """``80-81/TCP`` gives ``80/tcp`` and ``81/tcp``. Raises BadPort."""
    spec, slash, protocol = word.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in _PROTOCOLS:
        raise BadPort(f"invalid proto: {protocol}" if protocol else f"invalid proto in {word!r}: it is empty")
    ports = spec.rpartition(":")[2]
    if not ports:
        raise BadPort(f"no port specified: {word}<empty>")
    first, dash, last = ports.partition("-")
    start = _number(first)
    end = _number(last) if dash else start
    if start is None or end is None or start > end:
        raise BadPort(f"invalid containerPort: {ports}")
    return [f"{number}/{protocol}" for number in range(start, end + 1)]


def _number(text: str) -> int | None:
    if not text or len(text) > 5 or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= 65535 else None
