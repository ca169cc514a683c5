"""Events: what happened and what happens, of all processes on one root directory, by Docker's filters."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from cais.engine.stores import Stores
from cais.errors import Invalid
from cais.events.reading import Event

KEYS = frozenset((
    "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope", "secret",
    "service", "type", "volume",
))  # fmt: skip
# Has all the fields that an event has.
NOTHING = Event(0, "", "", "", {})
# Filters by a thing's name or the start of its id.
_THINGS = ("container", "daemon", "network", "plugin", "volume", "config", "node", "secret", "service")


def events(
    stores: Stores,
    since_nanoseconds: int | None = None,
    until_nanoseconds: int | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Event]:
    """From ``since`` to ``until`` (None: without end). Times are in nanoseconds since 1970.

    ``since`` None: from the first that is kept where there is an ``until``, else from now on. Raises Invalid for a
    filter that there is not, and where ``since`` is the later one.
    """
    asked = {key: values for key, values in (filters or {}).items() if values}
    for key in asked:
        if key not in KEYS:
            raise Invalid(f"invalid filter '{key}'")
    if since_nanoseconds is None:
        since_nanoseconds = time.time_ns() if until_nanoseconds is None else 0
    since = since_nanoseconds
    if until_nanoseconds is not None and since > until_nanoseconds:
        moments = (moment // 1_000_000_000 for moment in (since, until_nanoseconds))
        raise Invalid("`since` time ({}) cannot be after `until` time ({})".format(*moments))
    return (event for event in _all(stores, since, until_nanoseconds) if _passes(event, asked))


def _all(stores: Stores, since: int, until: int | None) -> Iterator[Event]:
    log = stores.events
    if until is not None and until <= time.time_ns():
        yield from log.read(since, until)
        return
    import os

    from cais.host.watching import Watch

    os.makedirs(log.directory, 0o700, exist_ok=True)
    with Watch(log.directory) as watch:

        def wait() -> bool:
            if until is None:
                watch.wait()
                return True
            left = until - time.time_ns()
            if left > 0:
                watch.wait(left / 1e9)
            return left > 0

        yield from log.read(since, until or 0, wait)


def _passes(event: Event, asked: Mapping[str, Sequence[str]]) -> bool:
    """Values of one key are alternatives (labels are not), keys hold together."""
    for key, values in asked.items():
        if key == "event":
            # "exec_start: sh -c ..." is found by its first word.
            fits = any(event.action == value or event.action.startswith(value + ":") for value in values)
        elif key == "type":
            fits = event.kind in values
        elif key == "scope":
            fits = "local" in values
        elif key == "image":
            fits = _of_image(event, values)
        elif key == "label":
            fits = all(_has_label(event, value) for value in values)
        else:
            name = event.attributes.get("name", "")
            fits = any(event.id.startswith(value) or name.startswith(value) for value in values)
            if key in _THINGS[:1] and event.kind != "container":
                # What happens to networks and volumes happens for a container.
                fits = any(event.attributes.get("container", "").startswith(value) for value in values)
        if not fits:
            return False
    return True


def _of_image(event: Event, values: Sequence[str]) -> bool:
    name = event.attributes.get("name" if event.kind == "image" else "image", "")
    names = {event.id, name, _without_tag(event.id), _without_tag(name)}
    return any(value in names for value in values)


def _without_tag(name: str) -> str:
    repository, colon, tag = name.rpartition(":")
    return repository if colon and "/" not in tag else name


def _has_label(event: Event, text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in event.attributes and (not equals or event.attributes[key] == value)
