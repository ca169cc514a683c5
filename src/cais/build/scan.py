"""Scanning: from the sources of a COPY or ADD to a selection, without reading a file.

A directory is listed with one scandir and one lstat an entry, and only below what is named; an ignored directory is not
read at all, unless a rule may take something in it back in.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence

from cais.build.graph import parted
from cais.build.ignore import Chosen, Ignore
from cais.build.selection import Entry, Row, Selection, Source
from cais.build.tree import DIRECTORY, Tree, shown
from cais.errors import CaisError, Failed, Invalid, from_os_error
from cais.host.files import cleaned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.ignore import Ignoring


Match = Callable[[str, str], bool]
Missing = Callable[[str], CaisError]


def select(
    tree: Tree,
    patterns: Sequence[str],
    *,
    keep_owners: bool,
    ignore: Ignoring | None = None,
    missing: Missing | None = None,
    exclude: Sequence[str] = (),
    parents: bool = False,
) -> Selection:
    """What ``patterns`` (Go's filepath.Match, from the root on; ``..`` stops there) name in ``tree``.

    A literal pattern must be there: what ``missing`` makes of it is raised. A wildcard may match nothing in a directory
    that is there. A source that is a link is followed inside the tree. ``exclude`` and ``parents`` are those of
    ``graph.Copy``. Raises BadPattern.
    """
    selection = Selection(tree, keep_owners=keep_owners)
    missing = missing or _not_found
    excluded = (Ignore.excluding(exclude),) if exclude else ()
    for pattern in patterns:
        own = excluded
        if parents:
            pattern, wanted = parted(pattern)
            _require(tree, pattern, wanted, ignore, missing)
            if wanted:
                own = (*own, Ignore.only(wanted))
        if is_wildcard(pattern):
            paths = _expand(tree, pattern, ignore, missing)
        else:
            paths = [cleaned(_literal(pattern))]
        for path in paths:
            _add(selection, pattern, path, ignore, missing, own, parents)
    return selection


def _require(tree: Tree, base: str, wanted: str, ignore: Ignoring | None, missing: Missing) -> None:
    """What ``--parents`` names without a wildcard has to be there."""
    if is_wildcard(base) or is_wildcard(wanted):
        return
    path = cleaned(_literal(f"{base}/{wanted}"))
    if tree.resolve(path, follow_last=False).status is None:
        raise missing(path)
    if ignore is not None and path and ignore.ignores(path) and not ignore.may_include_below(path):
        raise missing(path)


def _not_found(path: str) -> CaisError:
    from cais.errors import NotFound

    return NotFound(f"{shown('/' + path)}: not found")


def is_wildcard(pattern: str) -> bool:
    escaped = False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "*?[":
            return True
    return False


def _literal(pattern: str) -> str:
    """A pattern without wildcards as the name that it matches."""
    if "\\" not in pattern:
        return pattern
    characters = iter(pattern)
    return "".join(next(characters, "\\") if character == "\\" else character for character in characters)


def _expand(tree: Tree, pattern: str, ignore: Ignoring | None, missing: Missing) -> list[str]:
    """The paths that match, sorted as a walk meets them. Links among the wildcard's parts are not walked into.

    The directory that is named before the first wildcard has to be there, or what ``missing`` makes of it is raised.
    """
    from cais.build.patterns import match

    parts = cleaned(pattern).split("/")
    literal: list[str] = []
    while parts and not is_wildcard(parts[0]):
        literal.append(_literal(parts.pop(0)))
    match("/".join(parts), "")  # a malformed pattern is an error, also where there is nothing to match
    base = tree.resolve("/".join(literal))
    if base.status is None or not stat.S_ISDIR(base.status.st_mode):
        raise missing("/".join(literal))
    if ignore is not None and base.path and ignore.ignores(base.path) and not ignore.may_include_below(base.path):
        raise missing(base.path)
    found = [base.path]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        following: list[str] = []
        for directory in found:
            for name, mode in _names(tree, directory):
                path = f"{directory}/{name}" if directory else name
                if not match(part, name) or (not last and not stat.S_ISDIR(mode)):
                    continue
                if (
                    ignore is not None
                    and ignore.ignores(path)
                    and not (stat.S_ISDIR(mode) and ignore.may_include_below(path))
                ):
                    continue
                following.append(path)
        found = following
    return found


def _names(tree: Tree, directory: str) -> list[tuple[str, int]]:
    try:
        descriptor = tree.open(directory)
        try:
            with os.scandir(descriptor) as entries:
                return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(error, directory)


def _add(
    selection: Selection,
    pattern: str,
    path: str,
    ignore: Ignoring | None,
    missing: Missing,
    own: tuple[Ignore, ...],
    parents: bool,
) -> None:
    """``own`` are the instruction's own rules, for paths relative to what is added."""
    tree = selection.tree
    wildcard = is_wildcard(pattern)
    if ignore is not None and path and ignore.ignores(path) and not ignore.may_include_below(path):
        raise missing(path)
    resolved = tree.resolve(path)
    status = resolved.status
    if status is None:
        error = missing(path)
        if resolved.left:
            error.hint = f"The link {resolved.left} leads out of the build context, where nothing is read."
        elif resolved.path != path:
            error.hint = f"It is reached through a link: there is no {shown('/' + resolved.path)}."
        raise error
    followed = ignore if resolved.path != path and resolved.path else None
    if followed is not None and followed.ignores(resolved.path) and not followed.may_include_below(resolved.path):
        raise missing(resolved.path)
    name = os.path.basename(path)
    entry = Entry(name, *_fields(status, selection.keep_owners))
    if stat.S_ISSOCK(entry.mode) and selection.keep_owners:
        selection.notes.append(f"{shown(path)} is a socket, and skipped")
        return
    if stat.S_ISDIR(entry.mode):
        first = len(selection.directories)
        kept = _scan(selection, resolved.path, Chosen(ignore, own, resolved.path) if own else ignore)
        if not kept:
            # An ignored directory, walked for what a ! might have kept, and nothing was.
            if wildcard:
                return
            raise missing(path)
        selection.sources.append(Source(pattern, name, resolved.path, entry, first, len(selection.directories)))
        return
    if parents:
        if not wildcard:
            raise missing(path)  # it is no directory that something could be in
        return
    if any(rules.ignores(name) for rules in own):
        return
    selection.files += 1
    selection.size_bytes += entry.size if stat.S_ISREG(entry.mode) else 0
    selection.sources.append(Source(pattern, name, resolved.path, entry))


def _fields(status: os.stat_result, owners: bool) -> tuple[int, int, int, int, int, int, int]:
    mode = status.st_mode
    kind = stat.S_IFMT(mode)
    size = status.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else 0
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        size = status.st_rdev
    owner = status.st_uid | status.st_gid << 32 if owners else 0
    return mode, size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, owner, status.st_dev


class _Frame:
    """A directory whose subdirectories are still being walked."""

    __slots__ = ("entries", "ignored", "path", "pending", "slot")

    def __init__(self, path: str, slot: int, ignored: bool) -> None:
        self.path = path
        self.slot = slot
        self.ignored = ignored
        self.entries: list[Row] = []
        self.pending: list[tuple[Row, bool]] = []


def _scan(selection: Selection, root: str, ignore: Ignoring | None) -> bool:
    """Lists ``root`` and all below it, parents first; False where all of it is ignored."""
    directories = selection.directories
    frames = [_Frame(root, selection.place(root), bool(root) and ignore is not None and ignore.ignores(root))]
    kept = True
    _list(selection, frames[0], ignore)
    while frames:
        frame = frames[-1]
        if frame.pending:
            entry, ignored = frame.pending.pop()
            path = f"{frame.path}/{entry[0]}" if frame.path else entry[0]
            child = _Frame(path, selection.place(path), ignored)
            _list(selection, child, ignore)
            frames.append(child)
            # Undone below when the child turns out to be ignored as a whole.
            frame.entries.append(entry)
            continue
        frames.pop()
        kept = bool(frame.entries) or not frame.ignored
        if kept:
            frame.entries.sort()
            selection.fill(frame.slot, frame.entries)
            if frame.ignored and isinstance(ignore, Chosen) and ignore.leads(frame.path):
                selection.leading.add(frame.path)
        else:
            del directories[frame.slot :]
            if frames:
                frames[-1].entries.pop()
    return kept


def _list(selection: Selection, frame: _Frame, ignore: Ignoring | None) -> None:
    """Reads one directory. This is the walk's inner loop: locals and tuples instead of names that read better."""
    owners = selection.keep_owners
    append, pending, links = frame.entries.append, frame.pending, selection.links
    prefix = f"{frame.path}/" if frame.path else ""
    files = size_bytes = 0
    try:
        descriptor = selection.tree.open(frame.path, DIRECTORY)
    except OSError as error:
        raise _unreadable(error, frame.path)
    try:
        with os.scandir(descriptor) as names:
            for name in names:
                text = name.name
                ignored = ignore is not None and ignore.ignores(prefix + text)
                if ignored and not name.is_dir(follow_symlinks=False):
                    continue
                status = name.stat(follow_symlinks=False)
                mode = status.st_mode
                kind = mode & 0o170000
                if kind == 0o100000:
                    size = status.st_size
                    files += 1
                    size_bytes += size
                    if owners and status.st_nlink > 1:
                        links.setdefault((status.st_dev, status.st_ino), []).append(prefix + text)
                elif kind == 0o040000:
                    if ignored and not (ignore is not None and ignore.may_include_below(prefix + text)):
                        continue
                    owner = status.st_uid | status.st_gid << 32 if owners else 0
                    pending.append(
                        (
                            (
                                text,
                                mode,
                                0,
                                status.st_mtime_ns,
                                status.st_ctime_ns,
                                status.st_ino,
                                owner,
                                status.st_dev,
                            ),
                            ignored,
                        )
                    )
                    continue
                elif kind == 0o140000 and owners:
                    selection.notes.append(f"{shown(prefix + text)} is a socket, and skipped")
                    continue
                else:
                    size = status.st_rdev if kind in (0o020000, 0o060000) else status.st_size if kind == 0o120000 else 0
                    files += 1
                append(
                    (
                        text,
                        mode,
                        size,
                        status.st_mtime_ns,
                        status.st_ctime_ns,
                        status.st_ino,
                        status.st_uid | status.st_gid << 32 if owners else 0,
                        status.st_dev,
                    )
                )
    except OSError as error:
        raise _unreadable(error, frame.path)
    finally:
        os.close(descriptor)
    if len(pending) > 1:
        pending.sort(reverse=True)
    selection.files += files
    selection.size_bytes += size_bytes


def _unreadable(error: OSError, path: str) -> CaisError:
    place = shown("/" + path)
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
        return Failed(f"{place} changed while the build was reading it", hint="Run the build again.")
    if error.errno == errno.ENAMETOOLONG:
        return Invalid(f"{place[:200]}...: the path is too long ({len(path)} characters)")
    error.filename = None
    return from_os_error(error, f"read {place} of the build context")
