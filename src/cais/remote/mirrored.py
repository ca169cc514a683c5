"""Mirrored: a repository that others are asked for first, in their order; it has the last word.

Which one it was is nobody's business: digests are what they are. A mirror that did not answer is left alone afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cais.errors import CaisError, Denied, NotFound, Unauthorized, Unavailable, Unsupported
from cais.remote.registry import Document, Registry
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Answer = TypeVar("Answer")

_NEXT = (NotFound, Denied, Unauthorized, Unavailable, Unsupported)


class Mirrored(Registry):
    """``mirrors`` are asked before ``origin``. What is stored goes to the origin."""

    def __init__(self, origin: Registry, mirrors: Sequence[Registry]) -> None:
        super().__init__(origin.transport, origin.repository)
        self._places = [*mirrors, origin]

    def resolve(self, tag_or_digest: str) -> Descriptor:
        return self._first(lambda place: place.resolve(tag_or_digest))

    def manifest(self, tag_or_digest: str, limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Document:
        return self._first(lambda place: place.manifest(tag_or_digest, limit_bytes))

    def exists(self, blob: Descriptor) -> bool:
        for place in list(self._places[:-1]):
            try:
                if place.exists(blob):
                    return True
            except CaisError as error:
                self._note(place, error)
        return self._places[-1].exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Where one place breaks off, the next goes on from that byte."""
        position = offset
        for place in list(self._places):
            try:
                for piece in place.fetch(blob, position):
                    position += len(piece)
                    yield piece
                return
            except _NEXT as error:
                if place is self._places[-1]:
                    raise
                self._note(place, error)

    def tags(self, page: int = 0) -> Iterator[str]:
        yield from self._first(lambda place: list(place.tags(page)))

    def _first(self, ask: Callable[[Registry], Answer]) -> Answer:
        for place in list(self._places[:-1]):
            try:
                return ask(place)
            except _NEXT as error:
                self._note(place, error)
        return ask(self._places[-1])

    def _note(self, place: Registry, error: CaisError) -> None:
        if isinstance(error, Unavailable) and place in self._places[:-1]:
            self._places.remove(place)
