"""``--metadata-file``: what a build says of itself, by buildx's keys; two variables say what else stands in it."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.spec.progress import Progress

_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
WARNINGS_KEY = "buildx.build.warnings"
RESULT_KEY = "result.json"


def provenance_mode(environment: Mapping[str, str]) -> str:
    """``min`` or ``max``, or "" for none, by ``BUILDX_METADATA_PROVENANCE``."""
    said = environment.get("BUILDX_METADATA_PROVENANCE", "")
    if said == "max":
        return "max"
    return "" if said == "disabled" or said in _FALSE else "min"


def wants_warnings(environment: Mapping[str, str]) -> bool:
    """Whether ``BUILDX_METADATA_WARNINGS`` asks for them."""
    return environment.get("BUILDX_METADATA_WARNINGS", "") in _TRUE


class WarningsKept:
    """Passes events on, and keeps the warnings among them, each once."""

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def of(self, progress: Progress) -> Progress:
        def noted(event: dict[str, Any]) -> None:
            if event["event"] == "warning":
                from cais.cli.progress_raw import warning

                with self._lock:
                    self._found[f"{event.get('line')} {event['message']}"] = warning(event)
            progress(event)

        return noted

    def listed(self) -> list[dict[str, Any]]:
        return list(self._found.values())


def write(path: str, document: Mapping[str, Any]) -> None:
    """Raises CaisError."""
    import json

    from cais.errors import from_os_error

    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise from_os_error(error, f"write {path}")
