"""``--filter name=..``, and some others: a regular expression that is found somewhere in a name, as Docker has it."""

from __future__ import annotations


def matches(pattern: str, *names: str) -> bool:
    """Whether one of the ``names`` has it; an expression that is none finds nothing."""
    import re

    try:
        expression = re.compile(pattern)
    except re.error:
        return False
    return any(map(expression.search, names))
