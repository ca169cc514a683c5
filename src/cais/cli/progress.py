"""What a build or a transfer shows while it goes on, on standard error: the choice, and the plainest display.

A display is handed the events (see ``cais.ports.Progress``) by being called, from any thread, and closed at the end.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Display(Protocol):
        """Called with each event; ``failed`` is the output of the failed step, for the end."""

        def __call__(self, event: dict[str, Any]) -> None: ...

        def close(self) -> None: ...

        def failure(self) -> str: ...


# Reasons that say nothing a reader of the output does not see.
UNSAID = ("this step was not built before", "the cache is not used (--no-cache)", "")
MODES = ("auto", "plain", "tty", "rawjson", "quiet")


def display(mode: str) -> Display:
    """The display of ``mode``; auto is live on a terminal, else plain. Raises Invalid for another mode."""
    if mode == "auto":
        mode = "tty" if sys.stderr.isatty() else "plain"
    if mode == "plain":
        from cais.cli.progress_plain import Plain

        return Plain(sys.stderr)
    if mode == "tty":
        from cais.cli.progress_live import Live

        return Live()
    if mode == "rawjson":
        from cais.cli.progress_raw import Raw

        return Raw(sys.stderr)
    if mode == "quiet":
        return Quiet()
    from cais.errors import Invalid

    raise Invalid(f"invalid progress mode {mode}", hint=f"The modes are {', '.join(MODES)}.")


class Failure:
    """Remembers the last output of each step, for when it fails."""

    LINES = 20

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self._last: dict[int, bytes] = {}
        self._failed = 0

    def note(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self.names[event["id"]] = event.get("name", "")
        elif kind == "output":
            # Enough for the lines that are shown, whatever a step writes.
            self._last[event["id"]] = (self._last.get(event["id"], b"") + event["data"])[-8192:]
        elif kind == "error" and not self._failed:
            self._failed = event["id"]
        elif kind in ("done", "cached"):
            self._last.pop(event["id"], None)

    def text(self) -> str:
        """The marked last output of the step that failed first, or ""."""
        if not self._failed:
            return ""
        lines = self._last.get(self._failed, b"").decode("utf-8", "surrogateescape").split("\n")
        lines = lines[:-1] if lines[-1:] == [""] else lines
        lines = lines[-self.LINES :]
        if sys.stderr.isatty():
            from cais.cli.harmless import harmless

            lines = [harmless(line.rstrip("\r")) for line in lines]
        body = "".join(f"{line}\n" for line in lines)
        return f"------\n > {self.names.get(self._failed, '')}:\n{body}------\n"


class Warnings:
    """Remembers what the build checks found, for the end."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}
        self._rules = False

    def note(self, event: dict[str, Any]) -> None:
        if event["event"] == "warning":
            self._rules = self._rules or bool(event.get("rule") and event.get("line"))
            rule = f"{event['rule']}: " if event.get("rule") and event.get("line") else ""
            line = f" (line {event['line']})" if event.get("line") else ""
            self._lines[f"{rule}{event['message']}{line}"] = None

    def text(self) -> str:
        """As Docker shows them after a build, or ""."""
        if not self._lines:
            return ""
        count = "1 warning" if len(self._lines) == 1 else f"{len(self._lines)} warnings"
        more = " (use --check to expand)" if self._rules else ""
        return f" {count} found{more}:\n" + "".join(f" - {line}\n" for line in self._lines)


class Quiet:
    """Nothing, until a step fails."""

    def __init__(self) -> None:
        self._failure = Failure()

    def __call__(self, event: dict[str, Any]) -> None:
        self._failure.note(event)

    def close(self) -> None:
        pass

    def failure(self) -> str:
        return self._failure.text()


def transfer(*, quiet: bool = False) -> tuple[Callable[[dict[str, Any]], None], Callable[[], None]]:
    """``(progress, finish)`` for load: one line that follows the status events on a terminal, else nothing."""
    if quiet or not sys.stderr.isatty():
        return (lambda event: None), (lambda: None)
    from cais.cli.units import human_size

    shown = False

    def progress(event: dict[str, Any]) -> None:
        nonlocal shown
        if event["event"] != "status":
            return
        total = f"/{human_size(event['total'])}" if event.get("total") else ""
        sys.stderr.write(f"\r\x1b[K{event.get('what', '')[:40]} {human_size(event['current'])}{total}")
        sys.stderr.flush()
        shown = True

    def finish() -> None:
        if shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    return progress, finish
