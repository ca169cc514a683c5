"""``--chmod``: octal, or symbolic as in ``u+x,go-w``, by the rules of BSD's setmode, which are BuildKit's.

What GNU's chmod does otherwise: ``X`` counts with ``+`` only (``a=rX`` is ``a=r``), and clauses without ``ugoa`` mean
all three, whatever the umask is. ``X`` looks at the mode before the change.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_BITS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_SET_ID, _STICKY, _EXECUTE = 0o6000, 0o1000, 0o111


class _Change(NamedTuple):
    """One character of a clause: ``operator`` is + or -, ``copied`` the class whose bits are taken, or ""."""

    operator: str
    who: int  # the bits that may change
    bits: int = 0
    copied: str = ""
    conditional: bool = False  # X


class Mode:
    """What ``--chmod`` makes of the mode of each thing that is copied. ``absolute`` is -1 where it is symbolic."""

    __slots__ = ("_absolute", "_changes")

    def __init__(self, absolute: int, changes: tuple[_Change, ...]) -> None:
        self._absolute = absolute
        self._changes = changes

    def of(self, mode: int, *, directory: bool = False) -> int:
        """The new permissions (07777) of something with ``mode``."""
        if self._absolute >= 0:
            return self._absolute
        old = new = mode & 0o7777
        for operator, who, bits, copied, conditional in self._changes:
            if conditional and not (old & _EXECUTE or directory):
                continue
            if copied:
                three = (new >> _SHIFTS[copied]) & 0o7
                bits = (three * 0o111) & who & 0o777
            if operator == "-":
                new &= ~bits
            elif operator == "=":
                new = (new & ~(who & 0o777)) | bits
            else:
                new |= bits
        return new


def parse(text: str) -> Mode:
    """Raises Invalid, in Docker's words."""
    if text and all("0" <= char <= "7" for char in text) and len(text) < 12 and int(text, 8) <= 0o7777:
        return Mode(int(text, 8), ())
    wrong = Invalid(
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777",
        hint="Or symbolic, as in u+x,go-w.",
    )
    if not text or text[0].isdigit():
        raise wrong
    changes: list[_Change] = []
    for clause in text.split(","):
        who = position = 0
        while clause[position : position + 1] in _WHO:
            who |= _WHO[clause[position]]
            position += 1
        if position == len(clause):
            raise wrong
        while position < len(clause):
            operator = clause[position]
            if operator not in "+-=":
                raise wrong
            end = position + 1
            while end < len(clause) and clause[end] in "rwxXstugo":
                end += 1
            who &= ~_STICKY
            who = _operation(changes, operator, who, clause[position + 1 : end])
            position = end
    return Mode(-1, tuple(changes))


def _operation(changes: list[_Change], operator: str, who: int, letters: str) -> int:
    """Adds one operator with its letters; returns ``who``, which ``t`` widens."""
    cleared = operator != "="
    bits = conditional = 0

    def flush() -> None:
        """What the letters so far say."""
        nonlocal bits, conditional, cleared
        if not cleared:
            changes.append(_Change("-", who, who or 0o6777))
            cleared = True
        if bits:
            changes.append(_Change("-" if operator == "-" else "+", who, bits & (who or 0o7777)))
        if conditional:
            changes.append(_Change("+", who, conditional & (who or 0o7777), conditional=True))
        bits = conditional = 0

    for letter in letters:
        if letter in _BITS:
            bits |= _BITS[letter]
        elif letter == "X":
            conditional |= _EXECUTE if operator == "+" else 0
        elif letter in "st":
            if not who or who & ~0o0007:
                bits |= _SET_ID if letter == "s" else _STICKY
                who |= _STICKY if letter == "t" else 0
        else:
            if bits or conditional:
                flush()
            cleared = True
            changes.append(_Change(operator, who or 0o777, copied=letter))
    flush()
    return who
