"""A file on its way to a socket: from memory, from the disk, cut short, to a client that goes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from pathlib import Path

import pytest

from cais.registry.sending import Sending, _is_in_memory, _read

# Several portions, and no whole number of pages.
LENGTH = (20 << 20) + 1234
BLOCK = os.urandom(1 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    with path.open("wb") as file:
        for number in range((LENGTH >> 20) + 1):
            file.write(number.to_bytes(4) + BLOCK)
        file.truncate(LENGTH)
        os.fsync(file.fileno())
    return path


def _forget(path: Path) -> None:
    """As if the host had just started."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


async def _sent(path: Path, start: int, length: int) -> str:
    """What arrives, hashed."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    found = hashlib.sha256()

    async def receive() -> None:
        while piece := await loop.sock_recv(theirs, 1 << 20):
            found.update(piece)

    with ours, theirs, path.open("rb") as file:
        receiving = asyncio.create_task(receive())
        try:
            sending = Sending(loop, ours.fileno(), file.fileno(), start, length)
            await sending.run()
            assert sending.position == start + length
        finally:
            ours.shutdown(socket.SHUT_WR)
            await receiving
    return found.hexdigest()


@pytest.mark.parametrize("is_near", [True, False])
@pytest.mark.parametrize(("start", "stop"), [(0, LENGTH), (5 << 20, LENGTH), (4097, 4099), (LENGTH - 1, LENGTH)])
def test_all_bytes_arrive_in_order(file: Path, is_near: bool, start: int, stop: int) -> None:
    expected = hashlib.sha256(file.read_bytes()[start:stop]).hexdigest()
    if not is_near:
        _forget(file)
    assert asyncio.run(_sent(file, start, stop - start)) == expected


def test_a_file_that_is_too_short_is_an_error(file: Path) -> None:
    with pytest.raises(OSError, match="shorter than its blob"):
        asyncio.run(_sent(file, 0, LENGTH + 1))


def test_a_client_that_goes_ends_it(file: Path) -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, file.open("rb") as opened:
            ours.setblocking(False)
            sending = Sending(asyncio.get_running_loop(), ours.fileno(), opened.fileno(), 0, LENGTH)
            running = asyncio.create_task(sending.run())
            while sending.position == 0 and not running.done():
                await asyncio.sleep(0)
            sending.stop(ConnectionResetError())
            with pytest.raises(ConnectionResetError):
                await running

    asyncio.run(go())


def test_who_went_before_it_began_is_sent_nothing(file: Path) -> None:
    async def go() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, file.open("rb") as opened:
            sending = Sending(asyncio.get_running_loop(), ours.fileno(), opened.fileno(), 0, LENGTH)
            sending.stop(BrokenPipeError())
            with pytest.raises(BrokenPipeError):
                await sending.run()
            assert sending.position == 0

    asyncio.run(go())


def test_what_is_read_ahead_is_in_memory(file: Path) -> None:
    """The next portion is there when it is to be sent; the descriptor that is given is closed."""
    with file.open("rb") as opened:
        if not _is_in_memory(opened.fileno(), 0):
            pytest.skip("this file system does not say what is in memory")
        descriptor = os.dup(opened.fileno())
        _forget(file)
        _read(descriptor, 0, LENGTH)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
        assert all(_is_in_memory(opened.fileno(), position) for position in range(0, LENGTH, 1 << 20))
