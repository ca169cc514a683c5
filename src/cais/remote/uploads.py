"""Uploads: a blob sent to a repository, mounted from another, or gone on with where a connection broke."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unavailable
from cais.remote import answers
from cais.remote.transport import Transport
from cais.spec.descriptor import Descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from cais.ports import Source


def upload(
    transport: Transport,
    repository: str,
    scopes: Sequence[str],
    blob: Descriptor,
    source: Source,
    mount_from: Sequence[str] = (),
) -> str:
    """Stores ``blob``; the repository that it was mounted from, or "". See ``Registry.take``."""
    if mount_from:  # where the bytes go all the same, no second repository is asked
        location = _mount(transport, repository, scopes, blob, mount_from[0])
        if location is None:
            return mount_from[0]
    else:
        location = begin(transport, repository, scopes)
    _Upload(transport, repository, scopes, blob, source).run(location)
    return ""


def begin(transport: Transport, repository: str, scopes: Sequence[str]) -> str:
    """Where the bytes of a blob go (distribution-spec, "POST then PUT")."""
    path = f"/v2/{repository}/blobs/uploads/"
    with transport.request("POST", path, scopes=scopes, body=b"", accepted=(202,)) as response:
        return location_of(response, "the upload")


def _mount(transport: Transport, repository: str, scopes: Sequence[str], blob: Descriptor, other: str) -> str | None:
    """None where the registry mounted the blob from ``other``, so that nothing has to be sent; else as ``begin``."""
    path = f"/v2/{repository}/blobs/uploads/?mount={quote(blob.digest)}&from={quote(other, safe='')}"
    scopes = (*scopes, f"repository:{other}:pull")
    with transport.request("POST", path, scopes=scopes, body=b"", accepted=(202, 201)) as response:
        return None if response.status == 201 else location_of(response, "the upload")


def ending(location: str, blob: Descriptor) -> str:
    """The URL of the request that ends an upload."""
    return location + ("&" if "?" in location else "?") + "digest=" + quote(blob.digest)


def location_of(response: BaseHTTPResponse, what: str) -> str:
    location = response.headers.get("Location", "")
    if not location:
        raise Invalid(f"the registry accepted {what} without saying where it goes (no Location)")
    return location


class _Upload:
    def __init__(
        self, transport: Transport, repository: str, scopes: Sequence[str], blob: Descriptor, source: Source
    ) -> None:
        self._transport = transport
        self._repository = repository
        self._scopes = scopes
        self._blob = blob
        self._source = source
        self._source_error: BaseException | None = None

    def run(self, location: str) -> None:
        """Sends until the registry says that it has the blob."""
        offset = furthest = failures = 0
        while True:
            try:
                self._put(location, offset)
                return
            except (Unavailable, NotFound) as error:
                failures += 1
                if self._source_error is not None:
                    raise self._source_error from None
                if failures >= self._transport.limits.attempts:
                    raise error
                self._transport.pause(failures, error)
            location, offset = self._continued(location)
            if offset > furthest:  # it goes on, however badly
                furthest, failures = offset, 0

    def _put(self, location: str, offset: int) -> None:
        """The rest of the bytes with the digest that ends the upload (distribution-spec, "POST then PUT")."""
        blob = self._blob
        url = ending(location, blob)
        headers = {"Content-Type": "application/octet-stream"}
        if offset:
            headers["Content-Range"] = f"{offset}-{blob.size_bytes - 1}"
        with self._transport.request(
            "PUT",
            url,
            scopes=self._scopes,
            headers=headers,
            body=lambda: self._pieces(offset),
            size_bytes=blob.size_bytes - offset,
            accepted=(201, 204, 400),
            again=False,
        ) as response:
            if response.status == 400:
                body = answers.read_document(response, answers.ERROR_LIMIT_BYTES, "the answer")
                error = answers.refusal(400, body, self._transport.endpoint.registry)
                raise Corrupt(error.message) if "digest invalid" in answers.codes(body) else error

    def _pieces(self, offset: int) -> Iterator[bytes]:
        """The bytes to send, exactly as many as were announced; the registry verifies their digest."""
        blob = self._blob
        left = blob.size_bytes - offset
        pieces = self._source.fetch(blob, offset)
        while True:
            try:
                piece = next(pieces, None)
            except BaseException as error:
                self._source_error = error
                raise
            if piece is None:
                break
            left -= len(piece)
            if left < 0:
                break
            yield piece
        if left:
            raise Corrupt(f"the blob {blob.digest} does not have the {blob.size_bytes} bytes it should have")

    def _continued(self, location: str) -> tuple[str, int]:
        """Where an upload goes on and from which byte; from the first, where the registry knows nothing of it."""
        try:
            with self._transport.request("GET", location, scopes=self._scopes, accepted=(204, 202, 200)) as response:
                first, dash, last = response.headers.get("Range", "").removeprefix("bytes=").partition("-")
                # "0-0" is what some say of an upload that has nothing.
                if first == "0" and dash and last.isdigit() and 0 < int(last) < self._blob.size_bytes:
                    return response.headers.get("Location") or location, int(last) + 1
        except CaisError:
            pass
        return begin(self._transport, self._repository, self._scopes), 0
