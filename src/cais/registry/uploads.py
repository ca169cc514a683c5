"""Uploads: POST begins one (or mounts, or takes a whole blob), PATCH appends, PUT finishes, GET says how far it is."""

from __future__ import annotations

import asyncio
import re

from cais.catalog import names
from cais.catalog.access import PULL
from cais.catalog.errors import DigestInvalid, RangeInvalid, SizeInvalid, UploadUnknown
from cais.catalog.scopes import REPOSITORY, Scope
from cais.registry.call import Disconnected, Response
from cais.registry.portions import Portions
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cais.catalog.catalog import Catalog
    from cais.catalog.uploads import Receiving
    from cais.registry.call import Call, Header, SmallBody
    from cais.spec.digest import Digest

_SMALL_BYTES = 256 << 10
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\d+|\*))?")
_UPLOAD = re.compile(r"[0-9a-f]{32}")


class _Span(NamedTuple):
    """Bytes of an upload, from ``first`` to before ``stop``."""

    first: int
    stop: int


async def begin(call: Call) -> Response:
    """POST: an upload, a whole blob at once, or one mounted from elsewhere (distribution-spec, pushing blobs)."""
    name = names.repository_name(call.repository)
    query = call.query()
    if "mount" in query:
        digest = names.digest(query["mount"])
        source = names.repository_name(query["from"]) if query.get("from") else ""
        if source:
            call.besides = Scope(REPOSITORY, source, (PULL,))
        if await call.run(_mount, call, source, name, digest):
            return _created(name, digest)
    elif "digest" in query:
        digest = names.digest(query["digest"])
        return await _finish(call, name, digest, None, _receive_whole, name, digest.algorithm)
    algorithm = query.get("digest-algorithm", "")
    if algorithm and algorithm not in names.ALGORITHMS:
        raise DigestInvalid(f"unsupported digest algorithm {algorithm[:40]!r}", {"supported": names.ALGORITHMS})
    begun = call.at_once(_begun, name, algorithm)
    upload, least_chunk_bytes = await call.run(_begin, name, algorithm) if begun is None else begun
    response = _accepted(202, name, upload, 0)
    if least_chunk_bytes:
        response.headers.append((b"oci-chunk-min-length", b"%d" % least_chunk_bytes))
    return response


async def append(call: Call) -> Response:
    """PATCH: the next bytes of an upload (distribution-spec, pushing a blob in chunks)."""
    name, upload = names.repository_name(call.repository), _upload(call)
    span = _span(call)
    start = None if span is None else span.first
    small = await _small_body(call, span)
    if small is not None:
        offset = await call.run(_append, name, upload, start, small.content)
        if not small.is_whole:
            raise Disconnected
        return _accepted(202, name, upload, offset)
    received = await call.run(_receive, name, upload, start, "")
    rest = memoryview(b"")
    try:
        rest = await _write(call, received, span)
        _check_end(received, rest, span)
    finally:
        # Also of a request that broke off: the client goes on from the byte that it is told.
        await call.run(_commit, received, rest)
    return _accepted(202, name, upload, received.offset_bytes)


async def finish(call: Call) -> Response:
    """PUT: the last bytes, if any, and the digest of all."""
    name = names.repository_name(call.repository)
    given = call.query().get("digest", "")
    if not given:
        raise DigestInvalid("the digest of the upload is missing")
    digest, span = names.digest(given), _span(call)
    upload, start = _upload(call), None if span is None else span.first
    return await _finish(call, name, digest, span, _receive, name, upload, start, digest.algorithm)


async def status(call: Call) -> Response:
    """GET: how far an upload is."""
    name, upload = names.repository_name(call.repository), _upload(call)
    return _accepted(204, name, upload, await call.run(_offset, name, upload))


async def cancel(call: Call) -> Response:
    """DELETE: nobody goes on with an upload."""
    name, upload = names.repository_name(call.repository), _upload(call)
    await call.run(_cancel, name, upload)
    return Response(204, [])


async def _finish(
    call: Call, name: str, digest: Digest, span: _Span | None, receive: Callable[..., Receiving], *arguments: object
) -> Response:
    """``receive`` with the arguments opens the upload."""
    small = await _small_body(call, span)
    if small is not None:
        if not small.is_whole:
            raise Disconnected
        await call.run(_end_at_once, digest, small.content, receive, *arguments)
        return _created(name, digest)
    received = await call.run(receive, *arguments)
    try:
        rest = await _write(call, received, span)
        _check_end(received, rest, span)
    except BaseException:
        await call.run(_close, received)
        raise
    await call.run(_end, received, rest, digest)
    return _created(name, digest)


async def _small_body(call: Call, span: _Span | None) -> SmallBody | None:
    """What a thread can write in one go with all else that it does for the request: asking it twice takes longer. None:
    the body is another one."""
    length = call.content_length()
    if span is not None and length not in (None, span.stop - span.first):
        return None  # whether these are the next bytes is told first
    return await call.small_body(_SMALL_BYTES)


async def _write(call: Call, received: Receiving, span: _Span | None) -> memoryview:
    """All of the body but its last portion, which is returned, to be written with what has to be done then.

    Raises SizeInvalid where the client has said that it is ``span`` of the upload, and its length is another one.
    """
    length = call.content_length()
    if span is not None and length not in (None, span.stop - span.first):
        raise SizeInvalid(f"the Content-Range is not of {length} bytes, as Content-Length says")
    portions = Portions(call)
    writing: Awaitable[None] | None = None
    try:
        while True:
            portion, more = await portions.next()
            if writing is not None:
                await writing
                writing = None
            if not more:
                return portion
            writing = asyncio.ensure_future(call.run(_put, received, portion))
    finally:
        if writing is not None:
            await writing


def _check_end(received: Receiving, rest: memoryview, span: _Span | None) -> None:
    """Of a body without a length. Raises SizeInvalid."""
    end = received.offset_bytes + len(rest)
    if span is not None and end != span.stop:
        raise SizeInvalid(f"the body ended before byte {end}, not before {span.stop}, as its Content-Range says")


def _span(call: Call) -> _Span | None:
    """Which bytes of the upload the client says that it sends. Raises RangeInvalid."""
    text = call.header(b"content-range")
    if not text:
        return None
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise RangeInvalid(f"invalid Content-Range {text[:80]!r}", hint="It is FIRST-LAST, in bytes.")
    first, last = int(found.group(1)), int(found.group(2))
    if last < first:
        raise RangeInvalid(f"the Content-Range {text[:80]!r} ends before it begins")
    return _Span(first, last + 1)


def _upload(call: Call) -> str:
    """Raises UploadUnknown: no other ids are given out."""
    if _UPLOAD.fullmatch(call.reference) is None:
        raise UploadUnknown("blob upload unknown to registry")
    return call.reference


def _accepted(status: int, name: str, upload: str, offset: int) -> Response:
    headers: list[Header] = [
        (b"location", f"/v2/{name}/blobs/uploads/{upload}".encode()),
        (b"range", b"0-%d" % max(0, offset - 1)),
        (b"docker-upload-uuid", upload.encode()),
    ]
    return Response(status, headers)


def _created(name: str, digest: Digest) -> Response:
    location = f"/v2/{name}/blobs/{digest}".encode()
    return Response(201, [(b"location", location), (b"docker-content-digest", digest.encode())])


# In threads.


def _mount(catalog: Catalog, call: Call, source: str, name: str, digest: Digest) -> bool:
    """Not from where the caller may not read: whether the blob is there must not be seen.

    Raises NotGranted where a token for the source, too, would be given.
    """
    if not source:
        found = catalog.blobs.source(digest, call.readable(catalog))
        return found is not None and catalog.blobs.mount(found, name, digest)
    if call.allows(catalog, PULL, source):
        return catalog.blobs.mount(source, name, digest)
    call.require_asking_again(catalog, PULL, source)
    return False


def _begun(catalog: Catalog, name: str, algorithm: str) -> tuple[str, int] | None:
    """Waits for nothing."""
    upload = catalog.uploads.begun(name, algorithm)
    return None if upload is None else (upload, catalog.uploads.least_chunk_bytes)


def _begin(catalog: Catalog, name: str, algorithm: str) -> tuple[str, int]:
    return catalog.uploads.begin(name, algorithm), catalog.uploads.least_chunk_bytes


def _receive(catalog: Catalog, name: str, upload: str, start: int | None, algorithm: str) -> Receiving:
    return catalog.uploads.receive(name, upload, start, algorithm)


def _receive_whole(catalog: Catalog, name: str, algorithm: str) -> Receiving:
    return catalog.uploads.receive_whole(name, algorithm)


def _append(catalog: Catalog, name: str, upload: str, start: int | None, body: bytes) -> int:
    received = _receive(catalog, name, upload, start, "")
    _commit(catalog, received, body)
    return received.offset_bytes


def _end_at_once(
    catalog: Catalog, digest: Digest, body: bytes, receive: Callable[..., Receiving], *arguments: object
) -> None:
    _end(catalog, receive(catalog, *arguments), body, digest)


def _put(catalog: Catalog, received: Receiving, portion: memoryview) -> None:
    received.write([portion])


def _commit(catalog: Catalog, received: Receiving, rest: bytes | memoryview) -> None:
    try:
        received.write([rest])
        received.commit()
    finally:
        received.close()


def _end(catalog: Catalog, received: Receiving, rest: bytes | memoryview, digest: Digest) -> None:
    try:
        received.write([rest])
        received.finish(digest)
    finally:
        received.close()


def _close(catalog: Catalog, received: Receiving) -> None:
    received.close()


def _offset(catalog: Catalog, name: str, upload: str) -> int:
    return catalog.uploads.offset(name, upload)


def _cancel(catalog: Catalog, name: str, upload: str) -> None:
    catalog.uploads.cancel(name, upload)
