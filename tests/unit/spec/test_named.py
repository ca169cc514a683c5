"""Named tuples made without ``typing`` and ``collections.namedtuple`` are what those would be."""

from __future__ import annotations

import collections
import copy
import pickle
from typing import Any

import pytest

from cais.spec.named import NamedTuple


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 2
    name: str = ""

    @property
    def sum(self) -> int:
        return self.x + self.y


class Wide(NamedTuple):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int
    g: int
    h: int
    i: int
    j: int = 10


class Shown(NamedTuple):
    x: int

    def __repr__(self) -> str:
        return "shown"


class Sub(Point):
    """A subclass of one."""


LIKE = collections.namedtuple("LIKE", ["x", "y", "name"], defaults=[2, ""])


def test_values() -> None:
    point = Point(1, name="n")
    assert point == (1, 2, "n") == Point(x=1, name="n")
    assert (point.x, point.y, point.name, point.sum) == (1, 2, "n", 3)
    assert hash(point) == hash((1, 2, "n"))
    assert Wide(*range(9)) == (*range(9), 10)
    assert Wide(*range(9)).i == 8


@pytest.mark.parametrize("arguments, named", [((), {}), ((1, 2, 3, 4), {}), ((1,), {"z": 1}), ((1,), {"x": 1})])
def test_wrong_arguments(arguments: tuple[int, ...], named: dict[str, int]) -> None:
    likely: Any = Point
    with pytest.raises(TypeError) as raised:
        likely(*arguments, **named)
    with pytest.raises(TypeError) as expected:
        LIKE(*arguments, **named)  # type: ignore[arg-type]
    assert str(raised.value) == str(expected.value).replace("LIKE", "Point")


def test_many_fields() -> None:
    assert Wide(*range(7), i=8, h=7) == (*range(9), 10)
    assert Wide(*range(9), j=11) == Wide(*range(8), 8, 11) == (*range(9), 11)
    assert copy.copy(Wide(*range(9)))._replace(a=5) == (5, *range(1, 9), 10)
    likely: Any = Wide
    for arguments, named, said in (
        (range(11), {}, "Wide takes 10 values but 11 were given"),
        (range(8), {"j": 1}, "Wide is missing its value 'i'"),
        (range(9), {"z": 1}, "Wide got unexpected values: z"),
        (range(9), {"a": 1}, "Wide got unexpected values: a"),
    ):
        with pytest.raises(TypeError, match=said):
            likely(*arguments, **named)


def test_what_it_says_of_itself() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, name='')"
    assert repr(Shown(1)) == "shown"
    assert repr(Sub(1)) == "Sub(x=1, y=2, name='')"
    assert Point.__doc__ == "A place."
    assert Wide.__doc__ == "Wide(a, b, c, d, e, f, g, h, i, j)"
    assert Point._fields == Point.__match_args__ == ("x", "y", "name")  # type: ignore[attr-defined]
    assert Point._field_defaults == {"y": 2, "name": ""}
    assert (Point.__module__, Point.__qualname__, Point.__name__) == (__name__, "Point", "Point")
    assert not hasattr(Point(1), "__dict__")


def test_changes() -> None:
    point = Point(1)
    assert point._replace(y=5) == (1, 5, "")
    assert point._asdict() == {"x": 1, "y": 2, "name": ""}
    assert isinstance(Sub(1)._replace(x=2), Sub)
    with pytest.raises(ValueError, match="unexpected field names: \\['z'\\]"):
        point._replace(z=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    assert Point._make(iter((1, 2, "c"))) == (1, 2, "c")
    with pytest.raises(TypeError, match="Expected 3 arguments, got 2"):
        Point._make((1, 2))


def test_copies() -> None:
    for again in (copy.copy(Point(1)), copy.deepcopy(Point(1)), pickle.loads(pickle.dumps(Point(1)))):
        assert again == Point(1)
        assert type(again) is Point


def test_matching() -> None:
    match Point(3, 4):
        case Point(x, y, _):
            assert (x, y) == (3, 4)


def test_a_default_before_a_field_without_one() -> None:
    with pytest.raises(TypeError, match="stands before y"):
        type(NamedTuple)("Bad", (), {"__annotations__": {"x": "int", "y": "int"}, "x": 1, "__module__": "m"})
