"""Patterns of COPY and ADD: Go's ``filepath.Match``, exactly.

``*`` any run of characters but ``/``; ``?`` one of them; ``[a-z]`` and ``[^a-z]`` one of (not) these; ``\\x`` the
character x. The pattern matches the whole name. A pattern that is malformed anywhere is an error, matching or not.
"""

from __future__ import annotations

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_WILD = frozenset("*?[\\")


class BadPattern(Invalid):
    def __init__(self, pattern: str) -> None:
        super().__init__(
            f"syntax error in pattern {pattern!r}", hint="A [ needs its ], and a \\ something behind it. A [ is [[]."
        )


def is_pattern(text: str) -> bool:
    """Whether ``text`` has anything in it that is not just itself."""
    return not _WILD.isdisjoint(text)


def literal(name: str) -> str:
    """The pattern that matches ``name`` alone."""
    return "".join(f"\\{char}" if char in _WILD else char for char in name)


def match(pattern: str, name: str) -> bool:
    """Whether ``name`` is what ``pattern`` says. Raises BadPattern. For many names, ``matcher`` is quicker."""
    return bool(matcher(pattern)(name))


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tells (by truth) whether a name matches. Raises BadPattern."""
    if not is_pattern(pattern):
        return pattern.__eq__
    import re  # it keeps what it compiled, so that asking again is quick

    return re.compile(regex(pattern), re.DOTALL).fullmatch


def regex(pattern: str) -> str:
    """The same as a regular expression (of ``re``, for fullmatch with DOTALL). Raises BadPattern."""
    pieces: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "*":
            if not pieces or pieces[-1] != "[^/]*":
                pieces.append("[^/]*")
        elif char == "?":
            pieces.append("[^/]")
        elif char == "[":
            piece, position = character_class(pattern, position)
            pieces.append(piece)
            continue
        elif char == "\\":
            position += 1
            if position == len(pattern):
                raise BadPattern(pattern)
            pieces.append(_literal(pattern[position]))
        else:
            pieces.append(_literal(char))
        position += 1
    return "".join(pieces)


def character_class(pattern: str, position: int) -> tuple[str, int]:
    """``[...]`` at ``position`` as a regular expression, and where it ends. It may match a ``/``, as in Go."""
    position += 1
    negated = pattern.startswith("^", position)
    if negated:
        position += 1
    ranges: list[str] = []
    count = 0
    while not (count and pattern.startswith("]", position)):
        first, position = _class_character(pattern, position)
        last = first
        if pattern.startswith("-", position):
            last, position = _class_character(pattern, position + 1)
        if first <= last:
            ranges.append(_in_class(first) + ("-" + _in_class(last) if last != first else ""))
        count += 1
    if not ranges:
        return ("." if negated else "(?!)"), position + 1
    return f"[{'^' if negated else ''}{''.join(ranges)}]", position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    char = pattern[position : position + 1]
    if char in ("", "-", "]"):
        raise BadPattern(pattern)
    if char == "\\":
        position += 1
        char = pattern[position : position + 1]
    # Something must follow: at least the closing bracket.
    if not char or position + 1 >= len(pattern) or "\udc80" <= char <= "\udcff":
        raise BadPattern(pattern)
    return char, position + 1


def _literal(char: str) -> str:
    return char if char.isalnum() or char in "_/ " or not char.isascii() else "\\" + char


def _in_class(char: str) -> str:
    return "\\" + char if char in "\\]^-[&~|" else char
