"""Streamed: a blob that is sent to a registry while it is made, before anybody knows its digest.

One request takes its bytes in chunks as they come, a second one says the digest and ends the upload (distribution-spec,
"Pushing a blob in chunks").
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cais.errors import Unavailable
from cais.remote.transport import UNKNOWN, Transport
from cais.remote.uploads import begin, ending, location_of
from cais.spec.descriptor import Descriptor


class Streamed:
    """An upload of its own. Both methods raise what the registry's refusal is; they are not tried again."""

    def __init__(self, transport: Transport, repository: str, scopes: Sequence[str]) -> None:
        self._transport = transport
        self._repository = repository
        self._scopes = scopes
        self._location = ""

    def send(self, pieces: Iterator[bytes]) -> None:
        """All bytes of the blob."""
        left = [pieces]

        def once() -> Iterator[bytes]:
            if not left:
                raise Unavailable("what was sent while it was made cannot be sent again")
            return left.pop()

        location = begin(self._transport, self._repository, self._scopes)
        headers = {"Content-Type": "application/octet-stream"}
        with self._transport.request(
            "PATCH",
            location,
            scopes=self._scopes,
            headers=headers,
            body=once,
            size_bytes=UNKNOWN,
            accepted=(202, 204),
            again=False,
        ) as response:
            self._location = location_of(response, "the bytes")

    def end(self, blob: Descriptor) -> None:
        """What was sent is ``blob``: the registry has it then."""
        url = ending(self._location, blob)
        self._transport.request("PUT", url, scopes=self._scopes, body=b"", accepted=(201, 204), again=False).close()
