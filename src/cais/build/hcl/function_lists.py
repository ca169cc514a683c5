"""Functions of lists, sets and objects."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

from cais.build.hcl.types import distinct
from cais.build.hcl.values import kind, number, same, text
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MANY = 1000
_LONGEST = 1024  # of a range, and of what a product gives a hundredfold


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Invalid(f"a list is required, not {kind(value)}")
    return value


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"a map is required, not {kind(value)}")
    return value


def _index(value: Any) -> int:
    found = number(value)
    if not isinstance(found, int):
        raise Invalid("a whole number is required")
    return found


def _set(value: Any) -> list[Any]:
    """In the order that sets have."""
    found = distinct(_list(value))
    try:
        return sorted(found)
    except TypeError:
        return found


def _in(item: Any, items: Sequence[Any]) -> bool:
    return any(same(item, other) for other in items)


def _chunks(value: Any, size: Any) -> list[Any]:
    items, count = _list(value), _index(size)
    if count < 0:
        raise Invalid("the size must be positive")
    return [items[at : at + count] for at in range(0, len(items), count)] if count else [items]


def _coalesce(*values: Any) -> Any:
    found = next((value for value in values if value is not None), None)
    if found is None:
        raise Invalid("no non-null arguments")
    # All are made to be of one type, which is string where any is one.
    return (
        text(found) if any(isinstance(value, str) for value in values) and kind(found) in ("number", "bool") else found
    )


def _coalesce_list(*values: Any) -> Any:
    for value in values:
        if value:
            return value
    raise Invalid("no non-null arguments")


def _concat(*values: Any) -> list[Any]:
    return [item for value in values for item in _list(value)]


def _element(value: Any, at: Any) -> Any:
    items, index = _list(value), _index(at)
    if not items:
        raise Invalid("cannot use element function with an empty list")
    return items[index % len(items)]


def _flatten(value: Any) -> list[Any]:
    return [inner for item in _list(value) for inner in (_flatten(item) if isinstance(item, list) else [item])]


def _has_index(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(key, str) and key in value
    return isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(_list(value))


def _at(value: Any, key: Any) -> Any:
    if not _has_index(value, key):
        raise Invalid("invalid index")
    return value[key]


def _index_of(value: Any, wanted: Any) -> int:
    items = _list(value)
    if not items:
        raise Invalid("cannot search an empty list")
    for at, item in enumerate(items):
        if same(item, wanted):
            return at
    raise Invalid("item not found")


def _length(value: Any) -> int:
    if not isinstance(value, list | dict):
        raise Invalid(f"collection must be a list, a map or a tuple, not {kind(value)}")
    return len(value)


def _lookup(value: Any, key: Any, *default: Any) -> Any:
    found = _object(value)
    if key in found:
        return found[key]
    if default:
        return default[0]
    raise Invalid(f"lookup failed to find key {key!r}")


def _merge(*values: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in values:
        if value is not None:
            found.update(_object(value))
    return found


def _range(*given: Any) -> list[Any]:
    values = [number(value) for value in given]
    start, end = (0, values[0]) if len(values) == 1 else (values[0], values[1])
    step = values[2] if len(values) == 3 else (1 if end >= start else -1)
    if step == 0:
        raise Invalid("step must not be zero")
    if (step > 0 and end < start) or (step < 0 and end > start):
        raise Invalid("end and step are not on one side of start")
    found: list[Any] = []
    while (step > 0 and start < end) or (step < 0 and start > end):
        if len(found) >= _LONGEST:
            raise Invalid(f"more than {_LONGEST} values were generated; either decrease the difference or the step")
        found.append(start)
        start += step
    return found


def _product(*values: Any) -> list[Any]:
    lists = [_list(value) for value in values]
    size = 1
    for items in lists:
        size *= len(items)
    if size > _LONGEST * 100:
        raise Invalid(f"this product has {size} elements: that is too many")
    return [list(items) for items in itertools.product(*lists)]


def _slice(value: Any, start: Any, end: Any) -> list[Any]:
    items, first, last = _list(value), _index(start), _index(end)
    if not 0 <= first <= last <= len(items):
        raise Invalid(f"the indices {first} and {last} are not within a list of {len(items)}")
    return items[first:last]


def _sort(value: Any) -> list[Any]:
    return sorted(text(item) for item in _list(value))


def _symmetric(*values: Any) -> list[Any]:
    found = _set(values[0])
    for value in values[1:]:
        other = _set(value)
        found = _set(
            [item for item in found if not _in(item, other)] + [item for item in other if not _in(item, found)]
        )
    return found


def _zipmap(keys: Any, values: Any) -> dict[str, Any]:
    names, items = _list(keys), _list(values)
    if len(names) != len(items):
        raise Invalid(f"number of keys ({len(names)}) does not match number of values ({len(items)})")
    return {text(name): item for name, item in zip(names, items, strict=True)}


def _intersection(*values: Any) -> list[Any]:
    rest = [_list(value) for value in values[1:]]
    return [item for item in _set(values[0]) if all(_in(item, other) for other in rest)]


FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "chunklist": (2, 2, _chunks),
    "coalesce": (1, _MANY, _coalesce),
    "coalescelist": (1, _MANY, _coalesce_list),
    "compact": (1, 1, lambda value: [item for item in _list(value) if item not in ("", None)]),
    "concat": (1, _MANY, _concat),
    "contains": (2, 2, lambda value, item: _in(item, _list(value))),
    "distinct": (1, 1, lambda value: distinct(_list(value))),
    "element": (2, 2, _element),
    "flatten": (1, 1, _flatten),
    "hasindex": (2, 2, _has_index),
    "index": (2, 2, _at),
    "indexof": (2, 2, _index_of),
    "keys": (1, 1, lambda value: sorted(_object(value))),
    "length": (1, 1, _length),
    "lookup": (2, 3, _lookup),
    "merge": (0, _MANY, _merge),
    "range": (1, 3, _range),
    "reverselist": (1, 1, lambda value: _list(value)[::-1]),
    "sethaselement": (2, 2, lambda value, item: _in(item, _list(value))),
    "setintersection": (1, _MANY, _intersection),
    "setproduct": (1, _MANY, _product),
    "setsubtract": (2, 2, lambda one, other: [item for item in _set(one) if not _in(item, _list(other))]),
    "setsymmetricdifference": (1, _MANY, _symmetric),
    "setunion": (1, _MANY, lambda *values: _set(_concat(*values))),
    "slice": (3, 3, _slice),
    "sort": (1, 1, _sort),
    "values": (1, 1, lambda value: [item for _, item in sorted(_object(value).items())]),
    "zipmap": (2, 2, _zipmap),
}
