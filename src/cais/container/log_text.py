"""What was written, out of the raw lines of a log, many lines at once: by columns, where all of them look the same.

A raw line is ``time stream F|P text``. Times of one log are of one length as long as the host's zone is, and the ten
bytes behind them say the rest. Nothing here is done line by line but by what the interpreter has in C.
"""

from __future__ import annotations

from io import BytesIO
from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_KINDS = {
    b" stdout F ": ("stdout", True),
    b" stdout P ": ("stdout", False),
    b" stderr F ": ("stderr", True),
    b" stderr P ": ("stderr", False),
}
_KIND_BYTES = 10
_STREAM_BYTE, _END_BYTE = 4, 8
_OTHER = dict(zip(b"oeFP", b"eoPF", strict=True))
_TIME_LIMIT = 40


def texts_of(block: bytes) -> Iterator[tuple[str, bytes]]:
    """(stream, bytes) of whole raw lines; what is no line of a log is left out."""
    lines = list(BytesIO(block))  # each with its newline; three times as fast as split
    width = block.find(b" ", 0, _TIME_LIMIT)
    text = width + _KIND_BYTES
    kinds = b"".join(map(itemgetter(slice(width, text)), lines))
    runs = _runs(kinds, len(lines))
    if runs is None:
        yield from _joined(_each(lines))
        return
    texts = map(itemgetter(slice(text, None)), lines)
    if len(runs) == 1:
        yield from _joined([(kinds[:_KIND_BYTES], list(texts))])
    else:
        found = list(texts)
        yield from _joined((kind, found[start:end]) for kind, start, end in runs)


def _runs(kinds: bytes, count: int) -> list[tuple[bytes, int, int]] | None:
    """(kind, first line, the line after its last one) of neighbours of one kind, out of the kinds of ``count`` lines.

    None where there is anything else among them.
    """
    if len(kinds) != count * _KIND_BYTES:
        return None
    # One byte of each line tells the kinds apart by stream, another by end: where the next one begins is found there.
    streams, ends = kinds[_STREAM_BYTE::_KIND_BYTES], kinds[_END_BYTE::_KIND_BYTES]
    runs: list[tuple[bytes, int, int]] = []
    start = 0
    while start < count:
        kind = kinds[start * _KIND_BYTES : (start + 1) * _KIND_BYTES]
        if kind not in _KINDS:
            return None
        end = ends.find(_OTHER[kind[_END_BYTE]], start)
        if end < 0:
            end = count
        other = streams.find(_OTHER[kind[_STREAM_BYTE]], start, end)
        if other >= 0:
            end = other
        if kinds[start * _KIND_BYTES : end * _KIND_BYTES] != kind * (end - start):
            return None
        runs.append((kind, start, end))
        start = end
    return runs


def _each(lines: list[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """As ``_joined`` takes it, of lines with times of different lengths or with none."""
    for line in lines:
        width = line.find(b" ", 0, _TIME_LIMIT)
        kind = line[width : width + _KIND_BYTES]
        if width > 0 and kind in _KINDS:
            yield kind, [line[width + _KIND_BYTES :]]


def _joined(runs: Iterable[tuple[bytes, list[bytes]]]) -> Iterator[tuple[str, bytes]]:
    """Neighbours of one stream together, of (kind, texts with a newline each)."""
    stream = ""
    parts: list[bytes] = []
    for kind, texts in runs:
        name, is_end = _KINDS[kind]
        if name != stream:
            if parts:
                yield stream, b"".join(parts)
            stream, parts = name, []
        parts += texts if is_end else [text[:-1] for text in texts]
    if parts:
        yield stream, b"".join(parts)
