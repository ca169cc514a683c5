"""Search: what repositories a registry has, by Docker's old protocol, or else by the names of its catalog."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import Corrupt, Invalid, NotFound, Unsupported
from cais.spec.named import NamedTuple
from cais.spec.reference import DEFAULT_REGISTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cais.remote.transport import Transport

LIMIT = 100
_DEFAULT = 25
_ANSWER_BYTES = 4 << 20
_KEYS = ("is-automated", "is-official", "stars")
# Docker's own registry searches at another host than it stores.
_HUB = "index.docker.io"


class Found(NamedTuple):
    """One repository; ``name`` is as it is pulled."""

    name: str
    description: str
    stars: int
    is_official: bool
    is_automated: bool


def search(
    stores: Stores, term: str, filters: Mapping[str, Sequence[str]] | None = None, limit: int = 0
) -> list[Found]:
    """``term`` may have a registry's host before a slash. The most stars first. Raises Invalid, Unavailable, ..."""
    from urllib.parse import quote

    if limit and not 1 <= limit <= LIMIT:
        raise Invalid(f"limit {limit} is outside the range of [1, {LIMIT}]")
    checked = _checked(filters or {})
    host, _, rest = term.partition("/")
    if not (rest and ("." in host or ":" in host or host == "localhost")) or host in ("docker.io", _HUB):
        host, rest = DEFAULT_REGISTRY, term.removeprefix("docker.io/").removeprefix("library/")
    transport = stores.registries.transport(_HUB if host == DEFAULT_REGISTRY else host)
    count = limit or _DEFAULT
    try:
        answer = _asked(transport, f"/v1/search?q={quote(rest, safe='')}&n={count}", host)
        found = [_found(item, host) for item in answer.get("results") or () if isinstance(item, dict)]
    except (NotFound, Unsupported):
        if host == DEFAULT_REGISTRY:
            raise
        found = _from_catalog(transport, rest, host)
    passing = [item for item in found if item.name and _passes(item, checked)]
    return sorted(passing, key=lambda item: -item.stars)[:count]


def _asked(transport: Transport, path: str, host: str) -> Mapping[str, Any]:
    from cais.remote.answers import read_document
    from cais.spec.encoding import decode_object

    what = f"what {host} found"
    with transport.request("GET", path, headers={"Accept": "application/json"}) as response:
        return decode_object(read_document(response, _ANSWER_BYTES, what), what, _ANSWER_BYTES)


def _found(item: Mapping[str, Any], host: str) -> Found:
    name, description, stars = item.get("name"), item.get("description"), item.get("star_count")
    if not isinstance(name, str):
        raise Corrupt(f"{host} found something without a name")
    return Found(
        name if host == DEFAULT_REGISTRY or name.startswith(f"{host}/") else f"{host}/{name}",
        description if isinstance(description, str) else "",
        stars if isinstance(stars, int) else 0,
        item.get("is_official") is True,
        item.get("is_automated") is True,
    )


def _from_catalog(transport: Transport, term: str, host: str) -> list[Found]:
    """Of a registry that cannot search: its repositories with ``term`` in their names."""
    from cais.remote.registry import pages

    names = []
    for fields in pages(transport, "/v2/_catalog?n=1000", ("registry:catalog:*",), f"the catalog of {host}"):
        listed = fields.get("repositories")
        names += [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    return [Found(f"{host}/{name}", "", 0, False, False) for name in names if term in name]


def _checked(filters: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """By key: the least number of stars, or 1 and 0 for true and false."""
    checked: dict[str, int] = {}
    for key, values in filters.items():
        if key not in _KEYS:
            raise Invalid(f"invalid filter '{key}'")
        for value in values:
            if key == "stars":
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise Invalid(f"invalid filter 'stars=[{value}]'")
                checked[key] = max(int(value), checked.get(key, 0))
            elif value in ("true", "1", "false", "0"):
                checked[key] = int(value in ("true", "1"))
            else:
                raise Invalid(f"invalid filter '{key}=[{value}]'")
    return checked


def _passes(item: Found, checked: Mapping[str, int]) -> bool:
    return (
        item.stars >= checked.get("stars", 0)
        and int(item.is_official) == checked.get("is-official", int(item.is_official))
        and int(item.is_automated) == checked.get("is-automated", int(item.is_automated))
    )
