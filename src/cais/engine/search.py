"""Search: what repositories a registry has, by Docker's old protocol, or else by the names of its catalog."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import Invalid
from cais.spec.named import NamedTuple
from cais.spec.reference import DEFAULT_REGISTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
LIMIT = 100
_DEFAULT = 25
_KEYS = ("is-automated", "is-official", "stars")


class Found(NamedTuple):
    """One repository; ``name`` is as it is pulled."""

    name: str
    description: str
    stars: int
    is_official: bool


def search(
    stores: Stores, term: str, filters: Mapping[str, Sequence[str]] | None = None, limit: int = 0
) -> list[Found]:
    """``term`` may have a registry's host before a slash. The most stars first. Raises Invalid, Unavailable, ..."""

    if limit and not 1 <= limit <= LIMIT:
        raise Invalid(f"limit {limit} is outside the range of [1, {LIMIT}]")
    checked = _checked(filters or {})
    host, _, rest = term.partition("/")
    if not (rest and ("." in host or ":" in host or host == "localhost")) or host in ("docker.io", "index.docker.io"):
        host, rest = DEFAULT_REGISTRY, term.removeprefix("index.").removeprefix("docker.io/").removeprefix("library/")
    count = limit or _DEFAULT
    found = [
        Found(_named(item.name, host), item.description, item.stars, item.is_official)
        for item in stores.registries.search(host, rest, count)
    ]
    return sorted((item for item in found if _passes(item, checked)), key=lambda item: -item.stars)


def _named(name: str, host: str) -> str:
    return name if host == DEFAULT_REGISTRY or name.startswith(f"{host}/") else f"{host}/{name}"


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
        and not checked.get("is-automated", 0)  # there is nothing of the kind any more
    )
