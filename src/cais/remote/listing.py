"""Listing: which repositories a registry has, and which of them fit a word."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from cais.errors import CaisError, Corrupt, Denied, Invalid, NotFound, Unauthorized, Unsupported
from cais.remote.registry import pages
from cais.remote.transport import Transport
from cais.spec.encoding import decode_object
from cais.spec.named import NamedTuple

_LIMIT_BYTES = 8 << 20
_REPOSITORIES_LIMIT = 100_000


class Found(NamedTuple):
    """A repository that fits: ``name`` as people write it, without the registry."""

    name: str
    description: str = ""
    stars: int = 0
    is_official: bool = False


def repositories(transport: Transport, page: int = 1000) -> Iterator[str]:
    """All repositories, page by page. Raises Denied, Unsupported where the registry does not tell."""
    count = 0
    path = f"/v2/_catalog?n={page}"
    for fields in pages(transport, path, ("registry:catalog:*",), f"the catalog of {transport.endpoint.registry}"):
        names = fields.get("repositories")
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str):
                count += 1
                if count > _REPOSITORIES_LIMIT:
                    raise Corrupt(f"{transport.endpoint.registry} lists more than {_REPOSITORIES_LIMIT} repositories")
                yield name


def search(transport: Transport, term: str, limit: int) -> list[Found]:
    """At most ``limit`` repositories that fit ``term``, the registry's order kept (Docker's search, "v1").

    Where a registry cannot search, its catalog is looked through. Raises Invalid (no term), Unavailable, Unsupported.
    """
    if not term.strip():
        raise Invalid("a term to search for is needed")
    path = f"/v1/search?q={quote(term, safe='')}&n={limit}"
    try:
        raw, _ = transport.document(path, _LIMIT_BYTES, "the answer to the search")
        found = decode_object(raw, "the answer to the search", _LIMIT_BYTES).get("results")
        if not isinstance(found, list):
            raise Corrupt(f"{transport.endpoint.registry} did not answer the search with results")
        return [_found(item) for item in found[:limit] if isinstance(item, dict) and isinstance(item.get("name"), str)]
    except (NotFound, Unsupported, Corrupt) as error:
        return _of_catalog(transport, term, limit, error)


def _of_catalog(transport: Transport, term: str, limit: int, error: CaisError) -> list[Found]:
    found = []
    try:
        for name in repositories(transport):
            if term.lower() in name:
                found.append(Found(name))
                if len(found) >= limit:
                    break
    except (NotFound, Unsupported, Denied, Unauthorized):
        raise Unsupported(f"{transport.endpoint.registry} cannot be searched: {error.message}") from None
    return found


def _found(item: dict[str, object]) -> Found:
    description, stars = item.get("description"), item.get("star_count")
    return Found(
        _line(str(item["name"])),
        _line(description) if isinstance(description, str) else "",
        stars if isinstance(stars, int) and 0 <= stars < 1 << 53 else 0,
        item.get("is_official") is True,
    )


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text[:2000]).split())
