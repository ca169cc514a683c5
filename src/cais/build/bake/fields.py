"""What a target may say: the kinds of its fields, and how two of the same name become one."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from cais.build.bake import entries
from cais.build.hcl.values import kind, text, truth
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Target = dict[str, "Any"]


class Field(NamedTuple):
    """``form`` is text, flag, texts, entries (texts that may be written as objects) or map; ``merge`` says what a later
    value does: replace, append, update."""

    form: str
    merge: str = "replace"


# In the order in which --print has them.
FIELDS: Mapping[str, Field] = {
    "description": Field("text"),
    "inherits": Field("texts", "append"),
    "annotations": Field("texts", "append"),
    "attest": Field("entries", "append"),
    "context": Field("text"),
    "contexts": Field("map", "update"),
    "dockerfile": Field("text"),
    "dockerfile-inline": Field("text"),
    "args": Field("map", "update"),
    "labels": Field("map", "update"),
    "tags": Field("texts"),
    "cache-from": Field("entries", "append"),
    "cache-to": Field("entries"),
    "target": Field("text"),
    "secret": Field("entries", "append"),
    "ssh": Field("entries", "append"),
    "platforms": Field("texts"),
    "output": Field("entries"),
    "pull": Field("flag"),
    "no-cache": Field("flag"),
    "network": Field("text"),
    "no-cache-filter": Field("texts", "append"),
    "shm-size": Field("text"),
    "ulimits": Field("texts", "append"),
    "call": Field("text"),
    "entitlements": Field("texts", "append"),
    "extra-hosts": Field("map", "update"),
}
# What a "$" and a brace in would be read as an expression, when what --print shows is read again.
_ESCAPED = ("annotations", "dockerfile-inline", "labels", "args", "extra-hosts")


def decoded(name: str, value: Any) -> Any:
    """A value of a file as the field ``name`` has it. Raises Invalid."""
    form = FIELDS[name].form
    if value is None:
        return None
    if form == "text":
        return text(value)
    if form == "flag":
        return truth(value)
    if form == "map":
        if not isinstance(value, dict):
            raise Invalid(f"a map is required, not {kind(value)}")
        return {key: None if item is None else text(item) for key, item in value.items()}
    if not isinstance(value, list):
        raise Invalid(f"a list of strings is required, not {kind(value)}")
    if form == "entries":
        return [_entry(name, item) for item in value]
    return ["" if item is None else text(item) for item in value]


def _entry(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return "" if value is None else text(value)
    return entries.written(name, value)


def merge(into: Target, other: Target) -> None:
    """What ``other`` says too."""
    for name, value in other.items():
        if value is None:
            continue
        how = FIELDS[name].merge
        if how == "append":
            into[name] = [*into.get(name, ()), *value]
        elif how == "update":
            said = {key: item for key, item in value.items() if item is not None}
            if said:
                into[name] = {**into.get(name, {}), **said}
        else:
            into[name] = value


def normalized(target: Target) -> Target:
    """Each once, and nothing that says nothing. Raises Invalid."""
    found = dict(target)
    for name, field in FIELDS.items():
        value = found.get(name)
        if value is None:
            continue
        if field.form == "entries":
            found[name] = entries.each_once(name, value)
        elif field.form == "texts":
            found[name] = list(dict.fromkeys(item for item in value if item))
    if found.get("contexts"):
        found["contexts"] = {name: value for name, value in found["contexts"].items() if value}
    return found


def shown(target: Target) -> dict[str, Any]:
    """What ``--print`` has of it."""
    found: dict[str, Any] = {}
    for name in FIELDS:
        value = target.get(name)
        if value is None or value in ([], {}) or name == "inherits":
            continue
        if isinstance(value, dict):
            value = dict(sorted(value.items()))
        if FIELDS[name].form == "entries":
            value = [entries.read(name, entry) for entry in value]
        elif name == "context":
            value = _cleaned(str(value))
        found[name] = _escaped(value) if name in _ESCAPED else value
    return found


def _cleaned(path: str) -> str:
    """A directory by its shortest name; what is none as it is."""
    if path.startswith("cwd://"):
        return posixpath.normpath(path.removeprefix("cwd://") or ".")
    return path if "://" in path or path.startswith("git@") else posixpath.normpath(path)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, Sequence) else value
