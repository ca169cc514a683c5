"""Context: the directory that a build reads its files from, and the rules of what stays out of it."""

from __future__ import annotations

import os
import stat
from _thread import RLock
from collections.abc import Sequence

from cais.build.graph import Copy
from cais.build.hashing import digest_of, read_digests
from cais.build.ignore import Ignore
from cais.build.scan import select
from cais.build.selection import Selection
from cais.build.stat_cache import StatCache
from cais.build.tree import FILE, Tree, shown
from cais.errors import CaisError, NotFound, from_os_error
from cais.spec.digest import Digest

IGNORE_FILE = ".dockerignore"
_IGNORE_LIMIT_BYTES = 4 << 20


_Choice = tuple[tuple[str, ...], tuple[str, ...], bool]  # sources, exclude, parents


class Context:
    """``path`` is the directory. ``dockerfile`` is the Dockerfile's path, whose own ignore file comes first.

    ``cache`` is a directory for what was found out about contexts, or "". ``ignoring``: the ignore file counts (of what
    was fetched it is a file like others, as with BuildKit). Raises NotFound, Invalid (no directory; a
    malformed ignore file), Denied. Selections are made and hashed once for each way to choose. Threads may share it.
    """

    def __init__(self, path: str, dockerfile: str = "", *, cache: str = "", ignoring: bool = True) -> None:
        self.path = path
        self.tree = Tree(path)
        try:
            self.ignore_file, self.ignore = self._ignore(dockerfile) if ignoring else ("", None)
        except BaseException:
            self.tree.close()
            raise
        self.cache = StatCache(cache, path) if cache else None
        self._lock = RLock()
        self._selections: dict[_Choice, Selection] = {}
        self._digests: dict[_Choice, Digest] = {}

    def close(self) -> None:
        self.tree.close()
        if self.cache is not None:
            self.cache.close()

    def only_read(self) -> None:
        """From now on nothing new is remembered of it."""
        if self.cache is not None:
            self.cache.writes = False

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ignore(self, dockerfile: str) -> tuple[str, Ignore | None]:
        if dockerfile:
            data = _read_own(f"{dockerfile}.dockerignore")
            if data is not None:
                name = os.path.basename(dockerfile) + IGNORE_FILE
                return name, _rules(data, name)
        resolved = self.tree.resolve(IGNORE_FILE)
        if resolved.status is None or not stat.S_ISREG(resolved.status.st_mode):
            return "", None
        try:
            file = self.tree.open_file(resolved.path, FILE)
        except OSError as error:
            raise from_os_error(error, f"read {IGNORE_FILE}")
        try:
            return IGNORE_FILE, _rules(_read(file), IGNORE_FILE)
        finally:
            os.close(file)

    def leaves_out(self, path: str) -> bool:
        """Whether the ignore file leaves ``path`` out for certain: where it has exceptions (``!``) nothing is."""
        ignore = self.ignore
        return ignore is not None and not any(rule.again for rule in ignore.rules) and ignore.ignores(path)

    def select(self, op: Copy | Sequence[str]) -> Selection:
        """What a COPY's sources name. Raises NotFound (``"/x": not found``), Invalid, Denied, Failed."""
        choice = _choice(op)
        with self._lock:
            selection = self._selections.get(choice)
            if selection is None:
                sources, exclude, parents = choice
                selection = select(
                    self.tree,
                    sources,
                    keep_owners=False,
                    ignore=self.ignore,
                    missing=self._missing,
                    exclude=exclude,
                    parents=parents,
                )
                self._selections[choice] = selection
            return selection

    def digest(self, op: Copy | Sequence[str]) -> Digest:
        """The content identity of what a COPY's sources name: its cache key. Raises what ``select`` does."""
        choice = _choice(op)
        with self._lock:
            digest = self._digests.get(choice)
            if digest is None:
                digest = self._digests[choice] = digest_of(self.select(op), self.cache)
            return digest

    def listing(self, op: Copy | Sequence[str]) -> bytes:
        """What ``difference`` compares, to be kept with what was built from it."""
        from cais.build.listing import listing_of

        with self._lock:
            selection = self.select(op)
            read_digests(selection, self.cache)
            return listing_of(selection)

    @staticmethod
    def difference(old: bytes, new: bytes) -> list[str]:
        """The first few files that two listings do not share, and what changed of them."""
        from cais.build.listing import difference

        return difference(old, new)

    def _missing(self, path: str) -> CaisError:
        error = NotFound(f"{shown('/' + path)}: not found")
        rule = self.ignore.rule(path) if self.ignore is not None and path else None
        if rule is not None and self.tree.resolve(path).status is not None:
            error.hint = f"It is left out of the build context by line {rule.line} of {self.ignore_file}: {rule.text}"
            return error
        nearest = self._nearest(path)
        if nearest:
            error.hint = f"Did you mean {shown(nearest)}? Paths of COPY and ADD are relative to the build context."
        else:
            error.hint = f"Paths of COPY and ADD are relative to the build context, {shown(self.path)}."
        return error

    def _nearest(self, path: str) -> str:
        """The existing name that is most like the first one of ``path`` that is missing, or ""."""
        parts = path.split("/")
        for number in range(len(parts)):
            directory = "/".join(parts[:number])
            status = self.tree.status("/".join(parts[: number + 1]))
            if status is not None:
                continue
            try:
                descriptor = self.tree.open(directory)
            except OSError:
                return ""
            try:
                names = os.listdir(descriptor)[:5000]
            finally:
                os.close(descriptor)
            prefix = f"{directory}/" if directory else ""
            if self.ignore is not None:
                names = [name for name in names if not self.ignore.ignores(prefix + name)]
            import difflib

            folded = {name.casefold(): name for name in sorted(names)}
            found = difflib.get_close_matches(parts[number].casefold(), list(folded), 1, 0.6)
            return prefix + folded[found[0]] if found else ""
        return ""


def select_from(path: str, op: Copy) -> tuple[Tree, Selection]:
    """What ``COPY --from`` names in another file system, mounted at ``path``; owners count. The caller closes the tree.

    Raises NotFound.
    """
    tree = Tree(path)
    try:
        return tree, select(tree, op.sources, keep_owners=True, exclude=op.exclude, parents=op.parents)
    except BaseException:
        tree.close()
        raise


def _choice(op: Copy | Sequence[str]) -> _Choice:
    return (op.sources, op.exclude, op.parents) if isinstance(op, Copy) else (tuple(op), (), False)


def _rules(data: bytes, name: str) -> Ignore | None:
    ignore = Ignore.parse(data, name)
    return ignore if ignore.rules else None


def _read_own(path: str) -> bytes | None:
    """The Dockerfile's own ignore file stands where the Dockerfile does, which may be anywhere."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return _read(file) if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)


def _read(file: int) -> bytes:
    pieces = []
    left = _IGNORE_LIMIT_BYTES + 1
    while left > 0 and (piece := os.read(file, left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
