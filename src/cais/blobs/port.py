"""The port: what a store of blobs does. ``FileBlobs`` and the S3 one keep the same promises, and pass the same tests.

``parts`` and locations are JSON values of the implementation's own: the database keeps them, nobody looks inside.
All methods block: the door calls them in threads. Each raises Unavailable (full, out of reach) or Denied, and what it
says.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, Protocol

    from cais.spec.digest import Digest

    Pieces = Sequence[bytes | memoryview]
    Parts = list[Any]
    Location = dict[str, Any]

    class Writer(Protocol):
        """Appends to one upload; used by one thread at a time.

        ``is_first`` says that nobody has written behind the bytes that it was opened for, and nobody else does now;
        where it is False, who opened it has to look again whether these are still all."""

        is_first: bool

        def write(self, pieces: Pieces) -> None:
            """The pieces, in order, all or none; usually some MiB together. They are the caller's again afterwards."""

        def commit(self) -> Parts:
            """Returning means that all written so far survives this process. The writer may go on."""

        def finish(self, digest: Digest) -> Location:
            """All written so far is the blob ``digest``, as the caller has verified while nobody else could write to
            it. Returning means it survives the host. The location is a new one, even where a blob of this digest is
            there; the upload is no more."""

        def close(self) -> None:
            """Lets go of the upload; what was not committed is forgotten. May be called twice."""

    class Blobs(Protocol):
        is_near: bool  # whether opening and reading a few bytes takes microseconds
        least_chunk_bytes: int  # what ``append`` should be used for at least (but for the end); 0: for any number

        def append(self, upload: str, parts: Parts, offset_bytes: int) -> Writer:
            """To write behind the ``offset_bytes`` of an upload (0 and no parts: a new one), whatever else a writer
            that died has left behind them. Raises Conflict where somebody is writing to it just now, and Corrupt where
            fewer bytes are left of it than that."""

        def reread(self, upload: str, parts: Parts, offset_bytes: int) -> Iterator[bytes]:
            """The bytes of an upload, in pieces, from its beginning."""

        def discard(self, upload: str, parts: Parts) -> None:
            """Removes an upload; nothing happens where it is gone."""

        def open_file(self, location: Location) -> int | None:
            """A descriptor of a file that holds exactly the blob, for the caller to close; None where there is none,
            and it has to be read. Raises NotFound."""

        def read(self, location: Location, start: int, stop: int) -> Iterator[bytes]:
            """The bytes from ``start`` to before ``stop``, in pieces of up to a MiB. Raises NotFound, Corrupt."""

        def link(self, location: Location, media_type: str) -> str | None:
            """A URL at which a client may fetch the blob itself for a while; None where it has to come through here."""

        def size(self, location: Location) -> int:
            """How many bytes are there. Raises NotFound."""

        def name(self, location: Location) -> str:
            """A text that no other location has; that of a blob whose bytes stay where the upload had them is the
            upload's id."""

        def adopt(self, path: str, digest: Digest) -> Location | None:
            """The file becomes a blob, as ``finish`` says, and stays where it is; the caller has verified it. None
            where the store cannot do that: the bytes have to be copied."""

        def remove(self, location: Location) -> None:
            """Frees the bytes; nothing happens where they are gone."""

        def stored(self) -> Iterator[tuple[Location, int, float]]:
            """Every location that is there, with the size in bytes and when it was made (Unix seconds): what the
            database does not know of these, and is old, is nobody's."""

        def unfinished(self) -> Iterator[tuple[str, Parts, float]]:
            """Every upload of which something is there, with parts for ``discard``, and when it was last written to."""

        def answers(self) -> None:
            """Raises Unavailable where nothing can be stored."""

        def close(self) -> None: ...
