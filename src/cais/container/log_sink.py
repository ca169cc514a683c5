"""Where conmon writes a container's log: a file, or a pipe to a shell that keeps the files within their limits.

The shell holds no data: ``head`` moves what comes to the file, exactly so many bytes as it may still take, and at its
end the files are renamed. So the limit holds however fast a container writes, nothing is lost between two files (a line
may begin in one and end in the next), and all of it ends with the container, whose output is the shell's input.
"""

from __future__ import annotations

import os
import time

from cais.container.log_options import JSON_FILE, LogOptions
from cais.errors import Unavailable, from_os_error
from cais.runtime.find import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PIPE = "pipe"
_SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 0.005

# $1: the log; $2: the size of a file; $3: how many files; $4: "gzip" where older ones are compressed.
# A full disk: what cannot be written is lost, the container goes on; likewise where the log cannot be opened any more.
_SCRIPT = """
cd /
umask 027
log=$1 max=$2 files=$3 pack=$4
while :; do
    size=$(wc -c <"$log" 2>/dev/null) || size=0
    if [ "$size" -ge "$max" ]; then
        older=$((files - 1))
        if [ "$older" -lt 1 ]; then
            rm -f "$log"
        else
            rm -f "$log.$older" "$log.$older.gz"
            while [ "$older" -gt 1 ]; do
                newer=$((older - 1))
                [ ! -e "$log.$newer" ] || mv "$log.$newer" "$log.$older"
                [ ! -e "$log.$newer.gz" ] || mv "$log.$newer.gz" "$log.$older.gz"
                older=$newer
            done
            mv "$log" "$log.1"
            [ -z "$pack" ] || gzip -1 "$log.1" || rm -f "$log.1.gz"
        fi
        size=0
    fi
    if stdbuf -o0 head -c $((max - size)) >>"$log"; then
        # Less than was asked for: the container has ended.
        now=$(wc -c <"$log") || exit
        [ "$now" -ge "$max" ] || exit 0
    elif ! true >>"$log"; then
        cat >/dev/null
        exit 1
    fi
done 2>/dev/null
"""


class LogSink:
    """``with LogSink(...) as sink:`` start conmon with ``sink.arguments``; afterwards only conmon holds the pipe.

    Raises Unavailable where the host lacks what the options need.
    """

    def __init__(self, log: LogOptions | None, path: str) -> None:
        self._log = log or JSON_FILE
        self._path = path
        self._pipe = _pipe_of(path)
        self._writer = -1
        self.arguments: tuple[str, ...] = ("-l", f"k8s-file:{path}")

    def __enter__(self) -> LogSink:
        if self._log.driver == "none":
            self.arguments = ("-l", "none")
        elif self._log.driver == "journald":
            from cais.container.log_options import check_journald

            check_journald()
            self.arguments = ("-l", "journald")
        elif self._log.max_bytes:
            self._begin()
            self.arguments = ("-l", f"k8s-file:{self._pipe}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def _begin(self) -> None:
        for program in ("stdbuf", *(("gzip",) if self._log.compress else ())):
            if not find_program(program):
                raise Unavailable(
                    f"a log with a limit needs the program {program}",
                    hint="Install it (Debian: coreutils, gzip), or run without --log-opt max-size.",
                    exit_code=125,
                )
        command = [
            "sh", "-c", _SCRIPT, "cais-log", self._path, str(self._log.max_bytes), str(self._log.files),
            "gzip" if self._log.compress else "",
        ]  # fmt: skip
        try:
            try:
                os.unlink(self._pipe)
            except FileNotFoundError:
                pass
            os.mkfifo(self._pipe, 0o600)
            reader = os.open(self._pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                # Until conmon has it open, this one keeps the pipe from looking ended.
                self._writer = os.open(self._pipe, os.O_WRONLY | os.O_CLOEXEC)
                os.set_blocking(reader, True)
                spawn(command, reader)
            finally:
                os.close(reader)
        except OSError as error:
            raise from_os_error(error, "begin a container's log")


def settle(path: str) -> None:
    """Waits until a log with limits, of a container that has ended, has all that came; a few seconds at most.

    What keeps its files reads the pipe until then, and may be a little behind.
    """
    end = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < end:
        try:
            os.close(os.open(_pipe_of(path), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError:
            return  # nobody reads it any more, or it never was
        time.sleep(_LOOK_SECONDS)


def _pipe_of(path: str) -> str:
    """Beside the log: it tells for as long as the container is kept whether somebody still reads it."""
    return os.path.join(os.path.dirname(path), _PIPE)


def spawn(command: list[str], stdin: int) -> None:
    """Starts it as nobody's child, in a session of its own, with no descriptor but these."""
    actions: list[Any] = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
    ]
    environment: Mapping[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    os.posix_spawn("/bin/sh", command, environment, file_actions=actions, setsid=True)
