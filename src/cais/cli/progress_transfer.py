"""What pull, push and copy show: Docker's lines, one for each layer; on a terminal in place, with bars that are true.

The engine's events: ``pulling`` and ``pushing`` (what begins), ``missing`` (a container's image), ``layer`` (``id``,
``state`` and, while bytes go, the numbers ``current`` and ``total``), ``digest``, ``pulled`` and ``pushed`` (what came
of a name), ``note`` (a line of text).
"""

from __future__ import annotations

import sys
import threading
import time

from cais.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from cais.cli.call import Call
    from cais.spec.reference import Reference

PULL = {
    "waiting": "Pulling fs layer",
    "moving": "Downloading",
    "arrived": "Download complete",
    "unpacking": "Extracting",
    "done": "Pull complete",
    "exists": "Already exists",
}
PUSH = {
    "waiting": "Preparing",
    "packing": "Compressing",
    "moving": "Pushing",
    "arrived": "Pushed",
    "done": "Pushed",
    "exists": "Layer already exists",
    "mounted": "Mounted from",
}
COPY = {
    "waiting": "Waiting",
    "moving": "Copying",
    "arrived": "Copied",
    "done": "Copied",
    "exists": "Already exists",
    "mounted": "Mounted from",
}
_ENDED = frozenset(("done", "exists", "mounted"))
_BAR = 50
_SECONDS_BETWEEN_DRAWINGS = 0.1


def named(call: Call) -> Reference:
    """What a pull or a push is about; it says so where it takes a tag that was not given. Raises Invalid."""
    from cais.cli.call import say
    from cais.errors import Invalid
    from cais.spec.reference import DEFAULT_TAG, Reference

    name = Reference.parse(call.arguments[0], default_tag="")
    if name.tag or name.digest is not None:
        if call["all-tags"]:
            raise Invalid("tag can't be used with --all-tags/-a")
    elif not call["all-tags"]:
        name = name._replace(tag=DEFAULT_TAG)
        if not call["quiet"]:
            say(f"Using default tag: {name.tag}")
    return name


class Transfer:
    """Called with each event, from any thread; ``close`` leaves the cursor below what was drawn."""

    def __init__(self, words: dict[str, str], stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._words = words
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._live = not quiet and self._stream.isatty()
        self._lock = threading.Lock()
        self._layers: dict[str, dict[str, Any]] = {}
        self._drawn = 0
        self._next = 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        if self._quiet:
            return
        with self._lock:
            if event["event"] == "layer":
                self._layer(event)
                return
            text = _line(event)
            if text:
                self._settle()
                self._stream.write(text + "\n")
                self._stream.flush()

    def _layer(self, event: dict[str, Any]) -> None:
        known = self._layers.get(event["id"])
        if known is not None and known["state"] in _ENDED and event["state"] != known["state"]:
            return  # a late word of another thread
        self._layers[event["id"]] = event
        changed = known is None or known["state"] != event["state"]
        if self._live:
            if changed or time.monotonic() >= self._next:
                self._draw(self._shown())
        elif changed and not event.get("total"):
            self._stream.write(self._text(event, 0) + "\n")
            self._stream.flush()

    def close(self) -> None:
        with self._lock:
            self._settle()

    def _settle(self) -> None:
        """What is drawn so far stays as it is: all of it, however small the terminal."""
        if self._live and self._layers:
            self._draw(list(self._layers.values()))
        self._layers = {}
        self._drawn = 0

    def _shown(self) -> list[dict[str, Any]]:
        """As many as fit the terminal: those that are at work before those that are done."""
        room = max(2, _size(self._stream)[1] - 1)
        layers = list(self._layers.values())
        if len(layers) <= room:
            return layers
        busy = [layer for layer in layers if layer["state"] not in _ENDED][:room]
        done = [layer for layer in layers if layer["state"] in _ENDED][len(busy) - room or len(layers) :]
        return [*done, *busy]

    def _draw(self, layers: list[dict[str, Any]]) -> None:
        width = _size(self._stream)[0]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        lines = "".join(f"\x1b[2K{self._text(layer, width)[: width - 1]}\n" for layer in layers)
        self._stream.write(f"\r{up}{lines}\x1b[J")
        self._stream.flush()
        self._drawn = len(layers)
        self._next = time.monotonic() + _SECONDS_BETWEEN_DRAWINGS

    def _text(self, layer: dict[str, Any], width: int) -> str:
        word = self._words.get(layer["state"], layer["state"])
        text = f"{layer['id']}: {word}"
        if layer["state"] == "mounted":
            text += f" {layer['repository']}"
        total = layer.get("total")
        return f"{text} {bar(layer['current'], total, width - len(text))}" if total else text


def bar(current: int, total: int, room: int) -> str:
    """``[=====>    ]  1.2MB/3MB``, as Docker draws it; without the bar where there is no room for one."""
    numbers = f"{human_size(current):>8}/{human_size(total)}"
    if room < _BAR + len(numbers) + 5:
        return numbers
    done = min(_BAR, current * _BAR // total)
    return f"[{'=' * done}>{' ' * (_BAR - done)}] {numbers}" if done < _BAR else f"[{'=' * _BAR}>] {numbers}"


def _line(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "pulling":
        return f"{event['tag']}: Pulling from {event['repository']}"
    if kind == "digest":
        return f"Digest: {event['digest']}"
    if kind == "pulled":
        status = "Downloaded newer image" if event["is_newer"] else "Image is up to date"
        return f"Status: {status} for {event['name']}"
    if kind == "missing":
        return f"Unable to find image '{event['name']}' locally"
    if kind == "pushing":
        return f"The push refers to repository [{event['repository']}]"
    if kind == "pushed":
        return f"{event['tag']}: digest: {event['digest']} size: {event['size_bytes']}"
    return str(event["text"]) if kind == "note" else ""


def _size(stream: TextIO) -> tuple[int, int]:
    import os

    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return size.columns or 80, size.lines or 24
