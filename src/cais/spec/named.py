"""NamedTuple without ``typing``, whose import and checks of each class cost a short command more than its own work.

To a type checker it is ``typing.NamedTuple``; at run time the classes do what those of ``collections.namedtuple`` do,
and are made in a quarter of its time: it compiles a function for each class, and makes six more. A cached build
declares ninety of them.
"""

from __future__ import annotations

# Not of collections, which is Python, and costs as much as thirty of these classes.
from _collections import _tuplegetter  # type: ignore[import-not-found]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    _new = tuple.__new__

    class _Value(tuple):
        """What all of them share."""

        __slots__ = ()
        _fields = ()

        @classmethod
        def _make(cls, iterable):
            made = _new(cls, iterable)
            if len(made) != len(cls._fields):
                raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
            return made

        def _replace(self, /, **changes):
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise ValueError(f"Got unexpected field names: {[*changes]!r}")
            return made

        __replace__ = _replace

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            values = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self):
            return tuple(self)

    class _Values(type):
        """Makes a class statement with annotated fields into a named tuple with the statement's methods."""

        def __new__(mcs, name, bases, namespace):
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            for field in fields[len(fields) - len(defaults) :]:
                if field not in defaults:
                    raise TypeError(f"{name}: a field with a default stands before {field}, which has none")
            if any(field.startswith("_") for field in fields):
                raise ValueError(f"{name}: a field's name begins with an underscore")
            namespace.setdefault("__doc__", f"{name}({', '.join(fields)})")
            for number, field in enumerate(fields):
                namespace[field] = _tuplegetter(number, "A field.")
            if "__new__" not in namespace:
                namespace["__new__"] = _constructor(name, fields, defaults)
            namespace["__slots__"] = ()
            namespace["_fields"] = namespace["__match_args__"] = fields
            namespace["_field_defaults"] = defaults
            return type(name, (_Value,), namespace)

    # By their number of fields, for those of which many are made; those of a class have the names of its own.
    _CONSTRUCTORS = {
        1: lambda _cls, a: _new(_cls, (a,)),
        2: lambda _cls, a, b: _new(_cls, (a, b)),
        3: lambda _cls, a, b, c: _new(_cls, (a, b, c)),
        4: lambda _cls, a, b, c, d: _new(_cls, (a, b, c, d)),
        5: lambda _cls, a, b, c, d, e: _new(_cls, (a, b, c, d, e)),
        6: lambda _cls, a, b, c, d, e, f: _new(_cls, (a, b, c, d, e, f)),
        7: lambda _cls, a, b, c, d, e, f, g: _new(_cls, (a, b, c, d, e, f, g)),
        8: lambda _cls, a, b, c, d, e, f, g, h: _new(_cls, (a, b, c, d, e, f, g, h)),
    }
    _Function = type(_Value._replace)

    def _constructor(name, fields, defaults):
        known = _CONSTRUCTORS.get(len(fields))
        if known is None:
            return _constructor_of_many(name, fields, defaults)
        code = known.__code__.replace(co_varnames=("_cls", *fields), co_name="__new__", co_qualname=f"{name}.__new__")
        return _Function(code, known.__globals__, "__new__", tuple(defaults.values()))

    def _constructor_of_many(name, fields, defaults):
        """Compiled for its number of fields it would cost a start half a millisecond, for a value that is made once."""

        def __new__(_cls, /, *given, **named):
            if named or len(given) != len(fields):
                if len(given) > len(fields):
                    raise TypeError(f"{name} takes {len(fields)} values but {len(given)} were given")
                given = list(given)
                for field in fields[len(given) :]:
                    if field in named:
                        given.append(named.pop(field))
                    elif field in defaults:
                        given.append(defaults[field])
                    else:
                        raise TypeError(f"{name} is missing its value {field!r}")
                if named:
                    raise TypeError(f"{name} got unexpected values: {', '.join(named)}")
            return _new(_cls, given)

        return __new__

    NamedTuple = type.__new__(_Values, "NamedTuple", (), {})
