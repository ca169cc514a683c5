"""What values are called, and how they become texts, numbers and truths."""

from __future__ import annotations

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def kind(value: Any) -> str:
    """As messages call it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "list" if isinstance(value, list) else "object"


def number_text(value: int | float) -> str:
    """Without an exponent, and without a point where it is whole."""
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e300:
            return str(int(value))
        from decimal import Decimal

        return f"{Decimal(f'{value:.15g}'):f}"  # what more there is, is the error of binary fractions
    return str(value)


def text(value: Any) -> str:
    """Raises Invalid for what is no primitive."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value)
    raise Invalid(f"a string is required, not {kind(value)}")


def number(value: Any) -> int | float:
    """Raises Invalid."""
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            raise Invalid(f"a number is required, not {value[:80]!r}")
        if found != found or found in (float("inf"), float("-inf")):
            raise Invalid(f"a number is required, not {value[:80]!r}")
        try:
            return int(value)
        except ValueError:
            return found
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid(f"a number is required, not {kind(value)}")
    return whole(value)


def whole(value: int | float) -> int | float:
    """A number that is an integer as one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def truth(value: Any) -> bool:
    """Raises Invalid."""
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return bool(value == "true")
    raise Invalid(f"a bool is required, not {kind(value)}")


def same(one: Any, other: Any) -> bool:
    """Of the same kind and equal: true is not 1."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return kind(one) == kind(other) and bool(one == other)
