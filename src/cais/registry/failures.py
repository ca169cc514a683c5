"""An error as the specification's JSON (distribution-spec, error codes)."""

from __future__ import annotations

import json

from cais.errors import TABLE, CaisError
from cais.registry.call import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.registry.call import Header

_RETRY_SECONDS = 5
JSON_TYPE = (b"content-type", b"application/json")


def failure(error: CaisError) -> Response:
    _, status, code = TABLE[error.kind]
    status = getattr(error, "status", 0) or status
    headers: list[Header] = []
    if status in (429, 503):
        headers.append((b"retry-after", b"%d" % getattr(error, "retry_seconds", _RETRY_SECONDS)))
    return described(status, getattr(error, "code", code), error.message, getattr(error, "details", (None,)), headers)


def described(
    status: int, code: str, message: str, details: Sequence[Any] = (None,), headers: list[Header] | None = None
) -> Response:
    entry = {"code": code, "message": message}
    entries = [entry if detail is None else {**entry, "detail": detail} for detail in details]
    body = json.dumps({"errors": entries}).encode() + b"\n"
    return Response(status, [JSON_TYPE, *(headers or [])], body)
