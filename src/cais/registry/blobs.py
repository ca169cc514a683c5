"""Blobs: GET (also of a range), HEAD, DELETE."""

from __future__ import annotations

import re

from cais.catalog import names
from cais.registry.call import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.catalog.blobs import OpenBlob
    from cais.catalog.catalog import Catalog
    from cais.registry.call import Call, Header
    from cais.spec.digest import Digest

# Smaller ones are read where they are looked up: sending a file of its own costs more than their bytes.
_SMALL_BYTES = 64 << 10
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_OCTETS = (b"content-type", b"application/octet-stream")


async def get(call: Call) -> Response:
    """GET and HEAD of a blob, or of a part of it (distribution-spec, pulling blobs; RFC 9110 section 14)."""
    digest = names.digest(call.reference)
    tag = f'"{digest}"'
    headers: list[Header] = [
        _OCTETS,
        (b"docker-content-digest", digest.encode()),
        (b"etag", tag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", b"max-age=31536000"),
    ]
    name = names.repository_name(call.repository)
    if call.method == "HEAD":
        size, is_old = await call.look(_glance, name, digest)
        if is_old:
            await call.run(_size, name, digest)
        return Response(200, [*headers, (b"content-length", b"%d" % size)])
    if matches(call.header(b"if-none-match"), tag):
        await call.look(_glance, name, digest)
        return Response(304, headers[1:])
    return await call.look(_open, name, digest, call.header(b"range"), headers)


async def delete(call: Call) -> Response:
    digest = names.digest(call.reference)
    await call.run(_delete, names.repository_name(call.repository), digest)
    return Response(202, [(b"docker-content-digest", digest.encode())])


def matches(condition: str, tag: str) -> bool:
    """Whether an If-None-Match names this entity tag."""
    return bool(condition) and any(one.strip().removeprefix("W/") in (tag, "*") for one in condition.split(","))


def _glance(catalog: Catalog, repository: str, digest: Digest) -> tuple[int, bool]:
    return catalog.blobs.glance(repository, digest)


def _size(catalog: Catalog, repository: str, digest: Digest) -> int:
    return catalog.blobs.size(repository, digest)


def _delete(catalog: Catalog, repository: str, digest: Digest) -> None:
    catalog.blobs.delete(repository, digest)


def _open(catalog: Catalog, repository: str, digest: Digest, wanted: str, headers: list[Header]) -> Response:
    blob = catalog.blobs.open(repository, digest)
    try:
        response = _answer(blob, wanted, headers)
    except BaseException:
        blob.close()
        raise
    if response.blob is None:
        blob.close()
    return response


def _answer(blob: OpenBlob, wanted: str, headers: list[Header]) -> Response:
    if blob.link:
        return Response(307, [(b"location", blob.link.encode())])
    span = _span(wanted, blob.size_bytes)
    if span is None:
        return Response(416, [(b"content-range", b"bytes */%d" % blob.size_bytes)])
    start, stop, is_part = span
    if is_part:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, blob.size_bytes)))
    response = Response(206 if is_part else 200, headers)
    response.start, response.length = start, stop - start
    if response.length <= _SMALL_BYTES:
        response.body = b"".join(blob.read(start, stop))
    else:
        response.blob = blob
    return response


def _span(wanted: str, size: int) -> tuple[int, int, bool] | None:
    """From where, to before where, and whether that is what was asked for; None where none of these bytes is there.

    What is no single range means all of it (RFC 9110, 14.2).
    """
    found = _RANGE.fullmatch(wanted.replace(" ", "")) if wanted else None
    first, last = found.groups() if found is not None else ("", "")
    if not first and not last:
        return 0, size, False
    if not first:
        length = min(int(last), size)
        return (size - length, size, True) if length else None
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    return (start, stop, True) if start < stop else None
