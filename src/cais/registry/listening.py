"""Sockets to listen on: of an address, or in the file system."""

from __future__ import annotations

import os
import socket

from cais.errors import Invalid, from_os_error

_UNIX = "unix:"
_BACKLOG = 2048


def listen(address: str) -> socket.socket:
    """``HOST:PORT`` (port 0 is any free one), or ``unix:PATH``. Raises Invalid, Denied, Failed (it is taken)."""
    if address.startswith(_UNIX):
        return _listen_on_file(address.removeprefix(_UNIX))
    host, colon, port = address.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"{address!r} is not an address to listen on", hint="It is HOST:PORT, or unix:PATH.")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, number, _, name = socket.getaddrinfo(
            host or "0.0.0.0", int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(name)
        return _opened(listener)
    except (socket.gaierror, UnicodeError) as error:
        raise Invalid(f"cannot listen on {address}: {getattr(error, 'strerror', 'no such host')}") from None
    except OSError as error:
        raise from_os_error(error, f"listen on {address}") from None


def shown(listener: socket.socket, scheme: str) -> str:
    """As people write it."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"{_UNIX}{name}"
    return f"{scheme}://{f'[{name[0]}]' if ':' in name[0] else name[0]}:{name[1]}"


def _listen_on_file(path: str) -> socket.socket:
    """What a dead process has left there is removed; what somebody listens on is not."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        if os.path.exists(path):
            with socket.socket(socket.AF_UNIX) as other:
                try:
                    other.connect(path)
                except ConnectionRefusedError:
                    os.unlink(path)
        listener.bind(path)
        os.chmod(path, 0o660)  # who may connect is a matter of its group, and of the directory
        return _opened(listener)
    except OSError as error:
        listener.close()
        raise from_os_error(error, f"listen on {_UNIX}{path}") from None


def _opened(listener: socket.socket) -> socket.socket:
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener
