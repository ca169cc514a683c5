"""A large log, written out by as many processes as there are processors for it: they take turns, 8 MiB each.

All of them take their turns' lines apart at once; a byte goes round, and who has it writes.
"""

from __future__ import annotations

import os
import signal
import sys

from cais.container import log_files
from cais.container.log_files import BLOCK_BYTES, LogFile
from cais.container.log_text import texts_of
from cais.errors import Failed
from cais.host.files import write_all
from cais.host.processes import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Pairs = Sequence[tuple[int, int]]

# What is smaller is written before another process has begun.
LEAST_BYTES = 32 << 20
TURN_BYTES = 8 << 20
# Writing is what each waits for the others with: a quarter of the work.
_MOST_PROCESSES = 4
# An exit code: the number of no error, and of no signal.
_LOST = 128


def write(path: str, outputs: Mapping[str, int]) -> bool:
    """Writes what ``logs.texts`` gives of the log to the descriptors that ``outputs`` has for the streams.

    As long as it was when this began. False where it is for one process alone: a small one, or one of several files,
    or this process has threads, which must not be forked. Raises OSError where it cannot be written.
    """
    files = log_files.opened(path)
    try:
        if len(files) != 1 or files[0].packed or files[0].size_bytes < LEAST_BYTES or (count := _processes()) == 1:
            return False
        by_turns(files[0], outputs, count)
        return True
    finally:
        log_files.close(files)


def _processes() -> int:
    threading = sys.modules.get("threading")
    if threading is not None and threading.active_count() > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST_PROCESSES)


def by_turns(file: LogFile, outputs: Mapping[str, int], count: int, turn_bytes: int = TURN_BYTES) -> None:
    """By ``count`` processes, this one and its children. Raises OSError; Failed where one of them was killed."""
    turns = [(start, min(start + turn_bytes, file.size_bytes)) for start in range(0, file.size_bytes, turn_bytes)]
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(count)]
    others: list[int] = []
    failure: Failed | None = None
    try:
        for number in range(1, count):
            if (pid := os.fork()) == 0:
                _take_turns_and_exit(file, turns, outputs, pipes, number)
            others.append(pid)
        _take_turns(file, turns, outputs, pipes, 0)
    except Failed as error:
        failure = error
    except BaseException:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        _close(pipes)
        codes = [wait(pid) for pid in others]
    for code in codes:
        if 0 < code < _LOST:
            raise OSError(code, os.strerror(code))
    if failure is not None:
        raise failure
    if any(codes):
        raise _lost()


def _take_turns_and_exit(
    file: LogFile, turns: Pairs, outputs: Mapping[str, int], pipes: list[tuple[int, int]], number: int
) -> None:
    """The exit code is the number of the error that kept it from writing."""
    code = _LOST
    try:
        _take_turns(file, turns, outputs, pipes, number)
        code = 0
    except OSError as error:
        code = error.errno or _LOST
    finally:
        os._exit(code)


def _take_turns(
    file: LogFile, turns: Pairs, outputs: Mapping[str, int], pipes: list[tuple[int, int]], number: int
) -> None:
    """Those of process ``number``. The byte comes by the pipe with its number, and goes on by the next one."""
    come, go = pipes[number][0], pipes[(number + 1) % len(pipes)][1]
    count = len(pipes)
    _close(pipes, come, go)  # so that the end of a process is the end of its pipe
    try:
        for turn in range(number, len(turns), count):
            texts = [found for block in _blocks_between(file.descriptor, *turns[turn]) for found in texts_of(block)]
            if turn and not os.read(come, 1):
                raise _lost()
            for stream, text in texts:
                write_all(outputs[stream], text)
            if turn + 1 < len(turns):
                _pass_on(go)
    finally:
        os.close(come)
        os.close(go)


def _pass_on(descriptor: int) -> None:
    try:
        os.write(descriptor, b".")
    except BrokenPipeError:  # which would look like one of the output
        raise _lost()


def _close(pipes: list[tuple[int, int]], *but: int) -> None:
    for descriptor in (end for pipe in pipes for end in pipe):
        if descriptor not in but:
            os.close(descriptor)
    pipes.clear()


def _lost() -> Failed:
    return Failed("one of the processes that write the log was killed")


def _blocks_between(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Whole lines: those that begin at ``start`` or later, and before ``end``."""
    # With the newline that ends the line before them.
    offset = max(start - 1, 0)
    is_begun = start == 0
    rest = b""
    while piece := os.pread(descriptor, BLOCK_BYTES, offset):
        offset += len(piece)
        data = rest + piece
        if not is_begun:
            data = data[data.find(b"\n") + 1 or len(data) :]
            is_begun = bool(data) or piece.endswith(b"\n")
        if offset - len(data) >= end:
            return
        cut = data.find(b"\n", end - 1 - offset + len(data)) + 1 if offset >= end else 0
        if cut:
            yield data[:cut]
            return
        cut = data.rfind(b"\n") + 1
        if cut:
            yield data[:cut]
        rest = data[cut:]
