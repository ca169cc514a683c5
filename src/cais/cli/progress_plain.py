"""Build progress as plain lines in BuildKit's form::

#5 [builder 2/5] RUN make
#5 cache miss: the file src/main.c: content changed
#5 0.123 cc -o main main.c
#5 DONE 1.2s
"""

from __future__ import annotations

import time

from cais.cli.progress import UNSAID, Failure, Warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

# A line without an end is shown at this length at the latest.
_LINE_LIMIT_BYTES = 64 << 10


# Where a line is not shown as it is: carriage returns, blanks at its end, nothing in it.
_ODD = (b"\r", b" \n", b"\t\n", b"\n\n")


class Plain:
    """Writes to ``out``. Steps that run at once take turns: another one's lines begin with its name."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._failure = Failure()
        self._warnings = Warnings()
        self._started: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._reasons: dict[int, str] = {}
        self._current = -1
        self._open: set[int] = set()

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        self._failure.note(event)
        self._warnings.note(event)
        now = event.get("at")
        if now is None:
            now = time.monotonic()
        if kind == "start":
            self._started[event["id"]] = now
            self._turn(event["id"])
        elif kind == "cached":
            self._end(event["id"], "CACHED")
        elif kind == "miss":
            if event["reason"] not in UNSAID:
                self._line(event["id"], f"cache miss: {event['reason']}")
        elif kind == "output":
            self._output(event["id"], event["data"], now)
        elif kind == "done":
            self._flush(event["id"], now)
            self._end(event["id"], f"DONE {event['seconds']:.1f}s")
        elif kind == "error":
            self._flush(event["id"], now)
            self._end(event["id"], f"ERROR: {event['message']}")
        elif kind == "status" and event.get("total") and event["current"] >= event["total"]:
            self._line(event["id"], f"{event.get('what', '')} done")
        elif kind == "failed":
            self._cancel()
            self._write(f"ERROR: {event['message'] or 'canceled'}\n")
        self._out.flush()

    def close(self) -> None:
        self._cancel()
        self._write(self._warnings.text())
        self._out.flush()

    def failure(self) -> str:
        return self._failure.text()

    def _output(self, id: int, data: bytes, now: float) -> None:
        whole, newline, rest = (self._partial.get(id, b"") + data).rpartition(b"\n")
        if whole and not self._is_terminal and whole == whole.strip() and not any(odd in whole for odd in _ODD):
            # What says much says plain lines: all of them at once.
            begin = f"#{id} {now - self._started.get(id, now):.3f} "
            self._turn(id)
            self._write(begin + whole.decode("utf-8", "replace").replace("\n", "\n" + begin) + "\n")
            lines = []
        else:
            lines = whole.split(b"\n") if newline else []
        if len(rest) > _LINE_LIMIT_BYTES:
            lines.append(rest)
            rest = b""
        self._partial[id] = rest
        for line in lines:
            self._output_line(id, line, now)

    def _output_line(self, id: int, line: bytes, now: float) -> None:
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        if self._is_terminal:
            from cais.cli.harmless import harmless

            text = harmless(text)
        self._line(id, f"{now - self._started.get(id, now):.3f} {text}".rstrip())

    def _flush(self, id: int, now: float) -> None:
        rest = self._partial.pop(id, b"")
        if rest:
            self._output_line(id, rest, now)

    def _cancel(self) -> None:
        """What has not ended now never will: another step failed, or the build was interrupted."""
        now = time.monotonic()
        for id in list(self._partial):
            self._flush(id, now)
        for id in sorted(self._open):
            self._end(id, "CANCELED")

    def _line(self, id: int, text: str) -> None:
        self._turn(id)
        self._write(f"#{id} {text}\n")

    def _end(self, id: int, text: str) -> None:
        self._line(id, text)
        self._write("\n")
        self._open.discard(id)
        self._current = -1

    def _turn(self, id: int) -> None:
        if self._current == id:
            return
        if self._current in self._open:
            self._write(f"#{self._current} ...\n\n")
        self._current = id
        self._open.add(id)
        self._write(f"#{id} {self._failure.names.get(id, '')}\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
