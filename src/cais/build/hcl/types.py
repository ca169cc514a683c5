"""Types of variables: ``string``, ``list(number)``, ``object({name = string})`` and values made to be of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.build.hcl import syntax
from cais.build.hcl.values import kind, number, same, text, truth
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PRIMITIVES = ("string", "number", "bool", "any")
_COLLECTIONS = ("list", "set", "map", "tuple", "object")


class Type(NamedTuple):
    """``of`` are the types of what is in it, ``names`` those of an object."""

    name: str
    of: Sequence[Type] = ()
    names: Mapping[str, Type] = {}
    optional: bool = False

    def __str__(self) -> str:
        inner = ", ".join(str(item) for item in self.of)
        if self.name == "object":
            inner = "{" + ", ".join(f"{name} = {item}" for name, item in self.names.items()) + "}"
        elif self.name == "tuple":
            inner = f"[{inner}]"
        return f"{self.name}({inner})" if inner else self.name


def type_of(node: Any) -> Type:
    """What a type expression says. Raises Invalid."""
    if isinstance(node, syntax.Template) and len(node.parts) == 1:
        node = node.parts[0]
    if isinstance(node, syntax.Name) and node.name in _PRIMITIVES:
        return Type(node.name)
    if isinstance(node, syntax.Name) and node.name in ("list", "set", "map"):
        return Type(node.name, (Type("any"),))
    if isinstance(node, syntax.Call) and len(node.arguments) >= 1:
        inner = node.arguments[0]
        if node.name in ("list", "set", "map") and len(node.arguments) == 1:
            return Type(node.name, (type_of(inner),))
        if node.name == "tuple" and isinstance(inner, syntax.ListOf):
            return Type("tuple", tuple(type_of(item) for item in inner.items))
        if node.name == "object" and isinstance(inner, syntax.ObjectOf):
            return Type("object", names={str(key.value): type_of(value) for key, value in inner.pairs})
        if node.name == "optional":
            return type_of(inner)._replace(optional=True)
    raise Invalid(
        "invalid type specification", hint=f"Types are {', '.join(_PRIMITIVES)}, and {', '.join(_COLLECTIONS)} of them."
    )


def convert(value: Any, wanted: Type) -> Any:
    """``value`` as one of ``wanted``. Raises Invalid."""
    name = wanted.name
    if value is None or name == "any":
        return value
    if name == "string":
        return text(value)
    if name == "number":
        return number(value)
    if name == "bool":
        return truth(value)
    if name in ("list", "set", "tuple"):
        if not isinstance(value, list):
            raise Invalid(f"{name} required, not {kind(value)}")
        if name == "tuple":
            if len(value) != len(wanted.of):
                raise Invalid(f"tuple of {len(wanted.of)} elements required, not of {len(value)}")
            return [convert(item, type) for item, type in zip(value, wanted.of, strict=True)]
        items = [convert(item, wanted.of[0]) for item in value]
        return distinct(items) if name == "set" else items
    if not isinstance(value, dict):
        raise Invalid(f"{name} required, not {kind(value)}")
    if name == "map":
        return {key: convert(item, wanted.of[0]) for key, item in value.items()}
    missing = [key for key, type in wanted.names.items() if key not in value and not type.optional]
    if missing:
        raise Invalid(f"attribute {missing[0]!r} is required")
    return {key: convert(value.get(key), type) for key, type in wanted.names.items()}


def from_environment(name: str, given: str, wanted: Type) -> Any:
    """The variable ``name`` of the environment; of a list or set the fields of a line of CSV. Raises Invalid."""
    if wanted.name in ("string", "any"):
        return given
    if wanted.name == "bool":
        if given in ("1", "t", "T", "TRUE", "true", "True"):
            return True
        if given in ("0", "f", "F", "FALSE", "false", "False"):
            return False
        raise Invalid(f"failed to parse {name} as bool, it is {given[:80]!r}")
    if wanted.name == "number":
        try:
            return number(given)
        except Invalid:
            raise Invalid(f"failed to parse {name} as number, it is {given[:80]!r}")
    if wanted.name in ("list", "set", "tuple"):
        import csv

        fields = next(csv.reader([given]), []) if given else []
        of = wanted.of if wanted.name == "tuple" else [wanted.of[0]] * len(fields)
        if len(of) != len(fields):
            raise Invalid(f"{wanted} has {len(of)} elements, not {len(fields)}")
        items = [from_environment(name, field, type) for field, type in zip(fields, of, strict=True)]
        return distinct(items) if wanted.name == "set" else items
    raise Invalid(
        f"a {wanted.name} cannot be written so", hint="Give it as JSON, in a variable whose name ends in _JSON."
    )


def distinct(items: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for item in items:
        if not any(same(item, other) for other in found):
            found.append(item)
    return found


def implied(value: Any) -> Type:
    """The type of a default, which a variable of the environment is read as."""
    if isinstance(value, list):
        return Type("tuple", [implied(item) for item in value])
    return Type({"null": "string", "object": "object"}.get(kind(value), kind(value)))
