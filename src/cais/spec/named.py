"""NamedTuple without ``typing``, whose import and checks of each class cost a short command more than its own work.

Measured: a quarter of the processor time of a build that is all cached.
To a type checker it is ``typing.NamedTuple``; at run time, the same classes of ``collections.namedtuple``.
"""

from __future__ import annotations

import collections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Values(type):
        """Makes a class statement with annotated fields into a named tuple with the statement's methods."""

        def __new__(mcs, name, bases, namespace):
            fields = namespace.get("__annotations__", {})
            defaults = [namespace[field] for field in fields if field in namespace]
            made = collections.namedtuple(name, fields, defaults=defaults, module=namespace["__module__"])
            made.__annotations__ = fields
            for key, value in namespace.items():
                if key == "__doc__" or not (key in fields or key in _OF_THE_STATEMENT):
                    setattr(made, key, value)
            return made

    _OF_THE_STATEMENT = frozenset(("__annotations__", "__module__", "__qualname__"))
    NamedTuple = type.__new__(_Values, "NamedTuple", (), {})
