"""What bake files define, once their variables have values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from cais.build.bake.fields import FIELDS, Target, decoded, merge
from cais.build.hcl import syntax
from cais.build.hcl.evaluate import Lazy, Scope, Unknown, value_of
from cais.build.hcl.functions import function
from cais.build.hcl.syntax import Attribute, Block, Body
from cais.build.hcl.values import text, truth
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.hcl.evaluate import Function

_KINDS = ("group", "target", "variable", "function")
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_TARGETS = 10_000


class File(NamedTuple):
    """``name`` is how it was asked for, ``-`` for standard input."""

    name: str
    text: str


class Variable(NamedTuple):
    """``kind`` is the type that the file gives it, "" where it gives none."""

    name: str
    value: Any
    description: str
    kind: str = ""


class Definition:
    """Groups and targets by name, in the order of the files."""

    def __init__(self) -> None:
        self.groups: dict[str, list[str]] = {}
        self.descriptions: dict[str, str] = {}  # of groups
        self.targets: dict[str, Target] = {}
        self.variables: list[Variable] = []

    def add_group(self, name: str, targets: Iterable[str]) -> None:
        """To what a group of the name has already."""
        self.groups[name] = list(dict.fromkeys([*self.groups.get(name, ()), *targets]))

    def add_target(self, name: str, target: Target) -> None:
        merge(self.targets.setdefault(name, {}), target)


def read(
    files: Sequence[File], environment: Mapping[str, str], built_in: Mapping[str, str], directory: str
) -> Definition:
    """``environment`` gives variables their values, ``built_in`` are such as BAKE_CMD_CONTEXT.

    ``directory`` is where a compose file's ``.env`` lies. Raises Invalid.
    """
    definition = Definition()
    composed = [file for file in files if _is_compose(file)]
    if composed:
        from cais.build.bake.compose import read_compose

        read_compose(composed, environment, directory, definition)
    bodies = [_parsed(file) for file in files if file not in composed]
    if bodies:
        _Evaluation(bodies, environment, built_in).into(definition)
    return definition


def _is_compose(file: File) -> bool:
    name = file.name.lower()
    if name.endswith((".yml", ".yaml")):
        return True
    if name.endswith((".json", ".hcl")):
        return False
    return re.search(r"^services\s*:", file.text, re.MULTILINE) is not None


def _parsed(file: File) -> Body:
    from cais.build.hcl.json_body import parse_json
    from cais.build.hcl.parser import parse

    shown = "stdin" if file.name == "-" else file.name
    if file.name.lower().endswith(".json") or file.text.lstrip().startswith("{"):
        return parse_json(shown, file.text, _KINDS)
    return parse(shown, file.text)


class _Evaluation:
    """All files of HCL and JSON are one: what one defines, others may use."""

    def __init__(self, bodies: Sequence[Body], environment: Mapping[str, str], built_in: Mapping[str, str]) -> None:
        self._environment = environment
        self._attributes: dict[str, Attribute] = {}
        self._blocks: dict[str, list[Block]] = {kind: [] for kind in _KINDS}
        for body in bodies:
            self._attributes.update(body.attributes)
            for block in body.blocks:
                if block.kind not in _KINDS:
                    raise block.source.error(block.at, f'Unsupported block type: "{block.kind}" is not expected here.')
                if len(block.labels) != 1:
                    raise block.source.error(
                        block.at, f'Invalid block: {block.kind} has one name, as in {block.kind} "x".'
                    )
                self._blocks[block.kind].append(block)
        self._variables = {block.labels[0]: block for block in self._blocks["variable"]}
        self._functions = {block.labels[0]: block for block in self._blocks["function"]}
        self._values: dict[str, Any] = dict(built_in)
        self._open: list[str] = []
        self._targets: dict[int, list[tuple[str, Scope]]] = {}  # of the blocks with a matrix
        self._scope = Scope(self._variable, self._function)

    def into(self, definition: Definition) -> None:
        """Raises Invalid."""
        from cais.build.hcl.types import type_of

        for name in self._attributes:
            self._value(name, self._attributes[name])
        for name, block in self._variables.items():
            value = self._value(name, block)
            self._validate(name, block)
            typed = block.body.attributes.get("type")
            kind = str(type_of(typed.expression)) if typed is not None else ""
            definition.variables.append(Variable(name, value, self._said(block, "description"), kind))
        for name, block in self._functions.items():
            self._value(f"{name}()", block)
        for block in self._blocks["group"]:
            self._group(definition, block)
        for block in self._blocks["target"]:
            self._target(definition, block)

    # Names.

    def _variable(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if name in self._attributes:
            return self._value(name, self._attributes[name])
        if name in self._variables:
            return self._value(name, self._variables[name])
        if name in ("target", "group"):
            return Lazy(lambda label: self._members(name, label))
        raise Unknown(name)

    def _function(self, name: str) -> Function:
        if name in self._functions:
            made = self._value(f"{name}()", self._functions[name])
            assert callable(made)
            return made  # type: ignore[no-any-return]
        return function(name)

    def _value(self, name: str, of: Attribute | Block, scope: Scope | None = None) -> Any:
        """Found out once; what needs itself is refused."""
        if name not in self._values:
            if name in self._open:
                what = "function" if name.endswith("()") else "variable"
                raise Invalid(f"{what} cycle not allowed for {name.removesuffix('()')}")
            self._open.append(name)
            try:
                if isinstance(of, Attribute):
                    self._values[name] = self._evaluated(of, scope)
                elif of.kind == "function":
                    self._values[name] = self._own_function(name.removesuffix("()"), of)
                else:
                    self._values[name] = self._default(name, of)
            finally:
                self._open.pop()
        return self._values[name]

    def _evaluated(self, attribute: Attribute, scope: Scope | None = None) -> Any:
        return value_of(attribute.expression, scope or self._scope, attribute.source)

    def _said(self, block: Block, name: str) -> str:
        attribute = block.body.attributes.get(name)
        return text(self._evaluated(attribute)) if attribute is not None else ""

    def _default(self, name: str, block: Block) -> Any:
        """The environment's value, read as one of the variable's type; else the default."""
        from cais.build.hcl.types import convert, from_environment, implied, type_of

        attributes = block.body.attributes
        for said in attributes.values():
            if said.name not in ("default", "type", "description"):
                raise said.source.error(said.at, f'Unsupported argument: "{said.name}" is not expected here.')
        default = attributes.get("default")
        value = self._evaluated(default) if default is not None else None
        typed = attributes.get("type")
        try:
            wanted = type_of(typed.expression) if typed is not None else implied(value)
            given = self._environment.get(name)
            if given is not None:
                return from_environment(name, given, wanted)
            if typed is not None and (given := self._environment.get(f"{name}_JSON")) is not None:
                import json

                return convert(json.loads(given), wanted)
            if value is None and default is None and typed is None:
                return ""
            return convert(value, wanted) if typed is not None else value
        except (Invalid, ValueError, RecursionError) as error:
            raise block.source.error(block.at, f"Invalid value for variable {name}: {error}.")

    def _validate(self, name: str, block: Block) -> None:
        for inner in block.body.blocks:
            condition = inner.body.attributes.get("condition")
            if inner.kind != "validation" or condition is None:
                raise inner.source.error(inner.at, "Invalid block: a variable has validation blocks, with a condition.")
            if not truth(self._evaluated(condition)):
                message = self._said(inner, "error_message") or f"the value of {name} is not valid"
                raise condition.source.error(condition.at, f"Validation failed: {message}")

    def _own_function(self, name: str, block: Block) -> Function:
        attributes = block.body.attributes
        result = attributes.get("result")
        if result is None or "params" not in attributes:
            raise block.source.error(block.at, f"Missing required argument: function {name} needs params and result.")
        listed = attributes["params"].expression
        names = (
            [item.name for item in listed.items if isinstance(item, syntax.Name)]
            if isinstance(listed, syntax.ListOf)
            else []
        )
        rest = attributes.get("variadic_params") or attributes.get("variadic_param")
        last = rest.expression.name if rest is not None and isinstance(rest.expression, syntax.Name) else ""
        if not isinstance(listed, syntax.ListOf) or len(names) != len(listed.items) or (rest is not None and not last):
            raise block.source.error(block.at, "Invalid param element: each parameter name must be an identifier.")
        running = 0

        def call(arguments: Sequence[Any]) -> Any:
            nonlocal running
            if len(arguments) < len(names) or (len(arguments) > len(names) and not last):
                raise Invalid(f"it takes {len(names)} arguments, not {len(arguments)}")
            if running:
                raise Invalid(f"function cycle not allowed for {name}")
            given: dict[str, Any] = dict(zip(names, arguments, strict=False))
            if last:
                given[last] = list(arguments[len(names) :])
            running += 1
            try:
                return self._evaluated(result, self._scope.within(given))
            finally:
                running -= 1

        return call

    def _members(self, kind: str, label: str) -> Any:
        """``target.LABEL``: what any of its blocks says, the last one first."""
        blocks = [
            (block, scope)
            for block in self._blocks[kind]
            for name, scope in ([(block.labels[0], self._scope)] if kind == "group" else self._made_of(block))
            if name == label
        ]
        if not blocks:
            raise Invalid(f"there is no {kind} {label!r}")

        def member(name: str) -> Any:
            for block, scope in reversed(blocks):
                if name in block.body.attributes:
                    return self._value(f"{kind}.{label}.{name}", block.body.attributes[name], scope)
            if kind == "target" and name in FIELDS:
                return None
            raise Invalid(f"the {kind} {label!r} has no {name!r}")

        return Lazy(member)

    # Groups and targets.

    def _group(self, definition: Definition, block: Block) -> None:
        name = _checked(block.labels[0], block)
        for attribute in block.body.attributes.values():
            if attribute.name == "targets":
                value = self._evaluated(attribute)
                if not isinstance(value, list):
                    raise attribute.source.error(attribute.at, "The targets of a group are a list.")
                definition.groups[name] = list(dict.fromkeys(map(text, value)))  # what another file said is gone
            elif attribute.name == "description":
                definition.descriptions[name] = self._said(block, "description")
            else:
                raise attribute.source.error(
                    attribute.at, f'Unsupported argument: a group has targets and description, not "{attribute.name}".'
                )
        definition.groups.setdefault(name, [])

    def _target(self, definition: Definition, block: Block) -> None:
        label = _checked(block.labels[0], block)
        attributes = dict(block.body.attributes)
        if block.body.blocks:
            inner = block.body.blocks[0]
            raise inner.source.error(inner.at, f'Unsupported block type: "{inner.kind}" is not expected here.')
        attributes.pop("name", None)
        matrix = attributes.pop("matrix", None)
        made = self._made_of(block)
        for name, scope in made:
            definition.add_target(name, self._said_of_target(attributes, scope))
        if matrix is not None and [name for name, _ in made] != [label]:
            definition.add_group(label, [name for name, _ in made])

    def _made_of(self, block: Block) -> list[tuple[str, Scope]]:
        """The targets of a block by their names, each with what its matrix says of it."""
        label = block.labels[0]
        attributes = block.body.attributes
        named, matrix = attributes.get("name"), attributes.get("matrix")
        if named is not None and matrix is None:
            raise named.source.error(named.at, "name requires matrix")
        if matrix is None:
            return [(label, self._scope)]
        if id(block) in self._targets:
            return self._targets[id(block)]
        self._targets[id(block)] = []  # while its names are found out, there is none of it
        made: dict[str, Scope] = {}
        for values in self._combinations(matrix):
            scope = self._scope.within(values)
            name = label if named is None else _checked(text(self._evaluated(named, scope)), block)
            if name in made:
                if named is None:
                    raise matrix.source.error(matrix.at, "matrix requires name")
                raise named.source.error(named.at, f"duplicate target name {name!r} of the matrix")
            made[name] = scope
        self._targets[id(block)] = list(made.items())
        return self._targets[id(block)]

    def _combinations(self, matrix: Attribute) -> list[dict[str, Any]]:
        value = self._evaluated(matrix)
        if not isinstance(value, dict):
            raise matrix.source.error(matrix.at, "matrix must be a map")
        found: list[dict[str, Any]] = [{}]
        for name in sorted(value):
            if not isinstance(value[name], list):
                raise matrix.source.error(matrix.at, "matrix values must be a list")
            found = [{**known, name: item} for item in value[name] for known in found]
            if len(found) > _MOST_TARGETS:
                raise matrix.source.error(matrix.at, f"this matrix makes more than {_MOST_TARGETS} targets")
        return found

    def _said_of_target(self, attributes: Mapping[str, Attribute], scope: Scope) -> Target:
        target: Target = {}
        for name, attribute in attributes.items():
            if name not in FIELDS:
                from cais.build.dockerfile.errors import nearest

                near = nearest(name, FIELDS)
                raise attribute.source.error(
                    attribute.at,
                    f'Unsupported argument: an argument named "{name}" is not expected here.',
                    f'Did you mean "{near}"?' if near else "",
                )
            value = self._evaluated(attribute, scope)
            try:
                target[name] = decoded(name, value)
            except Invalid as error:
                raise attribute.source.error(attribute.at, f"Unsuitable value type: {name}: {error.message}.")
        return target


def _checked(name: str, block: Block) -> str:
    if _NAME.fullmatch(name) is None:
        raise block.source.error(
            block.at,
            f'Invalid name {name!r}: only "a-zA-Z0-9_-" are allowed.',
            "sanitize(TEXT) makes such a name of a text.",
        )
    return name
