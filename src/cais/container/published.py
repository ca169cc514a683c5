"""Published ports: ``-p`` and ``--expose`` in all of Docker's forms, and how they are written in ``ps`` and ``port``.

Pure. ``80``, ``8080:80``, ``127.0.0.1:8080:80``, ``[::1]::80``, ``8000-8010:80``, ``8000-8002:80-82/udp``, and
``published=8080,target=80,protocol=tcp``.
"""

from __future__ import annotations

from cais.container.networking import Binding
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROTOCOLS = ("tcp", "udp", "sctp")


def parse_publish(text: str) -> list[Binding]:
    """What ``-p`` asks for. Raises Invalid with Docker's words."""
    if "=" in text:
        text = _from_long(text)
    *head, last = text.split(":")
    host_port = head.pop() if head else ""
    host_ip = ":".join(head)
    word, slash, protocol = last.partition("/")
    protocol = (protocol.partition("/")[0] if slash else "").lower() or "tcp"
    if host_ip.startswith("["):
        if not host_ip.endswith("]"):
            raise _invalid(f"invalid IP address {host_ip}: address {host_ip}: missing ']' in address")
        host_ip = host_ip[1:-1]
    if host_ip and not is_address(host_ip):
        raise _invalid(f"invalid IP address: {host_ip}")
    if not word:
        raise _invalid(f"no port specified: {text}<empty>")
    ports, hosts = _range(word), _range(host_port) if host_port else (0, 0)
    if ports is None:
        raise _invalid(f"invalid containerPort: {word}")
    if hosts is None:
        raise _invalid(f"invalid hostPort: {host_port}")
    if protocol not in PROTOCOLS:
        raise _invalid(f"invalid proto: {protocol}")
    (first, end), (host_first, host_end) = ports, hosts
    if not host_port:
        return [Binding(protocol, port, host_ip) for port in range(first, end + 1)]
    if end - first == host_end - host_first:
        return [
            Binding(protocol, port, host_ip, host, host)
            for port, host in zip(range(first, end + 1), range(host_first, host_end + 1), strict=True)
        ]
    if first != end:
        raise _invalid(f"invalid ranges specified for container and host Ports: {word} and {host_port}")
    return [Binding(protocol, first, host_ip, host_first, host_end)]


def _from_long(text: str) -> str:
    fields = {"published": "", "target": "", "protocol": ""}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or not value or key not in (*fields, "mode"):
            raise _invalid(f"invalid syntax for published port: {field}")
        fields[key] = value
    return f"{fields['published']}:{fields['target']}/{fields['protocol']}"


def parse_expose(text: str) -> list[str]:
    """``80``, ``80/udp``, ``8000-8010``: as ``80/tcp``. Raises Invalid with Docker's words."""
    if ":" in text:
        raise _invalid(f"invalid port format for --expose: {text}")
    word, _, protocol = text.partition("/")
    found = _range(word)
    if found is None:
        raise _invalid(f"invalid range format for --expose: {text}", "Give a port from 1 to 65535, or a range: 80-82.")
    return [f"{port}/{protocol.lower() or 'tcp'}" for port in range(found[0], found[1] + 1)]


def _range(text: str) -> tuple[int, int] | None:
    first, dash, last = text.partition("-")
    words = (first, last or first)
    numbers = [int(word) if word.isascii() and word.isdigit() and len(word) < 7 else -1 for word in words]
    if (dash and not last) or not 0 <= numbers[0] <= numbers[1] <= 65535:
        return None
    return numbers[0], numbers[1]


def is_address(text: str, family: int = 0) -> bool:
    """Whether ``text`` is an IP address (of ``family`` 4 or 6)."""
    from _socket import AF_INET, AF_INET6, inet_pton

    is_6 = ":" in text
    if family and is_6 != (family == 6):
        return False
    try:
        inet_pton(AF_INET6 if is_6 else AF_INET, text)
    except (OSError, UnicodeError, ValueError):
        return False
    return True


class Published(NamedTuple):
    """A port as it is published. ``host_ip`` "" with ``host_port`` 0: only exposed."""

    port: int
    protocol: str
    host_ip: str = ""
    host_port: int = 0

    @property
    def host(self) -> str:
        """``0.0.0.0:8080``, ``[::]:8080``."""
        ip = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip
        return f"{ip}:{self.host_port}"


def display(ports: Iterable[Published]) -> str:
    """Docker's PORTS column: ports that follow each other on the same address are one range."""
    ordered = sorted(
        ports, key=lambda item: (item.host_port not in (0, item.port), item.port, item.host_ip, item.protocol)
    )
    ranges: list[list[Published]] = []
    for item in ordered:
        for open_range in ranges:
            last = open_range[-1]
            # As Docker: on the host the same numbers as inside, or each is for itself.
            same = last.host_port in (0, last.port)
            follows = (last.port + 1, last.protocol, last.host_ip, last.host_port + 1 if last.host_port else 0)
            if same and follows == item:
                open_range.append(item)
                break
        else:
            ranges.append([item])
    return ", ".join(map(_range_text, ranges))


def _range_text(items: Sequence[Published]) -> str:
    first, last = items[0], items[-1]
    inside = str(first.port) + (f"-{last.port}" if last is not first else "")
    if not first.host_port:
        return f"{inside}/{first.protocol}"
    return f"{first.host}{f'-{last.host_port}' if last is not first else ''}->{inside}/{first.protocol}"


def _invalid(message: str, hint: str = "") -> Invalid:
    return Invalid(message, hint=hint, exit_code=125)
