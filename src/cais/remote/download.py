"""A blob's bytes, taken up where a connection broke."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from urllib3.exceptions import HTTPError

from cais.errors import CaisError, Corrupt, Unavailable
from cais.remote.pace import Pace
from cais.remote.transport import Transport
from cais.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_PIECE_BYTES = 1 << 20
# Of one blob: a server that gives a byte a time gives up sooner than its client otherwise would.
_BREAKS_LIMIT = 100


def pieces_of(
    transport: Transport, path: str, scopes: Sequence[str], blob: Descriptor, offset: int = 0
) -> Iterator[bytes]:
    """The bytes of ``blob`` from ``offset`` on, not verified. Each attempt that brings something gives new attempts.

    Raises NotFound, Corrupt where more comes than the blob has, Unavailable where it ends early all the time.
    """
    position = offset
    failures = breaks = 0
    while position < blob.size_bytes or (position == offset and not blob.size_bytes):
        before = position
        error: CaisError | None = None
        response = _asked(transport, path, scopes, position)
        skip = position if response.status == 200 else 0  # the range was ignored: from the beginning
        with response:
            _check_range(response, position, blob)
            pace = Pace(transport.limits.read_seconds)
            try:
                while piece := response.read1(_PIECE_BYTES):
                    if pace.is_too_slow(len(piece)):
                        raise Unavailable(
                            f"the registry stalls after {position} of {blob.size_bytes} bytes of {blob.digest}"
                        )
                    if skip:
                        dropped = min(skip, len(piece))
                        skip -= dropped
                        piece = piece[dropped:]
                        if not piece:
                            continue
                    position += len(piece)
                    if position > blob.size_bytes:
                        raise Corrupt(
                            f"the blob {blob.digest} has more than the {blob.size_bytes} bytes it should have"
                        )
                    yield piece
            except (HTTPError, OSError, ValueError):
                error = Unavailable(
                    f"the connection broke after {position} of {blob.size_bytes} bytes of {blob.digest}"
                )
        if position >= blob.size_bytes:
            return
        failures = 1 if position > before else failures + 1
        breaks += 1
        if failures >= transport.limits.attempts or breaks >= _BREAKS_LIMIT:
            raise error or Unavailable(f"{blob.digest} ended after {position} of {blob.size_bytes} bytes")
        transport.pause(failures)


def _asked(transport: Transport, path: str, scopes: Sequence[str], position: int) -> BaseHTTPResponse:
    headers = {"Range": f"bytes={position}-"} if position else {}
    return transport.request("GET", path, scopes=scopes, headers=headers, accepted=(200, 206))


def _check_range(response: BaseHTTPResponse, position: int, blob: Descriptor) -> None:
    if response.status != 206:
        return
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) != position:
        raise Corrupt(
            f"asked for {blob.digest} from byte {position}, the registry answered with the range {rest[:60]!r}"
        )
