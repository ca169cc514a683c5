"""Progress: events that go up while something is done."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # Plain dicts with "event" and the fields of that event. Called from any thread.
    Progress = Callable[[dict[str, Any]], None]
else:
    Progress = Callable


def silent(event: dict[str, Any]) -> None:
    """A Progress that shows nothing."""
