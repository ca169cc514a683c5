"""Mirrored: a repository that others are asked for first, in their order; it has the last word.

Which one it was is nobody's business: digests are what they are. A mirror that did not answer is left alone afterwards,
and so is one that gave something else than what was asked for; of that the user is warned, as somebody has to mend it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cais.errors import CaisError, Corrupt, Denied, NotFound, Unauthorized, Unavailable, Unsupported
from cais.remote.registry import Document, Registry
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    Answer = TypeVar("Answer")

_NEXT = (NotFound, Denied, Unauthorized, Unavailable, Unsupported, Corrupt)


class Mirrored(Registry):
    """``mirrors`` are asked before ``origin``. What is stored goes to the origin."""

    def __init__(self, origin: Registry, mirrors: Sequence[Registry]) -> None:
        super().__init__(origin.transport, origin.repository)
        self._origin = origin
        self._mirrors = tuple(mirrors)
        self._left_alone: set[Registry] = set()
        self._gave: dict[Digest, set[Registry]] = {}

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
        """Where one place breaks off, the next goes on from that byte. What is read to its end and is not ``blob`` may
        be had from another: ``distrust``."""
        position = offset
        for mirror in self._answering():
            start = position
            try:
                for piece in mirror.fetch(blob, position):
                    if position == start:
                        self._gave.setdefault(blob.digest, set()).add(mirror)
                    position += len(piece)
                    yield piece
                return
            except _NEXT as error:
                self._note(mirror, error)
                if isinstance(error, Corrupt) and position > start:
                    raise  # what it gave until then is nothing to go on from
        yield from self._origin.fetch(blob, position)

    def distrust(self, blob: Descriptor) -> bool:
        """What came of ``blob`` was not it: whoever gave of it is asked for nothing more. Returns whether that was a
        mirror, so that it may come from elsewhere."""
        gave = self._gave.pop(blob.digest, set())
        for mirror in gave:
            self._note(mirror, Corrupt(f"what it gave as {blob.digest} is something else"))
        return bool(gave)

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
        return [mirror for mirror in self._mirrors if mirror not in self._left_alone]

    def _note(self, mirror: Registry, error: CaisError) -> None:
        if isinstance(error, Corrupt) and mirror not in self._left_alone:
            mirror.transport.warned(f"{error.message}; this mirror is asked for nothing more")
        if isinstance(error, (Corrupt, Unavailable)):
            self._left_alone.add(mirror)
