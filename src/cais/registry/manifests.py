"""Manifests: PUT, GET, HEAD, DELETE, by tag or digest."""

from __future__ import annotations

from cais.catalog import names
from cais.catalog.errors import ManifestTooLarge, ManifestUnknown, TagInvalid
from cais.registry.blobs import matches
from cais.registry.call import Response

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.catalog.catalog import Catalog
    from cais.catalog.manifests import ManifestRow, Stored
    from cais.registry.call import Call, Header
    from cais.spec.digest import Digest

_MOST_TAGS = 100


async def get(call: Call) -> Response:
    """GET and HEAD of a manifest by tag or digest (distribution-spec, pulling manifests)."""
    name, reference = names.repository_name(call.repository), _reference(call)
    if call.method == "HEAD":
        row, is_old = await call.look(_glance, name, reference)
        if is_old:
            row = await call.run(_find, name, reference)
        content = b""
    else:
        row, content = await call.look(_get, name, reference)
    tag = f'"{row.digest}"'
    headers: list[Header] = [
        (b"content-type", row.media_type.encode()),
        (b"docker-content-digest", row.digest.encode()),
        (b"etag", tag.encode()),
    ]
    if matches(call.header(b"if-none-match"), tag):
        return Response(304, headers[1:])
    if call.method == "HEAD":
        headers.append((b"content-length", b"%d" % row.size_bytes))
    return Response(200, headers, content)


async def put(call: Call) -> Response:
    """PUT of a manifest under a tag, or its digest and tags (distribution-spec, pushing manifests)."""
    name = names.repository_name(call.repository)
    reference = call.reference
    digest = names.digest(reference) if ":" in reference else None
    # Tags in the query go with a digest (the next version of the specification, pushing manifests).
    tagged = list(dict.fromkeys(call.values("tag"))) if digest is not None else [reference]
    if len(tagged) > _MOST_TAGS:
        raise TagInvalid(f"a manifest is pushed with at most {_MOST_TAGS} tags at once")
    for tag in tagged:
        names.tag_name(tag)
    limit = await call.look(_limit)
    content = await call.body(limit, lambda: ManifestTooLarge(f"a manifest has at most {limit} bytes here"))
    media_type = call.header(b"content-type").partition(";")[0].strip()
    stored = await call.run(_put, name, content, media_type, tagged, digest)
    headers: list[Header] = [
        (b"location", f"/v2/{name}/manifests/{stored.digest}".encode()),
        (b"docker-content-digest", stored.digest.encode()),
    ]
    if stored.subject:
        headers.append((b"oci-subject", stored.subject.encode()))
    if digest is not None:
        headers += [(b"oci-tag", tag.encode()) for tag in tagged]
    if stored.missing:
        headers.append((b"warning", f'299 - "it refers to what is not here: {", ".join(stored.missing[:3])}"'.encode()))
    return Response(201, headers)


async def delete(call: Call) -> Response:
    """DELETE of a tag, or of a manifest by its digest (distribution-spec, content management)."""
    name, reference = names.repository_name(call.repository), _reference(call)
    await call.run(_delete, name, reference)
    return Response(202, [])


def _reference(call: Call) -> str:
    """Raises DigestInvalid; ManifestUnknown for what can be no tag: nothing is there, as clients are told elsewhere."""
    if ":" in call.reference:
        return names.digest(call.reference)
    try:
        return names.tag_name(call.reference)
    except TagInvalid as error:
        raise ManifestUnknown(error.message, {"reference": call.reference[:160]}) from None


# In threads.


def _glance(catalog: Catalog, name: str, reference: str) -> tuple[ManifestRow, bool]:
    return catalog.manifests.glance(name, reference)


def _find(catalog: Catalog, name: str, reference: str) -> ManifestRow:
    return catalog.manifests.find(name, reference)


def _get(catalog: Catalog, name: str, reference: str) -> tuple[ManifestRow, bytes]:
    return catalog.manifests.get(name, reference)


def _limit(catalog: Catalog) -> int:
    return catalog.manifests.limit_bytes


def _put(
    catalog: Catalog, name: str, content: bytes, media_type: str, tagged: list[str], digest: Digest | None
) -> Stored:
    return catalog.manifests.put(name, content, media_type, tagged=tagged, digest=digest)


def _delete(catalog: Catalog, name: str, reference: str) -> None:
    if ":" in reference:
        catalog.manifests.delete(name, names.digest(reference))
    else:
        catalog.tags.delete(name, reference)
