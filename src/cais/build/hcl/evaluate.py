"""The values of HCL's expressions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cais.build.hcl import syntax
from cais.build.hcl.syntax import Source
from cais.build.hcl.values import kind, number, same, text, truth, whole
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Function = Callable[[Sequence[Any]], Any]

_SIZE_LIMIT = 16 << 20


class Unknown(Exception):
    """``Scope.variable`` and ``Scope.function`` know no such name."""


class Lazy:
    """An object whose members are evaluated when they are asked for: ``target.NAME.tags``."""

    def __init__(self, member: Callable[[str], Any]) -> None:
        """``member`` raises Invalid."""
        self.member = member


class Scope:
    """What names mean: ``variable`` and ``function`` raise Unknown, or Invalid for what they find wrong."""

    def __init__(self, variable: Callable[[str], Any], function: Callable[[str], Function]) -> None:
        self.variable = variable
        self.function = function

    def within(self, names: Mapping[str, Any]) -> Scope:
        """This one, and ``names`` before it."""
        outer = self.variable
        return Scope(lambda name: names[name] if name in names else outer(name), self.function)


def value_of(node: Any, scope: Scope, source: Source) -> Any:
    """Raises Invalid, with the line in ``source``."""
    try:
        return _Evaluation(source).value(node, scope)
    except RecursionError:
        raise source.error(getattr(node, "at", 0), "This is nested too deeply.")


class _Evaluation:
    def __init__(self, source: Source) -> None:
        self._source = source

    def value(self, node: Any, scope: Scope) -> Any:
        if isinstance(node, str):  # a part of a template
            return node
        try:
            found = _HOW[type(node)](self, node, scope)
        except Invalid as error:
            if error.lines or error.message.startswith(f"{self._source.name}:"):
                raise
            raise self._source.error(node.at, _sentence(error.message), error.hint)
        except (OverflowError, ArithmeticError) as error:
            raise self._source.error(node.at, f"Invalid operand: {error}.")
        return whole(found) if isinstance(found, float) else found

    def literal(self, node: syntax.Literal, scope: Scope) -> Any:
        return node.value

    def template(self, node: syntax.Template, scope: Scope) -> Any:
        if len(node.parts) == 1 and not isinstance(node.parts[0], syntax.TemplateIf | syntax.TemplateFor):
            return self.value(node.parts[0], scope)
        return self._joined(node.parts, scope)

    def _joined(self, parts: Iterable[Any], scope: Scope) -> str:
        found: list[str] = []
        for part in parts:
            if isinstance(part, syntax.TemplateIf):
                chosen = part.yes if truth(self.value(part.test, scope)) else part.no
                found.append(self._joined(chosen, scope))
            elif isinstance(part, syntax.TemplateFor):
                items = self._items(part.names, self.value(part.of, scope))
                found += [self._joined(part.parts, scope.within(names)) for names in items]
            else:
                value = self.value(part, scope)
                if value is None:
                    raise Invalid("the expression result is null: it cannot be included in a string template")
                try:
                    found.append(text(value))
                except Invalid:
                    raise Invalid(f"cannot include {kind(value)} in a string template: string required")
        joined = "".join(found)
        if len(joined) > _SIZE_LIMIT:
            raise Invalid("this string is too long")
        return joined

    def name(self, node: syntax.Name, scope: Scope) -> Any:
        try:
            return scope.variable(node.name)
        except Unknown:
            raise Invalid(f"undefined variable {node.name!r}")

    def member(self, node: syntax.Member, scope: Scope) -> Any:
        of, key = self.value(node.of, scope), self.value(node.key, scope)
        if isinstance(of, Lazy):
            return of.member(text(key))
        if isinstance(of, dict):
            if text(key) not in of:
                raise Invalid(f"unsupported attribute: this object has no {text(key)!r}")
            return of[text(key)]
        if isinstance(of, list):
            index = number(key)
            if not isinstance(index, int) or not 0 <= index < len(of):
                raise Invalid(f"invalid index: this list has {len(of)} elements, and none {text(key)}")
            return of[index]
        raise Invalid(f"this value ({kind(of)}) has no attributes or indices")

    def splat(self, node: syntax.Splat, scope: Scope) -> Any:
        of = self.value(node.of, scope)
        items = [] if of is None else of if isinstance(of, list) else [of]
        return [self.value(node.each, scope.within({"*": item})) for item in items]

    def splat_item(self, node: syntax.SplatItem, scope: Scope) -> Any:
        return scope.variable("*")

    def call(self, node: syntax.Call, scope: Scope) -> Any:
        if node.name in ("try", "can"):
            return self._attempt(node, scope)
        if node.name == "convert" and len(node.arguments) == 2:
            from cais.build.hcl.types import convert, type_of

            return convert(self.value(node.arguments[0], scope), type_of(node.arguments[1]))
        try:
            function = scope.function(node.name)
        except Unknown:
            raise Invalid(f"call to unknown function: there is no function named {node.name!r}")
        arguments = [self.value(item, scope) for item in node.arguments]
        if node.expand:
            last = arguments.pop()
            if not isinstance(last, list):
                raise Invalid(f"the expanded argument of {node.name} must be a list, not {kind(last)}")
            arguments += last
        try:
            return function(arguments)
        except Invalid as error:
            if not error.lines:
                error.message = f"error in function call: {node.name}: {error.message}"
            raise

    def _attempt(self, node: syntax.Call, scope: Scope) -> Any:
        failed = Invalid(f"{node.name} needs an argument")
        for item in node.arguments:
            try:
                found = self.value(item, scope)
            except Invalid as error:
                failed = error
            else:
                return True if node.name == "can" else found
        if node.name == "can" and node.arguments:
            return False
        raise Invalid(failed.message if failed.lines else f"no expression of try succeeded: {failed.message}")

    def unary(self, node: syntax.Unary, scope: Scope) -> Any:
        value = self.value(node.of, scope)
        return -number(value) if node.operator == "-" else not truth(value)

    def binary(self, node: syntax.Binary, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        operator = node.operator
        if operator in ("||", "&&"):
            one, other = truth(left), truth(right)
            return one or other if operator == "||" else one and other
        if operator in ("==", "!="):
            return same(left, right) is (operator == "==")
        return calculate(operator, number(left), number(right))

    def conditional(self, node: syntax.Conditional, scope: Scope) -> Any:
        test = self.value(node.test, scope)
        if test is None:
            raise Invalid("the condition is null: it must be true or false")
        return self.value(node.yes if truth(test) else node.no, scope)

    def list_of(self, node: syntax.ListOf, scope: Scope) -> Any:
        return [self.value(item, scope) for item in node.items]

    def object_of(self, node: syntax.ObjectOf, scope: Scope) -> Any:
        return {text(self.value(key, scope)): self.value(value, scope) for key, value in node.pairs}

    def for_all(self, node: syntax.For, scope: Scope) -> Any:
        found: list[Any] = []
        pairs: dict[str, Any] = {}
        for names in self._items(node.names, self.value(node.of, scope)):
            inner = scope.within(names)
            if node.test is not None and not truth(self.value(node.test, inner)):
                continue
            value = self.value(node.value, inner)
            if node.key is None:
                found.append(value)
                continue
            key = text(self.value(node.key, inner))
            if node.group:
                pairs.setdefault(key, []).append(value)
            elif key in pairs:
                raise Invalid(f"duplicate object key {key!r}: with '...' after the value they are grouped")
            else:
                pairs[key] = value
        return found if node.key is None else pairs

    def _items(self, names: Sequence[str], of: Any) -> Iterable[Mapping[str, Any]]:
        if isinstance(of, dict):
            pairs: Iterable[tuple[Any, Any]] = sorted(of.items())
        elif isinstance(of, list):
            pairs = enumerate(of)
        else:
            raise Invalid(f"iteration over a value that is none: a list or an object is required, not {kind(of)}")
        for key, value in pairs:
            yield {names[-1]: value} if len(names) == 1 else {names[0]: key, names[1]: value}


def calculate(operator: str, one: int | float, other: int | float) -> Any:
    """``+ - * / %`` and comparisons of numbers. Raises Invalid."""
    if operator in ("/", "%") and other == 0:
        raise Invalid("division by zero")
    if operator == "%":
        import math

        return one - other * math.trunc(one / other)
    return _OPERATORS[operator](one, other)


_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "<": lambda one, other: one < other,
    ">": lambda one, other: one > other,
    "<=": lambda one, other: one <= other,
    ">=": lambda one, other: one >= other,
}
_HOW: Mapping[type, Callable[[_Evaluation, Any, Scope], Any]] = {
    syntax.Literal: _Evaluation.literal,
    syntax.Template: _Evaluation.template,
    syntax.Name: _Evaluation.name,
    syntax.Member: _Evaluation.member,
    syntax.Splat: _Evaluation.splat,
    syntax.SplatItem: _Evaluation.splat_item,
    syntax.Call: _Evaluation.call,
    syntax.Unary: _Evaluation.unary,
    syntax.Binary: _Evaluation.binary,
    syntax.Conditional: _Evaluation.conditional,
    syntax.ListOf: _Evaluation.list_of,
    syntax.ObjectOf: _Evaluation.object_of,
    syntax.For: _Evaluation.for_all,
}


def _sentence(message: str) -> str:
    """A message of ours as HCL's messages are written; "variable cycle" stays as buildx has it."""
    if " cycle " in message:
        return message
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")
