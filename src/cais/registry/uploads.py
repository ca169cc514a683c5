"""Uploads: POST begins one (or mounts, or takes a whole blob), PATCH appends, PUT finishes, GET says how far it is."""

from __future__ import annotations

import asyncio
import re

from cais.catalog import names
from cais.catalog.access import PULL
from cais.catalog.errors import DigestInvalid, RangeInvalid, SizeInvalid, UploadInvalid, UploadUnknown
from cais.registry.call import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable

    from cais.catalog.catalog import Catalog
    from cais.catalog.uploads import Receiving
    from cais.registry.call import Call, Header
    from cais.spec.digest import Digest

# What is hashed and written at once: the larger, the fewer times one thread waits for another; of all bodies that come
# in at a time so much is held in memory.
_LEAST_PIECE_BYTES, _MOST_PIECE_BYTES = 256 << 10, 4 << 20
_HELD_BYTES = 32 << 20
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?(\d{1,19})-(\d{1,19})(?:/(?:\d+|\*))?")
_UPLOAD = re.compile(r"[0-9a-f]{32}")


async def begin(call: Call) -> Response:
    name = names.repository_name(call.repository)
    query = call.query()
    if "mount" in query:
        digest = names.digest(query["mount"])
        source = query.get("from", "")
        if await call.run(_mount, call, names.repository_name(source) if source else "", name, digest):
            return _created(name, digest)
    elif "digest" in query:
        digest = names.digest(query["digest"])
        received = await call.run(_receive_whole, name, digest.algorithm)
        return await _finish(call, received, name, digest)
    algorithm = query.get("digest-algorithm", "")
    if algorithm and algorithm not in names.ALGORITHMS:
        raise DigestInvalid(f"unsupported digest algorithm {algorithm[:40]!r}", {"supported": names.ALGORITHMS})
    upload = await call.run(_begin, name, algorithm)
    return _accepted(202, name, upload, 0)


async def append(call: Call) -> Response:
    name, upload = names.repository_name(call.repository), _upload(call)
    start = _start(call)
    received = await call.run(_receive, name, upload, start, "")
    rest: list[bytes] = []
    try:
        await _write(call, received, rest)
        _check_length(call, received, rest)
    finally:
        # Also of a request that broke off: the client goes on from the byte that it is told.
        await call.run(_commit, received, rest)
    return _accepted(202, name, upload, received.offset_bytes)


async def finish(call: Call) -> Response:
    name, upload = names.repository_name(call.repository), _upload(call)
    given = call.query().get("digest", "")
    if not given:
        raise DigestInvalid("the digest of the upload is missing")
    digest = names.digest(given)
    received = await call.run(_receive, name, upload, _start(call), digest.algorithm)
    return await _finish(call, received, name, digest)


async def status(call: Call) -> Response:
    name, upload = names.repository_name(call.repository), _upload(call)
    return _accepted(204, name, upload, await call.run(_offset, name, upload))


async def cancel(call: Call) -> Response:
    name, upload = names.repository_name(call.repository), _upload(call)
    await call.run(_cancel, name, upload)
    return Response(204, [])


async def _finish(call: Call, received: Receiving, name: str, digest: Digest) -> Response:
    rest: list[bytes] = []
    try:
        await _write(call, received, rest)
        _check_length(call, received, rest)
    except BaseException:
        await call.run(_close, received)
        raise
    await call.run(_end, received, rest, digest)
    return _created(name, digest)


async def _write(call: Call, received: Receiving, rest: list[bytes]) -> None:
    """The body, in pieces of about a MiB: while one is hashed and written, the next one comes in. What is left of it
    is in ``rest``, to be written with what has to be done then."""
    size, more = 0, True
    most = max(_LEAST_PIECE_BYTES, min(_MOST_PIECE_BYTES, _HELD_BYTES // call.running))
    writing: Awaitable[None] | None = None
    try:
        while more:
            piece, more = await call.piece()
            if piece:
                rest.append(piece)
                size += len(piece)
            if size >= most:
                if writing is not None:
                    await writing
                writing = asyncio.ensure_future(call.run(_put, received, rest[:]))
                rest.clear()
                size = 0
    finally:
        try:
            if writing is not None:
                await writing
        except BaseException:
            rest.clear()  # what stands behind bytes that were not written is worth nothing
            raise


def _start(call: Call) -> int | None:
    """Where the client says that its bytes begin. Raises UploadInvalid, RangeInvalid, SizeInvalid."""
    text = call.header(b"content-range")
    if not text:
        return None
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise UploadInvalid(f"invalid Content-Range {text[:80]!r}", hint="It is FIRST-LAST, in bytes.")
    first, last = int(found.group(1)), int(found.group(2))
    length = call.content_length()
    if last < first:
        raise RangeInvalid(f"the Content-Range {text[:80]!r} ends before it begins")
    if length is not None and length != last - first + 1:
        raise SizeInvalid(f"the Content-Range {text[:80]!r} is not of {length} bytes, as Content-Length says")
    return first


def _check_length(call: Call, received: Receiving, rest: list[bytes]) -> None:
    """A chunk without a length whose Content-Range said another one. Raises SizeInvalid."""
    text = call.header(b"content-range")
    found = _CONTENT_RANGE.fullmatch(text.strip()) if text else None
    end = received.offset_bytes + sum(map(len, rest))
    if found is not None and end != int(found.group(2)) + 1:
        raise SizeInvalid(f"the body ended at byte {end}, the Content-Range is {text[:80]!r}")


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
    if status != 204:
        headers.append((b"content-length", b"0"))
    return Response(status, headers)


def _created(name: str, digest: Digest) -> Response:
    location = f"/v2/{name}/blobs/{digest}".encode()
    return Response(201, [(b"location", location), (b"docker-content-digest", digest.encode())])


# In threads.


def _mount(catalog: Catalog, call: Call, source: str, name: str, digest: Digest) -> bool:
    """Not from where the caller may not read: whether the blob is there must not be seen."""

    def readable(repository: str) -> bool:
        return call.allows(catalog, PULL, repository)

    found = source if source and readable(source) else None
    if not source:
        found = catalog.blobs.source(digest, readable)
    return found is not None and catalog.blobs.mount(found, name, digest)


def _begin(catalog: Catalog, name: str, algorithm: str) -> str:
    return catalog.uploads.begin(name, algorithm)


def _receive(catalog: Catalog, name: str, upload: str, start: int | None, algorithm: str) -> Receiving:
    return catalog.uploads.receive(name, upload, start, algorithm)


def _receive_whole(catalog: Catalog, name: str, algorithm: str) -> Receiving:
    return catalog.uploads.receive_whole(name, algorithm)


def _put(catalog: Catalog, received: Receiving, pieces: list[bytes]) -> None:
    received.write(pieces)


def _commit(catalog: Catalog, received: Receiving, rest: list[bytes]) -> None:
    try:
        received.write(rest)
        received.commit()
    finally:
        received.close()


def _end(catalog: Catalog, received: Receiving, rest: list[bytes], digest: Digest) -> None:
    try:
        received.write(rest)
        received.finish(digest)
    finally:
        received.close()


def _close(catalog: Catalog, received: Receiving) -> None:
    received.close()


def _offset(catalog: Catalog, name: str, upload: str) -> int:
    return catalog.uploads.offset(name, upload)


def _cancel(catalog: Catalog, name: str, upload: str) -> None:
    catalog.uploads.cancel(name, upload)
