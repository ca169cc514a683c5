"""``cais system events``, ``cais events``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import INSPECT_FORMAT, filter_flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Get real time events of this root directory",
    aliases=("system events", "events"),
    flags=(
        filter_flag(),
        Flag("format", "", "string", INSPECT_FORMAT, complete="json"),
        Flag("since", "", "string", "Show all events created since timestamp"),
        Flag("until", "", "string", "Stream events until this timestamp"),
    ),
    examples=(
        "cais events --filter type=container --filter event=die",
        "cais events --since 1h --until 0s --format json",
    ),
)


def run(call: Call) -> int:
    import sys
    import time

    from cais.cli.moments import nanoseconds
    from cais.cli.others import put
    from cais.cli.values import filters

    now = time.time_ns()
    written = _writer(call["format"])
    for event in call.engine.system.events(
        since_nanoseconds=nanoseconds(call["since"], now) if call["since"] else None,
        until_nanoseconds=nanoseconds(call["until"], now) if call["until"] else None,
        filters=filters(call["filter"]),
    ):
        put(written(event) + "\n")
        sys.stdout.flush()
    return 0


def _writer(format: str) -> Callable[[Any], str]:
    """What makes a line of an event. Raises UsageError for a bad template."""
    if not format:
        return _line
    from cais.cli.template_functions import to_json

    if format == "json":
        return lambda event: to_json(_document(event))
    from cais.cli.declare import UsageError
    from cais.cli.documents import BAD_TEMPLATE
    from cais.cli.table import Row
    from cais.cli.template import Template, TemplateError
    from cais.engine.events import NOTHING

    class EventRow(Row):
        def as_json(self) -> dict[str, Any]:
            return _document(self.item)

    def written(event: Any) -> str:
        try:
            return template.run(EventRow(event, _FIELDS, "events.Message"))
        except TemplateError as error:
            raise UsageError(f"Error parsing format: {error}", BAD_TEMPLATE, usage=False)

    try:
        template = Template(format.replace("\\t", "\t").replace("\\n", "\n"))
    except TemplateError as error:
        raise UsageError(f"Error parsing format: {error}", BAD_TEMPLATE, usage=False)
    # What it asks for that no event has is said at once, and not when something happens.
    written(NOTHING)
    return written


def _line(event: Any) -> str:
    from cais.cli.moments import local

    attributes = ", ".join(f"{key}={value}" for key, value in sorted(event.attributes.items()))
    text = f"{local(event.time)} {event.kind} {event.action} {event.id}" + (f" ({attributes})" if attributes else "")
    # A label could otherwise write lines that look like events of their own.
    return text if text.isprintable() else "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    return letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else ascii(letter)[1:-1]


def _actor(event: Any) -> dict[str, Any]:
    return {"ID": event.id, "Attributes": dict(sorted(event.attributes.items()))}


def _document(event: Any) -> dict[str, Any]:
    old: dict[str, Any] = {}
    if event.kind in ("container", "image"):
        old = {"status": event.action, "id": event.id}
        if event.attributes.get("image"):
            old["from"] = event.attributes["image"]
    return {
        **old, "Type": event.kind, "Action": event.action, "Actor": _actor(event), "scope": "local",
        "time": event.time // 1_000_000_000, "timeNano": event.time,
    }  # fmt: skip


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "Action": lambda event: event.action,
    "Actor": _actor,
    "From": lambda event: event.attributes.get("image", ""),
    "ID": lambda event: event.id,
    "Scope": lambda event: "local",
    "Status": lambda event: event.action,
    "Time": lambda event: event.time // 1_000_000_000,
    "TimeNano": lambda event: event.time,
    "Type": lambda event: event.kind,
}
