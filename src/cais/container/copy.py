"""``cp``: between this host and a container, by Docker's rules of where what goes.

A copy goes from descriptors to descriptors: neither side's names are looked at twice. In a container, all is found
below the root of ``container.files``.
"""

from __future__ import annotations

import os
import posixpath
import stat

from cais.container.files import Root
from cais.errors import Invalid, NotFound, from_os_error
from cais.host import xattrs
from cais.host.copying import ALIKE, NotAlike, Rules, copy_directory, copy_node
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cais.host.tar_writer import TarEntry

    Counted = Callable[[int], None]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_TRAILER_BYTES = 1024
_PIECE_BYTES = 1 << 20


class Wanted(NamedTuple):
    """``container`` is the name that was given, of a container or a volume. ``follow``: a symbolic link given as the
    source stands for what it points at. ``archive``: owners are kept on the way out; what comes in belongs to the
    container's user. ``counted`` is told the bytes, as they would be of a tar archive."""

    container: str
    follow: bool = False
    archive: bool = False
    counted: Counted | None = None


class _Source(NamedTuple):
    """What is copied: a descriptor of it (O_PATH), the name it has at its new place, "" for what is in it alone."""

    node: int
    name: str
    is_directory: bool


class _Place(NamedTuple):
    """Where it goes: into the directory ``path`` as ``name``; "" is the directory itself, which is there."""

    path: str
    name: str = ""


def copy_out(files: Root, path: str, local: str, wanted: Wanted) -> str:
    """From the container's ``path`` to this host's ``local``; the path as it is told. Raises NotFound, Invalid, ..."""
    full = _preserved(os.path.abspath(local), local)
    _check_output(full)
    source = _source_inside(files, path, wanted)
    try:
        where = _place(source, full, _local_kind(full), os.path.realpath(full))
        try:
            into = os.open(where.path, _DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"stat {where.path}: {(error.strerror or '').lower()}")
        owners = Rules(owners=wanted.archive)
        _copy(source, into, where, owners._replace(skip=files.skip), wanted.counted)
    except OSError as error:
        raise from_os_error(error, f"copy {wanted.container}:{path}")
    finally:
        os.close(source.node)
    return full


def copy_in(files: Root, local: str, path: str, wanted: Wanted) -> str:
    """From this host's ``local`` to the container's ``path``; the path as it is told. Raises NotFound, Invalid, ..."""
    source = _source_outside(local, wanted.follow)
    try:
        full = _absolute(path) if path else ""
        kind, real = _kind_inside(files, full, wanted.container, path)
        where = _place(source, full or "/", kind, real)
        into = _open_inside(files, where.path, wanted.container)
        owner = user_ids(files) if wanted.archive else None
        _copy(source, into, where, Rules(owner=owner), wanted.counted)
    except OSError as error:
        raise from_os_error(error, f"copy to {wanted.container}:{path}")
    finally:
        os.close(source.node)
    return real


def archive(files: Root, path: str, wanted: Wanted) -> Iterator[bytes]:
    """The tar archive of the container's ``path``. Raises NotFound, Invalid, Failed."""
    from cais.snapshot.changes import tree_in_use
    from cais.snapshot.pack import pack

    source = _source_inside(files, path, wanted)
    try:
        if not source.is_directory:
            yield from _single(source)
            return
        prefix = os.fsencode(source.name or ".") + b"/"
        root = f"/proc/self/fd/{source.node}"
        yield from pack(tree_in_use(root, files.skip), root, prefix=prefix, plain=True, moving=True)
    except OSError as error:
        raise from_os_error(error, f"copy {wanted.container}:{path}")
    finally:
        os.close(source.node)


def extract(files: Root, pieces: Iterator[bytes], path: str, wanted: Wanted) -> None:
    """Unpacks a tar archive, compressed or not, into the directory ``path``. Raises Invalid, Corrupt, NotFound, ..."""
    from cais.host.compression import decompressed
    from cais.snapshot.apply import apply

    full = _absolute(path) if path else ""
    kind, real = _kind_inside(files, full, wanted.container, path)
    if kind != "directory":
        raise Invalid(f'destination "{wanted.container}:{path}" must be a directory')
    os.close(_open_inside(files, real, wanted.container))
    owner = user_ids(files) if wanted.archive else None
    below = os.fsencode(real.strip("/"))

    def placed(entry: TarEntry) -> TarEntry:
        _check_alike(files, real, entry)
        if owner is not None:
            entry = entry._replace(uid=owner[0], gid=owner[1])
        if below:
            link = below + b"/" + entry.link_target if entry.kind == "hardlink" else entry.link_target
            entry = entry._replace(name=below + b"/" + entry.name, link_target=link)
        return entry

    apply(decompressed(pieces, "auto"), f"/proc/self/fd/{files.root}", style="plain", change_entry=placed)


def user_ids(files: Root) -> tuple[int, int] | None:
    """The user and group that the container runs as, or None where nobody said. Raises NotFound."""
    from cais.runtime.users import look_up

    if not files.plan.user:
        return None
    user = look_up(files.plan.user, f"/proc/self/fd/{files.root}")
    return user.user_id, user.group_id


# Docker's rules.


def _place(source: _Source, path: str, kind: str, real: str) -> _Place:
    """``path`` is what was asked for, ``real`` the same without links at its end, ``kind`` what is there."""
    if kind == "directory":
        return _Place(real, source.name)
    parent, name = _split(path if _is_dot(path) else real)
    if kind and source.is_directory:
        raise Invalid("cannot copy directory")
    if not kind and not source.is_directory and (path.endswith("/") or _is_dot(path)):
        raise Invalid("no such directory")
    return _Place(parent, name)


def _split(path: str) -> tuple[str, str]:
    """The directory of a path, and its last name; that of ``x/.`` is ``.``."""
    if _is_dot(path):
        return posixpath.normpath(path), "."
    clean = posixpath.normpath(path)
    return posixpath.dirname(clean), posixpath.basename(clean)


def _is_dot(path: str) -> bool:
    return posixpath.basename(path) == "."


def _preserved(clean: str, given: str) -> str:
    """``clean`` with the end of ``given``: a slash, or a slash and a dot, says that it is a directory."""
    if _is_dot(given):
        return clean.rstrip("/") + "/."
    return clean.rstrip("/") + "/" if given.endswith("/") else clean


def _absolute(path: str) -> str:
    return _preserved("/" + posixpath.normpath("/" + path).lstrip("/"), path)


def _name_of(path: str) -> str:
    return "" if _is_dot(path) else posixpath.basename(path.rstrip("/"))


# The container's side.


def _source_inside(files: Root, path: str, wanted: Wanted) -> _Source:
    if not path:
        raise Invalid("bad parameter: path cannot be empty")
    full = _absolute(path)
    try:
        node = files.find(full, os.O_PATH if wanted.follow else os.O_PATH | os.O_NOFOLLOW)
    except FileNotFoundError:
        missing = files.real(full) if wanted.follow else path
        raise NotFound(f"Could not find the file {missing} in {files.kind} {wanted.container}")
    except NotADirectoryError:
        raise Invalid(f"lstat {full}: not a directory")
    except OSError as error:
        raise from_os_error(error, f"copy {wanted.container}:{path}")
    return _Source(node, _name_of(full), stat.S_ISDIR(os.fstat(node).st_mode))


def _kind_inside(files: Root, full: str, container: str, given: str) -> tuple[str, str]:
    """What is at ``full`` ("directory", "file" or "" for nothing), and its path without links at its end."""
    if not full:
        return "", ""
    try:
        real = files.real(full)
        node = files.find(real)
    except (FileNotFoundError, NotADirectoryError):
        return "", _real_or(files, full)
    except OSError as error:
        raise from_os_error(error, f"copy to {container}:{given}")
    mode = os.fstat(node).st_mode
    os.close(node)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise Invalid(f'destination "{container}:{given}" must be a directory or a regular file: got a device')
    return ("directory" if stat.S_ISDIR(mode) else "file"), real


def _real_or(files: Root, full: str) -> str:
    try:
        return files.real(full)
    except OSError:
        return full


def _open_inside(files: Root, path: str, container: str) -> int:
    """The directory that is written to. Raises NotFound, Invalid."""
    try:
        into = files.find(path, _DIRECTORY)
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {path} in {files.kind} {container}")
    except NotADirectoryError:
        raise Invalid("extraction point is not a directory")
    try:
        files.check_writable(into)
    except BaseException:
        os.close(into)
        raise
    return into


def _check_alike(files: Root, directory: str, entry: TarEntry) -> None:
    """Raises Invalid where a directory would take the place of something else, or the other way about."""
    path = posixpath.join(directory, os.fsdecode(entry.name))
    try:
        node = files.find(path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return
    there = stat.S_ISDIR(os.fstat(node).st_mode)
    os.close(node)
    if there != (entry.kind == "directory"):
        raise _not_alike(posixpath.normpath(path), directory, there)


# This host's side.


def _source_outside(local: str, follow: bool) -> _Source:
    full = _preserved(os.path.abspath(local), local)
    try:
        node = os.open(full, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        message = f"lstat {full}: {(error.strerror or '').lower()}"
        raise NotFound(message) if isinstance(error, FileNotFoundError) else Invalid(message)
    return _Source(node, _name_of(full), stat.S_ISDIR(os.fstat(node).st_mode))


def _check_output(full: str) -> None:
    """Docker's look at where output goes. Raises NotFound, Invalid."""
    directory = os.path.dirname(os.path.normpath(full))
    if not os.path.exists(directory):
        raise NotFound(f'invalid output path: directory "{directory}" does not exist')
    try:
        mode = os.stat(full).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Invalid(f"stat {full}: {(error.strerror or '').lower()}")
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise Invalid(f'invalid output path: "{full}" must be a directory or a regular file: got a device')


def _local_kind(full: str) -> str:
    try:
        return "directory" if stat.S_ISDIR(os.stat(full).st_mode) else "file"
    except FileNotFoundError:
        return ""


# The copy itself.


def _copy(source: _Source, into: int, where: _Place, rules: Rules, counted: Counted | None) -> None:
    """``into`` is closed."""
    rules = rules._replace(in_the_way=ALIKE, kept=xattrs.is_kept, moving=True, counted=counted)
    try:
        if not source.is_directory:
            copy_node(source.node, into, os.fsencode(where.name), rules)
        elif where.name in ("", "."):
            copy_directory(source.node, into, rules)
        else:
            made = _directory(into, where.name)
            try:
                copy_directory(source.node, made, rules)
            except NotAlike as error:
                inside = os.path.join(where.path, where.name, os.fsdecode(error.path))
                raise _not_alike(inside, where.path, error.is_directory)
            finally:
                os.close(made)
    except NotAlike as error:
        raise _not_alike(os.path.join(where.path, os.fsdecode(error.path)), where.path, error.is_directory)
    finally:
        os.close(into)
    if counted is not None:
        counted(_TRAILER_BYTES)


def _directory(parent: int, name: str) -> int:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise NotAlike(os.fsencode(name), is_directory=False)
    return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)


def _not_alike(path: str, directory: str, is_directory: bool) -> Invalid:
    kinds = ("directory", "non-directory") if is_directory else ("non-directory", "directory")
    return Invalid(f'cannot overwrite {kinds[0]} "{path}" with {kinds[1]} "{directory}"')


def _single(source: _Source) -> Iterator[bytes]:
    """The archive of one entry that is no directory."""
    from cais.host.tar_writer import TarEntry, header, padding, trailer

    status = os.fstat(source.node)
    mode = status.st_mode
    kinds = {stat.S_IFREG: "file", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo", stat.S_IFCHR: "char",
             stat.S_IFBLK: "block"}  # fmt: skip
    kind = kinds.get(stat.S_IFMT(mode), "")
    if not kind:
        raise Invalid(f"a socket cannot be copied: {source.name}")
    path = os.fsencode(f"/proc/self/fd/{source.node}")
    link, found = b"", {}
    if kind == "symlink":
        link = os.readlink(b"", dir_fd=source.node)
    else:
        names = [name for name in os.listxattr(path) if xattrs.is_kept(name)]
        found = {os.fsencode(name): os.getxattr(path, name) for name in names}
    size = status.st_size if kind == "file" else 0
    device = (os.major(status.st_rdev), os.minor(status.st_rdev)) if kind in ("char", "block") else (0, 0)
    seconds = status.st_mtime_ns // 1_000_000_000
    yield header(
        TarEntry(os.fsencode(source.name), kind, mode & 0o7777, status.st_uid, status.st_gid, seconds, size, link,
                 device, found)
    )  # fmt: skip
    if kind == "file":
        with open(path, "rb", buffering=0) as file:
            left = size
            while left:
                # Zeros stand for what was cut off meanwhile.
                piece = file.read(min(left, _PIECE_BYTES)) or bytes(min(left, _PIECE_BYTES))
                left -= len(piece)
                yield piece
    yield padding(size) + trailer()
