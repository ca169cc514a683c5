"""Selection: what the sources of one COPY or ADD name in a tree, as a listing of each directory (made by ``scan``).

A listing is kept as marshalled bytes, which compare and hash at once, and are small: a million files must not cost
gigabytes.
"""

from __future__ import annotations

import marshal
import stat
import time
from collections.abc import Iterator, Sequence

from cais.build.tree import Tree
from cais.spec.named import NamedTuple

# Version 2 of marshal writes equal values as equal bytes; later ones depend on reference counts.
_MARSHAL = 2
# Listings beyond this much are kept compressed.
_PLAIN_BYTES = 16 << 20
Row = tuple[str, int, int, int, int, int, int, int]


class Entry(NamedTuple):
    """One name of a directory. ``size``: bytes of a file, rdev of a device, else 0. Times are in nanoseconds."""

    name: str
    mode: int
    size: int
    modified: int
    changed: int
    inode: int
    owner: int  # uid | gid << 32 where the tree's owners count, else 0
    device: int

    @property
    def uid(self) -> int:
        return self.owner & 0xFFFFFFFF

    @property
    def gid(self) -> int:
        return self.owner >> 32


class Directory:
    """A listed directory; ``listing`` is the marshalled list of its entries, sorted by name."""

    __slots__ = ("_kept", "_packed", "path")

    def __init__(self, path: str, listing: bytes = b"", *, packed: bool = False) -> None:
        self.path = path
        self._packed = packed
        if packed:
            import zlib

            listing = zlib.compress(listing, 1)
        self._kept = listing

    @property
    def listing(self) -> bytes:
        if self._packed:
            import zlib

            return zlib.decompress(self._kept)
        return self._kept

    def entries(self) -> list[Row]:
        """Plain tuples with the fields of ``Entry``: twenty thousand of them are made at a time."""
        return marshal.loads(self.listing)  # type: ignore[no-any-return]


class Source(NamedTuple):
    """One thing that a pattern matched. ``name`` is what it is called at the destination, ``path`` where it is.

    A directory is ``first`` and up to, not including, ``end`` of the selection's ``directories``.
    """

    pattern: str
    name: str
    path: str
    entry: Entry
    first: int = 0
    end: int = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.entry.mode)


class Selection:
    """``sources`` in the order of the patterns, ``directories`` parents first; ``started`` is when the scan began (ns).

    ``keep_owners``: owners, and which names are links of one file, count and are copied (a stage, not a context).
    ``digests`` is filled by ``hashing``: for each directory, and after them for each source that is none, the digests
    of its entries, 32 bytes each, in the order of the listing. ``changed`` are paths that were not what was listed when
    they were read. ``leading`` are directories that ``--parents`` or ``--exclude`` take only for what is below them.
    """

    __slots__ = (
        "changed",
        "digests",
        "directories",
        "files",
        "keep_owners",
        "leading",
        "links",
        "listed_bytes",
        "notes",
        "size_bytes",
        "sources",
        "started",
        "tree",
    )

    def __init__(self, tree: Tree, *, keep_owners: bool) -> None:
        self.tree = tree
        self.keep_owners = keep_owners
        self.sources: list[Source] = []
        self.directories: list[Directory] = []
        self.notes: list[str] = []
        self.files = 0
        self.size_bytes = 0
        self.listed_bytes = 0
        self.started = time.time_ns()
        self.links: dict[tuple[int, int], list[str]] = {}
        self.digests: list[bytes] = []
        self.changed: list[str] = []
        self.leading: set[str] = set()

    def place(self, path: str) -> int:
        """Keeps a place for ``path``'s listing among the directories; returns its number."""
        self.directories.append(Directory(path))
        return len(self.directories) - 1

    def fill(self, number: int, entries: list[Row]) -> None:
        """Fills a place that was kept; ``entries`` are sorted."""
        listing = marshal.dumps(entries, _MARSHAL)
        self.listed_bytes += len(listing)
        path = self.directories[number].path
        self.directories[number] = Directory(path, listing, packed=self.listed_bytes > _PLAIN_BYTES)

    def below(self, source: Source) -> Sequence[Directory]:
        """The directories of a directory source, itself first."""
        return self.directories[source.first : source.end]


def walk(selection: Selection) -> Iterator[tuple[str, Entry]]:
    """Every path below the sources, relative to the tree, with its entry: for those that are not in a hurry."""
    for directory in selection.directories:
        for entry in directory.entries():
            yield (f"{directory.path}/{entry[0]}" if directory.path else entry[0]), Entry(*entry)


def newest_of(selection: Selection) -> int:
    """The newest modification time of all that was selected, in whole seconds; 0 when there is nothing."""
    # Not of the directories that were named: only their contents are copied.
    newest = max((source.entry.modified for source in selection.sources if not source.is_directory), default=0)
    for directory in selection.directories:
        newest = max(newest, max((entry[3] for entry in directory.entries()), default=0))
    return newest // 1_000_000_000
