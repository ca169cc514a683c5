"""What the tests of living containers share: the command in processes of its own, and a terminal to type at."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path


def wait_until(condition, seconds: float = 20) -> None:
    paused = threading.Event()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        paused.wait(0.01)
    raise AssertionError(f"it did not come to be in {seconds} seconds")


class Cais:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {**os.environ, "CAIS_ROOT": str(root)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cais", *words]

    def __call__(self, *words: str, code: int | None = 0, **options) -> str:
        done = subprocess.run(self.command(*words), env=self.env, capture_output=True, text=True, timeout=60, **options)
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def start(self, *words: str, **options) -> subprocess.Popen[bytes]:
        options = {"stdout": subprocess.PIPE, "stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen(self.command(*words), env=self.env, **options)

    def inspect(self, name: str) -> dict:
        return json.loads(self("container", "inspect", name))[0]

    def state(self, name: str) -> dict:
        return self.inspect(name)["State"]

    def pid(self, name: str) -> int:
        """A program may run before its runtime has noted its number."""
        wait_until(lambda: self.state(name)["Pid"])
        return self.state(name)["Pid"]

    def end_all(self) -> None:
        if ids := self("ps", "-aq", code=None).split():
            self("rm", "-f", *ids, code=None)

    def nothing_left(self) -> bool:
        run = self.root / "run"
        names = [name for name in os.listdir(run) if not name.startswith(".")]
        return not names and not os.listdir(run / ".state")

    def at_terminal(self, *words: str, rows: int = 33, columns: int = 77) -> Terminal:
        return Terminal(self.command(*words), self.env, rows, columns)


class Terminal:
    """A command with a terminal of its own as controlling terminal and all its streams."""

    def __init__(self, command: list[str], env: dict[str, str], rows: int, columns: int) -> None:
        self.master, self._slave = pty.openpty()
        self._set_size(rows, columns)
        self.before = termios.tcgetattr(self._slave)
        self.said = b""
        self.process = subprocess.Popen(
            command, env=env, stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def _set_size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal emulator does it: the kernel tells the foreground process group."""
        self._set_size(rows, columns)

    def type(self, text: str | bytes) -> None:
        os.write(self.master, text.encode() if isinstance(text, str) else text)

    def read_until(self, text: str, seconds: float = 20) -> str:
        """Everything since the last call, up to ``text``."""
        wanted = text.encode()
        end = time.monotonic() + seconds
        while wanted not in self.said:
            assert select.select([self.master], [], [], max(0.0, end - time.monotonic()))[0], (text, self.said)
            self.said += os.read(self.master, 4096)
        head, found, self.said = self.said.partition(wanted)
        return (head + found).decode("utf-8", "replace")

    def wait(self, seconds: float = 20) -> int:
        """The exit code; what it still wrote stands in ``said``."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < end, self.said
            if select.select([self.master], [], [], 0.02)[0]:
                self.said += os.read(self.master, 4096)
        while select.select([self.master], [], [], 0)[0]:
            self.said += os.read(self.master, 4096)
        return self.process.returncode

    @property
    def is_restored(self) -> bool:
        return termios.tcgetattr(self._slave) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)
