"""EXPOSE: ``80``, ``80/udp``, ``8000-8010/tcp`` (and ``ip:host:container``, of which only the container's counts)."""

from __future__ import annotations

_PROTOCOLS = ("tcp", "udp", "sctp")


class BadPort(Exception):
    """Why a word is no port; the caller knows the line."""


def exposed_ports(word: str) -> list[str]:
    """``80-81/TCP`` gives ``80/tcp`` and ``81/tcp``. Raises BadPort."""
    spec, *rest = word.split("/")
    protocol = (rest[0].lower() if rest else "") or "tcp"
    outside, _, inside = spec.rpartition(":")
    if not inside:
        raise BadPort(f"no port specified: {word}<empty>")
    found = _range(inside)
    if found is None:
        raise BadPort(f"invalid containerPort: {inside}")
    _check_outside(outside, len(found))
    if protocol not in _PROTOCOLS:
        raise BadPort(f"invalid proto: {protocol}")
    return [f"{number}/{protocol}" for number in found]


def _check_outside(text: str, count: int) -> None:
    """``address:ports``, either of which may be left out. It means nothing to an image, but has to be right."""
    address, _, ports = text.rpartition(":")
    if address:
        import ipaddress

        bracketed = address.startswith("[") and address.endswith("]")
        try:
            if ipaddress.ip_address(address[1:-1] if bracketed else address).version == 6 and not bracketed:
                raise ValueError
        except ValueError:
            raise BadPort(f"invalid IP address: {address}") from None
    if ports:
        found = _range(ports)
        if found is None:
            raise BadPort(f"invalid hostPort: {ports}")
        if count not in (1, len(found)):
            raise BadPort(f"invalid ranges specified for container and host Ports: {count} and {len(found)} of them")


def _range(text: str) -> range | None:
    first, dash, last = text.partition("-")
    start = _number(first)
    end = _number(last) if dash else start
    return range(start, end + 1) if start is not None and end is not None and start <= end else None


def _number(text: str) -> int | None:
    if not text or len(text) > 5 or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if number <= 65535 else None
