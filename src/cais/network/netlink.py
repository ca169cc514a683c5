"""Netlink (rtnetlink(7)): requests to the kernel's network stack, several in one send.

A socket belongs to the network namespace in which it was opened, whoever uses it later.
"""

from __future__ import annotations

import os
from struct import pack, pack_into, unpack_from

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
EXCL, CREATE, REPLACE = 0x200, 0x400, 0x100
NESTED = 0x8000
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK, _EXT_ACK, _STRICT = 270, 10, 11, 12
_CAPPED, _ACK_TLVS = 0x100, 0x200
_RECEIVE_BYTES = 1 << 16


class NetlinkError(OSError):
    """What the kernel refused: the number of the error, and its own words where it has some."""


class Request(NamedTuple):
    """``allowed``: numbers of errors that are none here (EEXIST of what should be there)."""

    kind: int
    flags: int
    body: bytes
    allowed: tuple[int, ...] = ()


def attribute(kind: int, value: bytes | str | int) -> bytes:
    """One attribute, padded. A string ends with a zero byte; a number has 32 bits."""
    if isinstance(value, int):
        value = pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    return pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """The attributes from ``start`` to the end."""
    found = {}
    while start + 4 <= len(data):
        length, kind = unpack_from("=HH", data, start)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[start + 4 : start + length]
        start += (length + 3) & ~3
    return found


class Netlink:
    """A netlink socket of the calling thread's network namespace. ``protocol`` 0 is rtnetlink, 12 netfilter."""

    def __init__(self, protocol: int = 0) -> None:
        import _socket

        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        for option in (_CAP_ACK, _EXT_ACK) + ((_STRICT,) if protocol == 0 else ()):
            try:
                self._socket.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:
                pass  # an old kernel: its errors have no words
        self._sequence = 1

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, requests: list[Request]) -> None:
        """All in one send; the kernel does them in order, whatever comes of those before. Raises NetlinkError of the
        first that failed and may not."""
        if not requests:
            return  # the kernel calls an empty message ENODATA
        first = self._sequence
        self._sequence += len(requests)
        self._socket.send(
            b"".join(_message(item, first + index, ACK) for index, item in enumerate(requests)),
        )
        failure: NetlinkError | None = None
        waiting = len(requests)
        while waiting:
            for kind, sequence, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind != _ERROR or sequence < first:
                    continue
                waiting -= 1
                request = requests[sequence - first]
                error = _failure(body)
                if error is not None and error.errno not in request.allowed and failure is None:
                    failure = NetlinkError(error.errno, f"{error.strerror} (netlink message {request.kind})")
        if failure is not None:
            raise failure

    def ask(self, request: Request) -> bytes | None:
        """The answer to a question about one thing, without its netlink header; None where there is no such thing."""
        import errno

        sequence = self._sequence
        self._sequence += 1
        self._socket.send(_message(request, sequence, 0))
        while True:
            for kind, number, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if number != sequence:
                    continue
                if kind != _ERROR:
                    return body
                error = _failure(body)
                if error is not None and error.errno in (errno.ENODEV, errno.ENOENT):
                    return None
                if error is not None:
                    raise error

    def dump(self, request: Request) -> Iterator[bytes]:
        """All answers, each without its netlink header."""
        sequence = self._sequence
        self._sequence += 1
        self._socket.send(_message(request, sequence, DUMP))
        while True:
            for kind, number, body in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if number != sequence:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    error = _failure(body)
                    if error is not None:
                        raise error
                    return
                yield body


def _message(request: Request, sequence: int, flags: int) -> bytes:
    length = 16 + len(request.body)
    data = bytearray(length + (-length % 4))
    pack_into("=IHHII", data, 0, length, request.kind, REQUEST | flags | request.flags, sequence, 0)
    data[16:length] = request.body
    return bytes(data)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    position = 0
    while position + 16 <= len(data):
        length, kind, flags, sequence = unpack_from("=IHHI", data, position)
        if length < 16:
            return
        body = data[position + 16 : position + length]
        if kind == _ERROR:
            body = pack("=H", flags) + body
        yield kind, sequence, body
        position += (length + 3) & ~3


def _failure(body: bytes) -> NetlinkError | None:
    """``body``: the message's flags, the error, what was asked, and what the kernel says of it."""
    flags, code = unpack_from("=H", body)[0], unpack_from("=i", body, 2)[0]
    if code == 0:
        return None
    text = ""
    if flags & _ACK_TLVS:
        asked = unpack_from("=I", body, 6)[0]
        start = 22 if flags & _CAPPED else 6 + ((asked + 3) & ~3)
        text = attributes(body, start).get(1, b"").rstrip(b"\0").decode("utf-8", "replace")
    return NetlinkError(-code, text or os.strerror(-code))
