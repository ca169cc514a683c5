"""The caller's streams, and the pipes by which a process that is started gets its own."""

from __future__ import annotations

import os

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    S = TypeVar("S")


class Streams(NamedTuple):
    """The caller's descriptors; ``stdin`` -1 where nothing is handed in."""

    stdin: int = -1
    stdout: int = 1
    stderr: int = 2


def on_pipes(
    streams: Streams, start: Callable[[tuple[int, int, int]], S]
) -> tuple[S, dict[int, tuple[int, bytes]], int]:
    """What ``start`` returns, given a process's three streams; and a Pump's ``outputs`` and ``target`` for them.

    Never the caller's own descriptors: through /proc/self/fd a container could open the files behind them anew.
    """
    out_read, out_write = os.pipe2(os.O_CLOEXEC)
    err_read, err_write = os.pipe2(os.O_CLOEXEC)
    target = -1
    if streams.stdin >= 0:
        source, target = os.pipe2(os.O_CLOEXEC)
    else:
        source = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        started = start((source, out_write, err_write))
    except BaseException:
        for descriptor in (out_read, err_read, target):
            if descriptor >= 0:
                os.close(descriptor)
        raise
    finally:
        for descriptor in (source, out_write, err_write):
            os.close(descriptor)
    return started, {out_read: (streams.stdout, b"stdout"), err_read: (streams.stderr, b"stderr")}, target
