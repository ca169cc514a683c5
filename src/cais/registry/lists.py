"""Lists, in pages: tags of a repository, referrers of a manifest, repositories."""

from __future__ import annotations

import json
from urllib.parse import quote

from cais.catalog import names
from cais.catalog.access import SEARCH
from cais.registry.call import BadRequest, Response
from cais.registry.failures import JSON_TYPE
from cais.spec import media_types as types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.catalog.catalog import Catalog
    from cais.catalog.manifests import ReferrerRow
    from cais.registry.call import Call, Header
    from cais.spec.digest import Digest

_DEFAULT_PAGE = 1000
_LONGEST_PAGE = 10_000
_LONGEST_SEARCH = 100


class PageInvalid(BadRequest):
    """The length of a page that is asked for is none."""

    code = "PAGINATION_NUMBER_INVALID"


async def tags(call: Call) -> Response:
    name = names.repository_name(call.repository)
    limit, behind = _page(call)
    found, more = await call.look(_tags, name, behind, limit)
    headers = _next(f"/v2/{name}/tags/list", limit, found) if more else []
    return _json(call, {"name": name, "tags": found}, headers)


async def referrers(call: Call) -> Response:
    """GET of the manifests that are about one, as an index (distribution-spec, listing referrers)."""
    name, subject = names.repository_name(call.repository), names.digest(call.reference)
    query = call.query()
    wanted = query.get("artifactType", "")
    found, more = await call.run(_referrers, name, subject, wanted, query.get("last", ""))
    manifests = [_descriptor(row) for row in found]
    headers: list[Header] = [(b"oci-filters-applied", b"artifactType")] if wanted else []
    if more:
        kept = f"&artifactType={quote(wanted, safe='')}" if wanted else ""
        headers.append(_link(f"/v2/{name}/referrers/{subject}?last={quote(found[-1].digest, safe='')}{kept}"))
    index = {"schemaVersion": 2, "mediaType": types.OCI_INDEX, "manifests": manifests}
    return _json(call, index, headers, types.OCI_INDEX.encode())


async def repositories(call: Call) -> Response:
    limit, behind = _page(call)
    found, more = await call.run(_repositories, call, behind, limit)
    return _json(call, {"repositories": found}, _next("/v2/_catalog", limit, found) if more else [])


async def first_version(call: Call) -> Response:
    """What ``docker search`` asks before: whether this speaks the first protocol. It tells nothing else."""
    return Response(200, [JSON_TYPE], b"{}")


async def search(call: Call) -> Response:
    """What the docker client's ``search HOST/TERM`` asks for."""
    if call.header(b"x-docker-token"):
        call.action = SEARCH  # this is Docker's daemon
    query = call.query()
    limit, _ = _page(call)
    term = query.get("q", "").lower()
    found, _ = await call.run(_repositories, call, "", min(limit, _LONGEST_SEARCH), term)
    results = [
        {"name": name, "description": "", "star_count": 0, "is_official": False, "is_automated": False}
        for name in found
    ]
    answer = {
        "query": query.get("q", ""), "num_pages": 1, "page": 1, "page_size": limit, "num_results": len(results),
        "results": results,
    }  # fmt: skip
    return _json(call, answer, [])


def _page(call: Call) -> tuple[int, str]:
    """How many, and behind which. Raises PageInvalid."""
    query = call.query()
    text = query.get("n", "")
    if not text:
        return _DEFAULT_PAGE, query.get("last", "")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise PageInvalid(f"invalid number of results requested: {text[:40]!r}", {"n": text[:40]})
    return min(int(text), _LONGEST_PAGE), query.get("last", "")


def _next(path: str, limit: int, found: list[str]) -> list[Header]:
    return [_link(f"{path}?n={limit}&last={quote(found[-1], safe='')}")] if found else []


def _link(url: str) -> Header:
    return b"link", f'<{url}>; rel="next"'.encode()


def _descriptor(row: ReferrerRow) -> dict[str, Any]:
    value: dict[str, Any] = {"mediaType": row.media_type, "digest": row.digest, "size": row.size_bytes}
    if row.artifact_type:
        value["artifactType"] = row.artifact_type
    if row.annotations:
        value["annotations"] = row.annotations
    return value


def _json(call: Call, value: object, headers: list[Header], media_type: bytes = b"application/json") -> Response:
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    found = [(b"content-type", media_type), *headers]
    if call.method == "HEAD":
        return Response(200, [*found, (b"content-length", b"%d" % len(body))])
    return Response(200, found, body)


# In threads.


def _tags(catalog: Catalog, name: str, behind: str, limit: int) -> tuple[list[str], bool]:
    return catalog.tags.page(name, behind, limit)


def _referrers(
    catalog: Catalog, name: str, subject: Digest, artifact_type: str, behind: str
) -> tuple[list[ReferrerRow], bool]:
    return catalog.manifests.referrers(name, subject, artifact_type, behind)


def _repositories(catalog: Catalog, call: Call, behind: str, limit: int, term: str = "") -> tuple[list[str], bool]:
    assert call.who is not None
    return catalog.tags.repositories(behind, limit, catalog.access.seen(call.who), term)
