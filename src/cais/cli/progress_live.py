"""Build progress on a terminal, drawn again and again; the only module that loads rich."""

from __future__ import annotations

import threading
import time

from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from cais.cli.progress import UNSAID, Failure, Warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of a running step's output.
_OUTPUT_LINES = 6


class _Step:
    __slots__ = ("ended", "lines", "name", "note", "partial", "started", "state")

    def __init__(self, name: str) -> None:
        self.name = name
        self.started = time.monotonic()
        self.ended = 0.0
        self.state = "running"
        self.note = ""
        self.lines: list[str] = []
        self.partial = b""


class Live:
    """The steps with their times; below a running one, the end of its output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._steps: dict[int, _Step] = {}
        self._warnings = Warnings()
        self._failure = Failure()
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._ended = False
        self._live = RichLive(
            console=self._console, get_renderable=self._drawn, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False,
        )  # fmt: skip
        self._owner = threading.get_ident()
        self._stopped = threading.Event()
        self._ticker: threading.Thread | None = None
        self._live.start()

    def __call__(self, event: dict[str, Any]) -> None:
        self._note(event)
        if self._ticker is not None:
            return
        if threading.get_ident() == self._owner:
            self._live.refresh()
            return
        # An ordinary user's process cannot enter its user namespace once it has threads: there is none of ours
        # before the first step runs in a thread of its own.
        with self._lock:
            if self._ticker is None:
                self._ticker = threading.Thread(target=self._tick, daemon=True)
                self._ticker.start()

    def _tick(self) -> None:
        while not self._stopped.wait(0.1):
            self._live.refresh()

    def _note(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._failure.note(event)
            self._warnings.note(event)
            kind = event["event"]
            if kind == "start":
                self._steps[event["id"]] = _Step(event.get("name", ""))
                return
            step = self._steps.get(event.get("id", 0))
            if step is None:
                return
            if kind == "output":
                *lines, step.partial = (step.partial + event["data"])[-65536:].split(b"\n")
                step.lines += [line.decode("utf-8", "replace") for line in lines]
                del step.lines[:-_OUTPUT_LINES]
            elif kind == "miss":
                step.note = "" if event["reason"] in UNSAID else f"cache miss: {event['reason']}"
            elif kind == "status":
                step.note = f"{event.get('what', '')} {event['current']}/{event.get('total') or '?'}"
            elif kind in ("done", "cached", "error"):
                step.note = step.note if step.note.startswith("cache miss: ") else ""
                step.state, step.ended = kind, time.monotonic()

    def close(self) -> None:
        with self._lock:
            self._ended = True
            for step in self._steps.values():
                if step.state == "running":
                    step.state, step.ended = "cancelled", time.monotonic()
        self._stopped.set()
        if self._ticker is not None:
            self._ticker.join()
        self._live.stop()
        head, _, lines = self._warnings.text().partition("\n")
        if head:
            self._console.print(Text("\n" + head, "yellow"))
            self._console.print(Text(lines.rstrip("\n")))

    def failure(self) -> str:
        return self._failure.text()

    def _drawn(self) -> Text:
        with self._lock:
            return self._text()

    def _text(self) -> Text:
        width, height = self._console.size
        now = time.monotonic()
        ended = [step for step in self._steps.values() if step.state != "running"]
        head = f"[+] Building {now - self._started:.1f}s ({len(ended)}/{len(self._steps)})"
        lines = [Text(head + (" FINISHED" if self._ended else ""), "bold")]
        for step in self._steps.values():
            lines += self._step(step, now, width)
        # Of more than fits the end is shown, until all of it is printed at the close.
        if not self._ended and len(lines) > height - 1:
            lines[1 : len(lines) - height + 2] = []
        return Text("\n").join(lines)

    def _step(self, step: _Step, now: float, width: int) -> list[Text]:
        seconds = f"{(step.ended or now) - step.started:.1f}s"
        mark = {"cached": "CACHED ", "error": "ERROR ", "cancelled": "CANCELED "}.get(step.state, "")
        left = f" => {mark}{step.name}"
        room = max(10, width - len(seconds) - 2)
        left = left if len(left) <= room else left[: room - 1] + "…"
        style = {"error": "red", "cancelled": "yellow", "running": ""}.get(step.state, "blue")
        lines = [Text(f"{left}{' ' * (width - 1 - len(left) - len(seconds))}{seconds}", style)]
        if step.note and step.state in ("running", "done", "error"):
            lines.append(Text(f" => => {_shown(step.note, width - 8)}", "dim"))
        if step.state == "running" and not self._ended:
            lines += [Text(f" => => # {_shown(line, width - 9)}", "dim") for line in step.lines[-_OUTPUT_LINES:]]
        return lines


def _shown(line: str, width: int) -> str:
    """Without what would move the cursor, and cut to the line."""
    line = line.rsplit("\r", 1)[-1] if not line.endswith("\r") else line.rstrip("\r").rsplit("\r", 1)[-1]
    return "".join(letter if letter.isprintable() else " " for letter in line.expandtabs(8))[: width - 1]
