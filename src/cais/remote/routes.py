"""Routes: where the images of a name really are, by ``registries.toml``. Pure but for reading the files.

The tables are those of containers-registries.conf(5), as far as they say where to go: ``[[registry]]`` with ``prefix``,
``location``, ``blocked``, ``insecure`` and ``[[registry.mirror]]``. The longest prefix that fits a name decides.
"""

from __future__ import annotations

from collections.abc import Sequence

from cais.errors import Denied, Invalid, from_os_error
from cais.spec.named import NamedTuple
from cais.spec.reference import DEFAULT_REGISTRY, Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE_LIMIT_BYTES = 1 << 20
_KEYS = ("prefix", "location", "blocked", "insecure", "fallback", "mirror")
_MIRROR_KEYS = ("location", "insecure", "pull-from-mirror")
_PULLS = ("all", "digest-only", "tag-only")


class Blocked(Denied):
    """The settings say that nobody is to be asked."""


class Route(NamedTuple):
    """A repository at a registry, which is asked for what another name means. ``insecure`` as in ``endpoint_of``."""

    registry: str
    repository: str
    insecure: bool = False


class Mirror(NamedTuple):
    """``pulls`` is of ``all`` names, of ``digest-only`` or ``tag-only``."""

    location: str
    insecure: bool = False
    pulls: str = "all"


class Rule(NamedTuple):
    """``prefix`` and ``location`` are a registry, and the beginning of repositories (``docker.io/library``).

    ``fallback``: whether the origin is asked after the mirrors.
    """

    prefix: str
    location: str
    blocked: bool = False
    insecure: bool = False
    fallback: bool = True
    mirrors: tuple[Mirror, ...] = ()
    file: str = ""


def read_rules(paths: Sequence[str]) -> tuple[Rule, ...]:
    """Of all files that are there; of an earlier one before those of a later one. Raises Invalid, Denied."""
    found: dict[str, Rule] = {}
    for path in paths:
        for rule in _read(path):
            found.setdefault(rule.prefix, rule)
    return tuple(found.values())


def routes(rules: Sequence[Rule], reference: Reference, *, pushing: bool = False) -> list[Route]:
    """Where to ask for a name, in this order. A push goes to the origin alone. Raises Blocked."""
    rule = _rule_of(rules, reference)
    if rule is None:
        return [Route(reference.registry, reference.repository)]
    if rule.blocked:
        raise Blocked(f"{reference.name} is blocked by {rule.file}", hint=f"The rule is that of {rule.prefix}.")
    found: list[Route] = []
    if not pushing:
        kind = "digest-only" if reference.digest is not None else "tag-only"
        found += [
            _moved(reference, rule.prefix, mirror.location, mirror.insecure)
            for mirror in rule.mirrors
            if mirror.pulls in ("all", kind)
        ]
    if rule.fallback or pushing or not found:
        found.append(_moved(reference, rule.prefix, rule.location, rule.insecure))
    # What is said of a place itself holds however one comes there.
    return [route._replace(insecure=route.insecure or is_insecure(rules, route)) for route in found]


def require_open(rules: Sequence[Rule], registry: str) -> None:
    """For what is asked of a registry as a whole. Raises Blocked."""
    rule = _rule_of(rules, Reference(registry, ""))
    if rule is not None and rule.blocked:
        raise Blocked(f"{registry} is blocked by {rule.file}", hint=f"The rule is that of {rule.prefix}.")


def is_insecure(rules: Sequence[Rule], route: Route) -> bool:
    """Whether the settings allow plain http, and any certificate, for a place."""
    rule = _rule_of(rules, Reference(route.registry, route.repository))
    return rule is not None and rule.insecure and rule.location == rule.prefix


def _rule_of(rules: Sequence[Rule], reference: Reference) -> Rule | None:
    fitting = [rule for rule in rules if _fits(rule.prefix, reference)]
    return max(fitting, key=lambda rule: len(rule.prefix), default=None)


def _fits(prefix: str, reference: Reference) -> bool:
    registry, _, path = prefix.partition("/")
    if registry.startswith("*."):
        if not reference.registry.endswith(registry[1:]):
            return False
    elif registry != reference.registry:
        return False
    return not path or reference.repository == path or reference.repository.startswith(path + "/")


def _moved(reference: Reference, prefix: str, location: str, insecure: bool) -> Route:
    """``location`` takes the place of ``prefix`` in the name."""
    if prefix == location or not location:
        return Route(reference.registry, reference.repository, insecure)
    path = prefix.partition("/")[2]
    rest = reference.repository[len(path) :].lstrip("/")
    registry, _, start = location.partition("/")
    repository = "/".join(part for part in (start, rest) if part)
    return Route("docker.io" if registry == "index.docker.io" else registry, repository, insecure)


def _read(path: str) -> list[Rule]:
    try:
        with open(path, "rb") as file:
            raw = file.read(FILE_LIMIT_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise from_os_error(error, f"read {path}")
    import tomllib

    if len(raw) > FILE_LIMIT_BYTES:
        raise Invalid(f"{path} is larger than {FILE_LIMIT_BYTES} bytes")
    try:
        fields = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path}: {error}")
    for key in fields:
        if key != "registry":
            raise Invalid(f"{path}: unknown table {key!r}", hint="The tables are [[registry]] and [[registry.mirror]].")
    tables = fields.get("registry", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise Invalid(f"{path}: registry is no list of tables", hint="It is written [[registry]].")
    rules = [_rule(table, path) for table in tables]
    prefixes = [rule.prefix for rule in rules]
    for prefix in prefixes:
        if prefixes.count(prefix) > 1:
            raise Invalid(f"{path}: two rules are for {prefix}")
    return rules


def _rule(table: dict[str, Any], path: str) -> Rule:
    _check_keys(table, _KEYS, path)
    location = _text(table, "location", path)
    prefix = _text(table, "prefix", path) or location
    if not prefix:
        raise Invalid(f"{path}: a [[registry]] has no prefix")
    _check_place(prefix, path, wildcard=True)
    if prefix.startswith("*."):
        if location:
            raise Invalid(f"{path}: {prefix} with a wildcard cannot have a location")
    elif location:
        _check_place(location, path)
    mirrors = table.get("mirror", [])
    if not isinstance(mirrors, list) or not all(isinstance(mirror, dict) for mirror in mirrors):
        raise Invalid(f"{path}: mirror of {prefix} is no list of tables", hint="It is written [[registry.mirror]].")
    return Rule(
        prefix,
        location or prefix,
        _flag(table, "blocked", False, path),
        _flag(table, "insecure", False, path),
        _flag(table, "fallback", True, path),
        tuple(_mirror(mirror, prefix, path) for mirror in mirrors),
        path,
    )


def _mirror(table: dict[str, Any], prefix: str, path: str) -> Mirror:
    _check_keys(table, _MIRROR_KEYS, path)
    location = _text(table, "location", path)
    if not location:
        raise Invalid(f"{path}: a mirror of {prefix} has no location")
    _check_place(location, path)
    pulls = _text(table, "pull-from-mirror", path) or "all"
    if pulls not in _PULLS:
        raise Invalid(f"{path}: pull-from-mirror is one of {', '.join(_PULLS)}, not {pulls!r}")
    return Mirror(location, _flag(table, "insecure", False, path), pulls)


def _check_keys(table: dict[str, Any], known: Sequence[str], path: str) -> None:
    for key in table:
        if key not in known:
            raise Invalid(f"{path}: unknown setting {key!r}", hint=f"The settings are {', '.join(known)}.")


def _check_place(place: str, path: str, *, wildcard: bool = False) -> None:
    """A registry, perhaps with the beginning of repositories."""
    if "://" in place:
        raise Invalid(f"{path}: {place!r} is a URL", hint="Write host:port; plain http is allowed by insecure = true.")
    registry, slash, rest = place.partition("/")
    checked = "x" + registry[1:] if wildcard and registry.startswith("*.") else registry
    try:
        parsed = Reference.parse(f"{checked}/{rest or 'x'}", default_tag="")
    except Invalid as error:
        raise Invalid(f"{path}: {place!r} is no registry with the beginning of repositories: {error.message}")
    if (slash and not rest) or (
        parsed.registry == DEFAULT_REGISTRY and checked not in ("docker.io", "index.docker.io")
    ):
        raise Invalid(f"{path}: {place!r} does not begin with a registry's host", hint="As in docker.io/library.")


def _text(table: dict[str, Any], key: str, path: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise Invalid(f"{path}: {key} is not a text")
    return value


def _flag(table: dict[str, Any], key: str, default: bool, path: str) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise Invalid(f"{path}: {key} is neither true nor false")
    return value
