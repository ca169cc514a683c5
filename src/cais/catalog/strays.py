"""Strays: bytes in the store of which the database knows nothing, because a process died before it noted them.

What the database knows may be more than fits in memory, so it is remembered as a Bloom filter: it may take a stray for
known, one in thousands and others the next time, and never something known for a stray.
"""

from __future__ import annotations

import os
from hashlib import blake2b

from cais.records import known
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    from cais.blobs.port import Blobs, Location, Parts
    from cais.records.database import Database

    Item = TypeVar("Item")

_PAGE = 1000
_BITS_FOR_EACH = 16
_PROBES = 4


class Stray(NamedTuple):
    """``location`` of a blob, or the ``upload`` that these are the bytes of."""

    location: Location | None
    upload: str
    parts: Parts
    size_bytes: int

    def remove(self, store: Blobs) -> None:
        """Frees its bytes. Raises Unavailable, Denied."""
        if self.location is not None:
            store.remove(self.location)
        else:
            store.discard(self.upload, self.parts)


def find_strays(
    database: Database, store: Blobs, before_unix: float, goes_on: Callable[[], bool] = lambda: True
) -> Iterator[Stray]:
    """What was stored before ``before_unix`` and is in no row. ``goes_on`` is asked now and then, also where there are
    none: False ends it. Raises Unavailable, Denied.

    The rows are read first, as bytes that come later are younger than ``before_unix``; and in the order in which bytes
    go from one to the next: uploads, blobs, rubbish.
    """
    try:
        with database.reading() as connection:
            names = _Names(known.count(connection))
            for upload in _attended(known.uploads(connection, _PAGE), goes_on):
                names.add(upload)
            for location in _attended(known.locations(connection, _PAGE), goes_on):
                names.add(store.name(location))
        for location, size_bytes, made_unix in _attended(store.stored(), goes_on):
            if made_unix < before_unix and store.name(location) not in names:
                yield Stray(location, "", [], size_bytes)
        for upload, parts, written_unix in _attended(store.unfinished(), goes_on):
            if written_unix < before_unix and upload not in names:
                yield Stray(None, upload, parts, 0)
    except _Ended:
        pass


class _Ended(Exception):
    """The search was ended."""


def _attended(items: Iterable[Item], goes_on: Callable[[], bool]) -> Iterator[Item]:
    for count, item in enumerate(items):
        if count % _PAGE == 0 and not goes_on():
            raise _Ended
        yield item


class _Names:
    """A Bloom filter, seeded anew each time."""

    def __init__(self, count: int) -> None:
        self._size = max(1024, count * _BITS_FOR_EACH)
        self._bits = bytearray(self._size // 8 + 1)
        self._seed = os.urandom(16)

    def add(self, name: str) -> None:
        for place in self._places(name):
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, name: str) -> bool:
        return all(self._bits[place >> 3] & (1 << (place & 7)) for place in self._places(name))

    def _places(self, name: str) -> list[int]:
        whole = int.from_bytes(blake2b(name.encode(), digest_size=8 * _PROBES, key=self._seed).digest(), "big")
        return [(whole >> (64 * probe)) % self._size for probe in range(_PROBES)]
