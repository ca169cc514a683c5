"""What the private servers of the tests share: processes that die with the tests, free ports, waiting."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

Server = TypeVar("Server")
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_ROOM_BYTES = 4 << 30


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on, each another."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def until(condition: Callable[[], object], what: str, *, seconds: float = 90) -> None:
    """Returns when the condition holds; fails, saying ``what`` did not happen, when it does not within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def started(make: Callable[[], Server]) -> Server:
    """What ``make`` starts; once more where another process has taken one of its ports before it could."""
    for _ in range(2):
        try:
            return make()
        except AssertionError:
            pass
    return make()


def answers(port: int) -> bool:
    """Whether somebody listens on the port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def start(
    command: Sequence[str], log: Path, *, user: str | None = None, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A server in the foreground, its words in ``log``; the kernel ends it when the tests are killed."""
    with log.open("ab") as words:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd="/",
            user=user,
            group=user,
            extra_groups=[] if user else None,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0),
        )


def stop(process: subprocess.Popen[bytes], *, by: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
    """Ends the server: kindly, then not."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def quick_directory(prefix: str, needs: Callable[[str], bool] = lambda directory: True) -> Path:
    """A new directory in memory where there is room, else on the disk: servers of tests write and remove much."""
    for parent in ("/dev/shm", "/var/tmp"):
        if os.path.isdir(parent) and shutil.disk_usage(parent).free > _ROOM_BYTES and needs(parent):
            return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    return Path(tempfile.mkdtemp(prefix=prefix))


def tail(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:] if log.exists() else ""
