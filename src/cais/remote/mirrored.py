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
        self._origin = origin
        self._mirrors = tuple(mirrors)
        self._silent: set[Registry] = set()

    def resolve(self, tag_or_digest: str) -> Descriptor:
        return self._first(lambda place: place.resolve(tag_or_digest))

    def manifest(self, tag_or_digest: str, limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Document:
        return self._first(lambda place: place.manifest(tag_or_digest, limit_bytes))

    def exists(self, blob: Descriptor) -> bool:
        for mirror in self._answering():
            try:
                if mirror.exists(blob):
                    return True
            except CaisError as error:
                self._note(mirror, error)
        return self._origin.exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Where one place breaks off, the next goes on from that byte."""
        position = offset
        for mirror in self._answering():
            try:
                for piece in mirror.fetch(blob, position):
                    position += len(piece)
                    yield piece
                return
            except _NEXT as error:
                self._note(mirror, error)
        yield from self._origin.fetch(blob, position)

    def tags(self, page: int = 0) -> Iterator[str]:
        yield from self._first(lambda place: list(place.tags(page)))

    def _first(self, ask: Callable[[Registry], Answer]) -> Answer:
        for mirror in self._answering():
            try:
                return ask(mirror)
            except _NEXT as error:
                self._note(mirror, error)
        return ask(self._origin)

    def _answering(self) -> list[Registry]:
        return [mirror for mirror in self._mirrors if mirror not in self._silent]

    def _note(self, mirror: Registry, error: CaisError) -> None:
        if isinstance(error, Unavailable):
            self._silent.add(mirror)
