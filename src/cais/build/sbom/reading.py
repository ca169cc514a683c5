"""Files of a tree that nobody vouches for, read within limits. What cannot be read is not there."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator

from cais.build.tree import Tree
from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DATABASE_LIMIT_BYTES = 256 << 20  # read a line at a time
DOCUMENT_LIMIT_BYTES = 8 << 20  # read whole
_PIECE_BYTES = 1 << 18
_LINE_LIMIT_BYTES = 1 << 16


def lines_of(tree: Tree, path: str, limit: int = DATABASE_LIMIT_BYTES) -> Iterator[str]:
    """The lines without their ends; of one that is too long, the start. Links are followed within the tree."""
    file = _open(tree, path)
    if file < 0:
        return
    try:
        rest, size = b"", 0
        while size < limit and (piece := _read(file, _PIECE_BYTES)):
            size += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line[:_LINE_LIMIT_BYTES].decode("utf-8", "replace")
            rest = rest[:_LINE_LIMIT_BYTES]
        if rest:
            yield rest.decode("utf-8", "replace")
    finally:
        os.close(file)


def headers_of(tree: Tree, path: str) -> dict[str, str]:
    """The first lines as ``Name: value`` up to an empty one (RFC 822 without continuations); the first of each name."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines_of(tree, path, DOCUMENT_LIMIT_BYTES)):
        if not line.strip() or number > 2000:
            break
        name, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            found.setdefault(name.strip().lower(), value.strip())
    return found


def object_of(tree: Tree, path: str) -> dict[str, Any]:
    """A JSON document that is an object; {} for anything else, and for one beyond the limit."""
    file = _open(tree, path)
    if file < 0:
        return {}
    try:
        if os.fstat(file).st_size > DOCUMENT_LIMIT_BYTES:
            return {}
        pieces, size = [], 0
        while piece := _read(file, _PIECE_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > DOCUMENT_LIMIT_BYTES:
                return {}
    finally:
        os.close(file)
    try:
        value = json.loads(b"".join(pieces))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _open(tree: Tree, path: str) -> int:
    """-1 where there is no regular file."""
    try:
        resolved = tree.resolve(path)
        if resolved.status is None or not stat.S_ISREG(resolved.status.st_mode):
            return -1
        file = tree.open_file(resolved.path)
    except (OSError, CaisError):
        return -1
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    return -1


def _read(file: int, size: int) -> bytes:
    try:
        return os.read(file, size)
    except OSError:
        return b""
