"""HCL's JSON form (hashicorp/hcl, json/spec.md): strings are templates, what is called as a block is one."""

from __future__ import annotations

import json
from collections.abc import Collection

from cais.build.hcl import syntax
from cais.build.hcl.expressions import Expressions
from cais.build.hcl.syntax import Attribute, Block, Body, Source
from cais.build.hcl.templates import whole
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_json(name: str, text: str, blocks: Collection[str]) -> Body:
    """``blocks`` are the kinds that have one label. Raises Invalid."""
    try:
        document = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{name}: it is no JSON: {error}")
    source = Source(name, text, located=False)
    if not isinstance(document, dict):
        raise Invalid(f"{name}: a JSON object is required")
    attributes: dict[str, Attribute] = {}
    found: list[Block] = []
    for key, value in document.items():
        if key in blocks:
            for item in value if isinstance(value, list) else [value]:
                if not isinstance(item, dict):
                    raise Invalid(f"{name}: {key!r} is no object of names")
                found += [_block(key, label, body, source) for label, inner in item.items() for body in _bodies(inner)]
        elif key != "//":
            attributes[key] = _attribute(key, value, source)
    return Body(attributes, found)


def _bodies(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _block(kind: str, label: str, value: Any, source: Source) -> Block:
    if not isinstance(value, dict):
        raise Invalid(f"{source.name}: the {kind} {label!r} is no object")
    body = Body({key: _attribute(key, item, source) for key, item in value.items() if key != "//"}, ())
    if kind == "variable" and "validation" in value:
        items = _bodies(value["validation"])
        body = Body(
            {key: item for key, item in body.attributes.items() if key != "validation"},
            [
                Block("validation", (), Body({k: _attribute(k, v, source) for k, v in item.items()}, ()), source, 0)
                for item in items
                if isinstance(item, dict)
            ],
        )
    return Block(kind, (label,), body, source, 0)


def _attribute(name: str, value: Any, source: Source) -> Attribute:
    return Attribute(name, _expression(value, source, 0), source, 0)


def _expression(value: Any, source: Source, depth: int) -> Any:
    if depth > 60:
        raise Invalid(f"{source.name}: this is nested too deeply")
    if isinstance(value, str):
        reader = Expressions(Source(source.name, value, located=False))
        return whole(reader)
    if isinstance(value, list):
        return syntax.ListOf([_expression(item, source, depth + 1) for item in value], 0)
    if isinstance(value, dict):
        pairs = [(_expression(key, source, depth), _expression(item, source, depth + 1)) for key, item in value.items()]
        return syntax.ObjectOf(pairs, 0)
    return syntax.Literal(value, 0)
