"""A body in portions: all of it, in order, in memory that requests share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cais.registry.call import Disconnected, Load
from cais.registry.portions import Portions

MIB = 1 << 20


class Body:
    """A call whose body comes in these pieces, by one way or the other, and then ends or breaks off."""

    def __init__(self, pieces: list[bytes], *, direct: bool = False, breaks: bool = False) -> None:
        self._pieces, self._direct, self._breaks = pieces, direct, breaks
        self._rest = memoryview(b"".join(pieces))
        self.load = Load()
        self.load.requests = 1

    @property
    def receive_into(self) -> Callable[[memoryview], Awaitable[tuple[int, bool]]] | None:
        return self._fill if self._direct else None

    async def _fill(self, buffer: memoryview) -> tuple[int, bool]:
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count, self._breaks or len(self._rest) > 0

    async def piece(self) -> tuple[bytes, bool]:
        if not self._pieces:
            raise Disconnected
        piece = self._pieces.pop(0)
        return piece, self._breaks or len(self._pieces) > 0


def taken(body: Any, asked: Callable[[int], None] = lambda count: None) -> tuple[list[bytes], bool]:
    """The portions, and whether it broke off."""

    async def take() -> tuple[list[bytes], bool]:
        portions, found, more = Portions(body), list[bytes](), True
        try:
            while more:
                asked(len(found))
                portion, more = await portions.next()
                found.append(bytes(portion))
        except Disconnected:
            return found, True
        return found, False

    return asyncio.run(take())


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("breaks", [False, True])
@pytest.mark.parametrize("sizes", [[1], [5, 7], [3 * MIB, 3 * MIB, 3], [9 * MIB], [4 * MIB, 4 * MIB], [100_000] * 90])
def test_all_of_it_in_order(sizes: list[int], breaks: bool, direct: bool) -> None:
    pieces = [os.urandom(size) for size in sizes]
    whole = b"".join(pieces)
    found, broke = taken(Body(pieces, direct=direct, breaks=breaks))
    assert b"".join(found) == whole and broke is breaks
    assert all(len(portion) == 4 * MIB for portion in found[: len(whole) // (4 * MIB)])


@pytest.mark.parametrize("direct", [False, True])
def test_many_requests_share_what_one_may_hold(direct: bool) -> None:
    whole = os.urandom(16 * MIB)
    body = Body([whole], direct=direct)

    def asked(count: int) -> None:
        body.load.requests = 1 if count < 2 else 16 if count < 4 else 10_000

    found, _ = taken(body, asked)
    assert b"".join(found) == whole
    assert [len(portion) for portion in found[:5]] == [4 * MIB, 4 * MIB, MIB // 2, MIB // 2, 64 << 10]
