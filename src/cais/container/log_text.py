"""What was written, out of the raw lines of a log, many lines at once: by columns, where all of them look the same.

A raw line is ``time stream F|P text``. Times of one log are of one length as long as the host's zone is, and the ten
bytes behind them say the rest.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {
    b" stdout F ": ("stdout", True),
    b" stdout P ": ("stdout", False),
    b" stderr F ": ("stderr", True),
    b" stderr P ": ("stderr", False),
}
_KIND_BYTES = 10
_TIME_LIMIT = 40


def texts_of(block: bytes) -> Iterator[tuple[str, bytes]]:
    """(stream, bytes) of whole raw lines; what is no line of a log is left out."""
    lines = block.split(b"\n")
    lines.pop()
    width = block.find(b" ", 0, _TIME_LIMIT)
    kinds = [line[width : width + _KIND_BYTES] for line in lines]
    text = width + _KIND_BYTES
    found = set(kinds)
    if len(found) == 1 and kinds[0] in _KINDS:
        stream, is_end = _KINDS[kinds[0]]
        joint = b"\n" if is_end else b""
        yield stream, joint.join([line[text:] for line in lines]) + joint
    elif found <= _KINDS.keys():
        yield from _joined((_KINDS[kind], line[text:]) for kind, line in zip(kinds, lines, strict=True))
    else:
        yield from _joined(_each(lines))


def _each(lines: list[bytes]) -> Iterator[tuple[tuple[str, bool], bytes]]:
    """As ``_joined`` takes it, of lines with times of different lengths or with none."""
    for line in lines:
        width = line.find(b" ", 0, _TIME_LIMIT)
        kind = _KINDS.get(line[width : width + _KIND_BYTES]) if width > 0 else None
        if kind is not None:
            yield kind, line[width + _KIND_BYTES :]


def _joined(lines: Iterator[tuple[tuple[str, bool], bytes]]) -> Iterator[tuple[str, bytes]]:
    """Neighbours of one stream together."""
    stream = ""
    parts: list[bytes] = []
    for (name, is_end), text in lines:
        if name != stream:
            if parts:
                yield stream, b"".join(parts)
            stream, parts = name, []
        parts.append(text)
        if is_end:
            parts.append(b"\n")
    if parts:
        yield stream, b"".join(parts)
