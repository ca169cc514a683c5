"""Streamed: a blob that is sent to a registry while it is made, before anybody knows its digest.

One request takes its bytes in chunks as they come, a second one says the digest and ends the upload (distribution-spec,
"Pushing a blob in chunks"). Whatever fails is no error: the blob is pushed afterwards, as others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cais.errors import CaisError, Cancelled, Unavailable
from cais.host.ahead import Channel
from cais.host.threads import Thread
from cais.remote.transport import UNKNOWN, Transport
from cais.remote.uploads import begin, ending, location_of
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest

# Pieces that wait: the maker is held up where the network is slower.
_DEPTH = 8


class Streamed:
    """Begins at once, in a thread. ``stored`` is what the registry has of it at the end, if it has it."""

    def __init__(self, transport: Transport, repository: str, scopes: Sequence[str]) -> None:
        self.stored: Digest | None = None
        self._transport = transport
        self._repository = repository
        self._scopes = scopes
        self._channel = Channel(_DEPTH)
        self._location = ""
        self._has_begun = False
        self._thread = Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def write(self, piece: bytes) -> None:
        """Waits while too much is waiting. What comes after a failure goes nowhere."""
        self._channel.put(piece)

    def finish(self, blob: Descriptor | None) -> None:
        """All was written, and it is ``blob``; None: it never will be."""
        if blob is None:
            self._channel.finish(Cancelled("stopped"))  # the thread ends by itself, and keeps nobody
            return
        self._channel.finish()
        self._thread.join()
        if not self._location:
            return
        url = ending(self._location, blob)
        try:
            self._transport.request("PUT", url, scopes=self._scopes, body=b"", accepted=(201, 204), again=False).close()
        except CaisError:
            return
        self.stored = blob.digest

    def _run(self) -> None:
        try:
            location = begin(self._transport, self._repository, self._scopes)
            headers = {"Content-Type": "application/octet-stream"}
            with self._transport.request(
                "PATCH",
                location,
                scopes=self._scopes,
                headers=headers,
                body=self._pieces,
                size_bytes=UNKNOWN,
                accepted=(202, 204),
                again=False,
            ) as response:
                self._location = location_of(response, "the bytes")
        except CaisError:
            pass
        finally:
            self._channel.close()

    def _pieces(self) -> Iterator[bytes]:
        if self._has_begun:
            raise Unavailable("what was sent while it was made cannot be sent again")
        self._has_begun = True
        while (piece := self._channel.take()) is not None:
            yield piece
