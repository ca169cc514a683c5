"""The targets that are asked for, as they are built: what they inherit, what overrides and what links them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.build.bake.definition import Definition
from cais.build.bake.entries import each_once, read, written
from cais.build.bake.fields import Target, merge, normalized
from cais.errors import Invalid, NotFound
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LINK = "target:"
_SEVERAL = {  # what --set may say more than once, and the field that it is of
    "output": "output", "cache-to": "cache-to", "cache-from": "cache-from", "tags": "tags", "platform": "platforms",
    "secrets": "secret", "secret": "secret", "ssh": "ssh", "attest": "attest", "entitlements": "entitlements",
    "annotations": "annotations", "no-cache-filter": "no-cache-filter", "ulimits": "ulimits",
}  # fmt: skip
_ADDED = ("attest", "entitlements", "annotations")  # to what is there, with or without "+="
_NAMED = ("args", "contexts", "labels", "extra-hosts")
_TEXTS = ("context", "dockerfile", "dockerfile-inline", "target", "call", "shm-size", "network", "description")
_FLAGS = ("no-cache", "pull", "push", "load")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


class Chosen(NamedTuple):
    """``targets`` in the order in which they can be built: what others are linked to first. ``linked`` are those that
    nobody asked for by name."""

    groups: Mapping[str, Sequence[str]]
    targets: Mapping[str, Target]
    linked: frozenset[str]

    def shown(self) -> dict[str, Any]:
        """What ``--print`` has."""
        from cais.build.bake.fields import shown

        groups = {name: {"targets": list(targets)} for name, targets in sorted(self.groups.items())}
        return {"group": groups, "target": {name: shown(self.targets[name]) for name in sorted(self.targets)}}


def choose(definition: Definition, names: Sequence[str], sets: Sequence[str], environment: Mapping[str, str]) -> Chosen:
    """``names`` are targets, groups or patterns; ``sets`` are ``PATTERN.KEY=VALUE``. Raises NotFound, Invalid."""
    overrides = _overrides(definition, sets, environment)
    asked = list(
        dict.fromkeys(found for name in names or ("default",) for found in _matching(definition, sanitized(name)))
    )
    groups: dict[str, list[str]] = {}
    wanted: list[str] = []
    for name in asked:
        wanted += _members(definition, name, groups, ())
    if asked != ["default"] or "default" not in groups:
        own = [name for name in asked if name != "default" or "default" not in groups]
        groups["default"] = sorted({*groups.get("default", ()), *own})
    resolved = _Resolved(definition, overrides)
    order: dict[str, Target] = {}
    for name in dict.fromkeys(wanted):
        resolved.link(name, order, ())
    linked = frozenset(order) - frozenset(wanted)
    for name in linked:
        order[name] = {**order[name], "output": ["type=cacheonly"]}
    epoch = environment.get("SOURCE_DATE_EPOCH")
    for target in order.values():
        for field in ("context", "dockerfile"):
            if target.get(field) == "-" and "dockerfile-inline" not in target:
                raise Invalid(f"{field} from stdin not allowed in bake")
        if epoch:
            target["args"] = {"SOURCE_DATE_EPOCH": epoch, **(target.get("args") or {})}
    return Chosen(groups, order, linked)


def sanitized(name: str) -> str:
    """A service's name as one of a target."""
    return name.replace(".", "_")


def _matching(definition: Definition, pattern: str) -> list[str]:
    if not any(char in pattern for char in "*?[]"):
        return [pattern]
    found = [name for name in (*definition.groups, *definition.targets) if _matches(name, pattern)]
    if not found:
        raise NotFound(f"could not find any target matching {pattern!r}")
    return found


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def _members(definition: Definition, name: str, groups: dict[str, list[str]], above: tuple[str, ...]) -> list[str]:
    """The targets of ``name``, a group or a target."""
    if name not in definition.groups or name in above:
        return [] if name in above else [name]
    groups[name] = definition.groups[name]
    found: list[str] = []
    for member in definition.groups[name]:
        # A target of the name of its group is meant by it.
        if member == name and name in definition.targets:
            found.append(name)
        else:
            found += _members(definition, member, groups, (*above, name))
    return found


class _Resolved:
    def __init__(self, definition: Definition, overrides: Mapping[str, Sequence[_Override]]) -> None:
        self._definition = definition
        self._overrides = overrides

    def link(self, name: str, order: dict[str, Target], above: tuple[str, ...]) -> Target:
        """``name`` in ``order``, behind what it is linked to."""
        if name in order:
            return order[name]
        target = self._target(name, ())
        target.setdefault("context", ".")
        if not target.get("dockerfile"):
            target["dockerfile"] = "Dockerfile"
        above = (*above, name)
        for value in (target.get("contexts") or {}).values():
            if not value.startswith(_LINK):
                continue
            other = value[len(_LINK) :]
            if other == name:
                raise Invalid(f"target {name} cannot link to itself")
            if other in above:
                raise Invalid(f"infinite loop from {name} to {other}")
            linked = self.link(other, order, above)
            if linked.get("entitlements"):
                target["entitlements"] = list(dict.fromkeys([*target.get("entitlements", ()), *linked["entitlements"]]))
            own, there = target.get("platforms") or (), linked.get("platforms") or ()
            if len(own) > 1 and len(there) > 1 and not set(own) <= set(there):
                raise Invalid(
                    f"target {other} can't be used by {name} because its platforms {_list(there)} are not a subset of "
                    f"{_list(own)}"
                )
        order[name] = target
        return target

    def _target(self, name: str, above: tuple[str, ...]) -> Target:
        own = self._definition.targets.get(name)
        if own is None:
            from cais.build.dockerfile.errors import nearest

            near = nearest(name, (*self._definition.targets, *self._definition.groups))
            raise NotFound(f"failed to find target {name}", hint=f"Did you mean {near}?" if near else "")
        found: Target = {}
        for parent in own.get("inherits") or ():
            if parent != name and parent not in above:
                merge(found, self._target(parent, (*above, name)))
        merge(found, own)
        for override in self._overrides.get(name, ()):
            override.apply(found)
        found = normalized(found)
        if found.get("network") == "host":
            found["entitlements"] = list(dict.fromkeys([*found.get("entitlements", ()), "network.host"]))
        found.pop("inherits", None)
        return found


class _Override(NamedTuple):
    """``KEY[.NAME]`` and its values; ``add`` where ``+=`` was said."""

    key: str
    name: str
    values: Sequence[str]
    add: bool

    def apply(self, target: Target) -> None:
        """Raises Invalid."""
        if self.key in _SEVERAL:
            field = _SEVERAL[self.key]
            add = self.add or self.key in _ADDED
            target[field] = [*(target.get(field) or () if add else ()), *self.values]
        elif self.key in _NAMED:
            target[self.key] = {**(target.get(self.key) or {}), self.name: self.values[-1]}
        elif self.key in _TEXTS:
            target[self.key] = self.values[-1]
        else:
            value = self.values[-1]
            if value not in _TRUE and value not in _FALSE:
                raise Invalid(f"invalid value {value} for boolean key {self.key}")
            if self.key in ("push", "load"):
                _set_output(target, self.key, value in _TRUE)
            else:
                target[self.key] = value in _TRUE


def _set_output(target: Target, key: str, wanted: bool) -> None:
    """``--push`` and ``--load`` for one target: the images that it puts out are pushed, or one is put out for it.

    What puts out something else than images is left at that.
    """
    outputs = each_once("output", target.get("output") or ())
    said = [read("output", entry) for entry in outputs]
    if key == "load":
        here = any(entry["type"] == "docker" and "dest" not in entry for entry in said)
        if wanted and not here and all(entry["type"] in ("docker", "image", "registry", "oci") for entry in said):
            outputs.append("type=docker")
    elif not wanted:
        outputs = [_pushing(entry, "false") for entry in said if entry["type"] != "registry"]
    else:
        outputs = [_pushing(entry, "true") for entry in said]
        if all(entry["type"] == "docker" for entry in said):
            outputs.append("type=image,push=true")
    target["output"] = outputs


def _pushing(entry: dict[str, Any], push: str) -> str:
    return written("output", {**entry, "push": push} if entry["type"] == "image" else entry)


def _overrides(
    definition: Definition, sets: Sequence[str], environment: Mapping[str, str]
) -> dict[str, list[_Override]]:
    found: dict[str, dict[tuple[str, str], _Override]] = {}
    for text in sets:
        left, equals, value = text.partition("=")
        path = left.removesuffix("+")
        pattern, _, rest = path.partition(".")
        key, dot, name = rest.partition(".")
        if not key:
            raise Invalid(f"invalid override key {path}, expected target.name")
        if key not in _SEVERAL and key not in _NAMED and key not in _TEXTS and key not in _FLAGS:
            raise Invalid(
                f"unknown key: {key}", hint=f"Known: {', '.join(sorted({*_SEVERAL, *_NAMED, *_TEXTS, *_FLAGS}))}."
            )
        if key in _NAMED and not name:
            raise Invalid(f"invalid key {left}, {key} requires name")
        if key not in _NAMED and dot:
            raise Invalid(f"invalid override key {path}, expected target.name")
        if not equals:
            if key != "args":
                raise Invalid(f"invalid override {text}, expected target.name=value")
            if name not in environment:
                continue
            value = environment[name]
        for target in _expanded(definition, pattern):
            known = found.setdefault(target, {})
            before = known.get((key, name))
            several = before.values if before is not None and key in _SEVERAL else ()
            known[key, name] = _Override(key, name, (*several, value), left.endswith("+"))
    return {target: list(known.values()) for target, known in found.items()}


def _expanded(definition: Definition, pattern: str) -> list[str]:
    if pattern in definition.targets:
        return [pattern]
    found = [name for name in definition.targets if _matches(name, pattern)]
    if not found:
        raise NotFound(f"could not find any target matching '{pattern}'")
    return found


def _list(items: Sequence[str]) -> str:
    return f"[{' '.join(items)}]"
