"""The functions that bake files may call, as go-cty's standard library defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from cais.build.hcl.evaluate import Unknown, calculate
from cais.build.hcl.values import number, same, truth
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.build.hcl.evaluate import Function

_MANY = 1000


def function(name: str) -> Function:
    """Raises Unknown."""
    if name not in _NUMBERS:
        from cais.build.hcl import function_lists, function_texts

        for table in (function_lists.FUNCTIONS, function_texts.FUNCTIONS):
            if name in table:
                return _counted(table[name])
        raise Unknown(name)
    return _counted(_NUMBERS[name])


def _counted(entry: tuple[int, int, Callable[..., Any]]) -> Function:
    least, most, action = entry

    def call(arguments: Sequence[Any]) -> Any:
        if not least <= len(arguments) <= most:
            wanted = f"{least}" if least == most else f"{least} or more" if most >= _MANY else f"{least} to {most}"
            raise Invalid(f"it takes {wanted} arguments, not {len(arguments)}")
        try:
            return action(*arguments)
        except (OverflowError, ArithmeticError, ValueError, RecursionError) as error:
            raise Invalid(str(error) or type(error).__name__)

    return call


def _of_numbers(action: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: action(*map(number, values))


def _power(one: int | float, other: int | float) -> Any:
    return math.pow(one, other)


def _parse_int(value: Any, base: Any) -> int:
    base = number(base)
    if not isinstance(base, int) or not 2 <= base <= 62:
        raise Invalid("the base must be a whole number between 2 and 62")
    digits = str(number(value)) if not isinstance(value, str) else value
    if base > 36:
        letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[:base]
        sign, plain = (-1, digits[1:]) if digits.startswith("-") else (1, digits)
        if not plain or any(char not in letters for char in plain) or len(plain) > 1000:
            raise Invalid(f"cannot parse {digits[:80]!r} as a base {base} integer")
        found = 0
        for char in plain:
            found = found * base + letters.index(char)
        return sign * found
    try:
        if "_" in digits or digits != digits.strip():
            raise ValueError
        return int(digits, base)
    except ValueError:
        raise Invalid(f"cannot parse {digits[:80]!r} as a base {base} integer")


def _calculation(operator: str) -> tuple[int, int, Callable[..., Any]]:
    return 2, 2, lambda one, other: calculate(operator, number(one), number(other))


_NUMBERS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "absolute": (1, 1, _of_numbers(abs)),
    "add": _calculation("+"),
    "subtract": _calculation("-"),
    "multiply": _calculation("*"),
    "divide": _calculation("/"),
    "modulo": _calculation("%"),
    "greaterthan": _calculation(">"),
    "greaterthanorequalto": _calculation(">="),
    "lessthan": _calculation("<"),
    "lessthanorequalto": _calculation("<="),
    "and": (2, 2, lambda one, other: truth(one) and truth(other)),
    "or": (2, 2, lambda one, other: truth(one) or truth(other)),
    "not": (1, 1, lambda one: not truth(one)),
    "equal": (2, 2, same),
    "notequal": (2, 2, lambda one, other: not same(one, other)),
    "negate": (1, 1, _of_numbers(lambda one: -one)),
    "ceil": (1, 1, _of_numbers(math.ceil)),
    "floor": (1, 1, _of_numbers(math.floor)),
    "int": (1, 1, _of_numbers(math.trunc)),
    "log": (2, 2, _of_numbers(lambda one, base: math.log(one) / math.log(base))),
    "max": (1, _MANY, _of_numbers(lambda *values: max(values))),
    "min": (1, _MANY, _of_numbers(lambda *values: min(values))),
    "pow": (2, 2, _of_numbers(_power)),
    "signum": (1, 1, _of_numbers(lambda one: (one > 0) - (one < 0))),
    "parseint": (2, 2, _parse_int),
}
