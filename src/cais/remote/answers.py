"""What registries answer: bodies read within limits, and refusals as the kinds of error that they are."""

from __future__ import annotations

from urllib3.exceptions import HTTPError

from cais.errors import (
    CaisError,
    Conflict,
    Corrupt,
    Denied,
    Failed,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from cais.remote.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from urllib3.response import BaseHTTPResponse

ERROR_LIMIT_BYTES = 64 << 10
_PIECE_BYTES = 64 << 10
_WINDOW_SECONDS = 60.0
_ENCODINGS = {"gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}

_BY_STATUS: dict[int, type[CaisError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Denied,
    404: NotFound,
    405: Unsupported,
    409: Conflict,
    410: NotFound,
    413: Invalid,
    415: Unsupported,
    416: Invalid,
    429: Unavailable,
    501: Unsupported,
}
_WORDS = {
    401: "unauthorized: authentication required",
    403: "denied: requested access to the resource is denied",
    404: "not found",
    429: "toomanyrequests: too many requests",
}


class NotNow(Unavailable):
    """A registry that has said after how many ``seconds`` it may be asked again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


def read_document(response: BaseHTTPResponse, limit_bytes: int, what: str) -> bytes:
    """A whole small body, decoded where it was encoded all the same. ``what`` names it in errors.

    Raises Corrupt where it is larger than ``limit_bytes`` or not what its encoding says, Unavailable where it is cut
    off.
    """
    pieces = _pieces(response, limit_bytes, what)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        kind = _ENCODINGS.get(encoding)
        if kind is None:
            raise Unsupported(f"{what} came with the content encoding {encoding[:40]!r}, which was not asked for")
        from cais.host.compression import decompressed

        pieces = decompressed(pieces, kind)
    found = bytearray()
    for piece in pieces:
        found += piece
        if len(found) > limit_bytes:
            raise Corrupt(f"{what} is larger than {limit_bytes} bytes, which is the limit")
    return bytes(found)


def _pieces(response: BaseHTTPResponse, limit_bytes: int, what: str) -> Iterator[bytes]:
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limit_bytes:
        raise Corrupt(f"{what} is {length} bytes, more than the limit of {limit_bytes}")
    received = 0
    pace = Pace(_WINDOW_SECONDS)
    while True:
        try:
            piece = response.read1(_PIECE_BYTES)
        except (HTTPError, OSError, ValueError) as error:
            raise Unavailable(f"{what} was cut off after {received} bytes") from error
        if not piece:
            break
        received += len(piece)
        if pace.is_too_slow(len(piece)):
            raise Unavailable(f"{what} comes too slowly")
        if received > limit_bytes:
            raise Corrupt(f"{what} is larger than {limit_bytes} bytes, which is the limit")
        yield piece
    if length.isdigit() and received != int(length):
        raise Unavailable(f"{what} was cut off after {received} of {length} bytes")


def refusal(status: int, body: bytes, where: str, seconds: float | None = None) -> CaisError:
    """The error of an answer that is no success, in the registry's own words where it gave some; ``seconds``: its
    Retry-After."""
    kind = _BY_STATUS.get(status) or (Unavailable if status >= 500 else Failed)
    words = ", ".join(f"{code}: {message}" if message else code for code, message in said(body))
    words = words or _WORDS.get(status) or f"{where} answered with the status {status}"
    return NotNow(words, seconds) if kind is Unavailable and seconds is not None else kind(words)


def warnings(values: Iterable[str]) -> list[str]:
    """The texts of ``Warning`` headers in the one form that registries use: ``299 - "..."`` (distribution-spec,
    "Warnings"); others are ignored."""
    import re

    found = (text for value in values for text in re.findall(r'299 - "((?:[^"\\]|\\.)*)"', value[:ERROR_LIMIT_BYTES]))
    return [text for text in (_clean(re.sub(r"\\(.)", r"\1", raw)) for raw in found) if text]


def codes(body: bytes) -> set[str]:
    """The registry's codes for what went wrong: ``manifest unknown``, ``blob unknown``, ..."""
    return {code for code, _ in said(body)}


def said(body: bytes) -> list[tuple[str, str]]:
    """Codes and messages of a refusal, as Docker writes them (distribution-spec, "Error codes"); else []."""
    from cais.spec.encoding import decode_object

    try:
        fields = decode_object(body, "the answer", ERROR_LIMIT_BYTES)
    except CaisError:
        return []
    errors = fields.get("errors")
    if not isinstance(errors, list):
        detail = fields.get("details") or fields.get("message")  # of token servers
        return [(_clean(detail), "")] if isinstance(detail, str) and detail else []
    found = []
    for item in errors[:3]:
        if isinstance(item, dict) and isinstance(item.get("code"), str):
            message = item.get("message")
            code = _clean(item["code"][:60].lower().replace("_", " "))
            found.append((code, _clean(message) if isinstance(message, str) else ""))
    return found


def _clean(text: str) -> str:
    """One line of harmless characters, not too long."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:500]


def retry_after(text: str, now: float) -> float | None:
    """Retry-After in seconds from ``now`` (RFC 9110 section 10.2.3: a number, or a date); None for neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text[:100]).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
