"""``.dockerignore``: which files of a context stay out of it, by the rules of Docker's patternmatcher.

One pattern a line; ``#`` in the first column begins a comment; ``!`` takes back in; the last line that matches a path,
or a directory above it, decides. ``*`` and ``?`` do not cross ``/``, ``**`` does. A ``/`` at either end means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from cais.build.patterns import BadPattern, character_class, is_pattern, match, regex
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Ignoring(Protocol):
        def ignores(self, path: str) -> bool: ...

        def may_include_below(self, path: str) -> bool: ...


SIZE_LIMIT_BYTES = 4 << 20


class Rule(NamedTuple):
    """One line. ``pattern`` is cleaned; ``again`` says that it takes back in (``!``)."""

    line: int
    text: str
    pattern: str
    again: bool


class _Below(NamedTuple):
    """What is known of a directory: which rules match it or one above it, and what that makes of what is in it."""

    matched: int  # one bit a rule
    ignored: bool


_NOWHERE = _Below(0, False)


class Ignore:
    """The rules of one file. Paths are relative to the context, with ``/`` between names and none at either end."""

    __slots__ = ("_below", "_last", "_literals", "_matchers", "_wild", "rules")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        self._below: dict[str, _Below] = {"": _NOWHERE}
        self._last = ("", False)  # the directory asked about last, and whether what is in it is ignored
        # Most paths match no rule themselves: that is found out with one look-up and at most one regular expression.
        self._literals = frozenset(rule.pattern for rule in self.rules if not is_pattern(rule.pattern))
        self._matchers: list[Callable[[str], object]] = []
        expressions: list[str] = []
        for rule in self.rules:
            if rule.pattern in self._literals:
                self._matchers.append(rule.pattern.__eq__)
                continue
            import re

            expression = _regex(rule.pattern)
            expressions.append(expression)
            self._matchers.append(re.compile(expression, re.DOTALL).fullmatch)
        self._wild: Callable[[str], object] | None = None
        if expressions:
            import re

            self._wild = re.compile("|".join(dict.fromkeys(expressions)), re.DOTALL).fullmatch

    @classmethod
    def parse(cls, text: bytes | str, name: str = ".dockerignore") -> Ignore:
        """Raises Invalid, naming the line of ``name``: a bare ``!``, a malformed pattern, a file beyond the limit."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        if len(text) > SIZE_LIMIT_BYTES:
            raise Invalid(f"{name} is larger than the limit of {SIZE_LIMIT_BYTES} bytes")
        rules: list[Rule] = []
        for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
            if line.startswith("#"):
                continue
            written = line.strip()
            if not written:
                continue
            again = written.startswith("!")
            pattern = written[1:].strip() if again else written
            if not pattern:
                raise Invalid(f'{name} line {number}: illegal exclusion pattern: "!"', hint="A ! needs a pattern.")
            if "\0" in pattern:
                raise Invalid(f"{name} line {number}: NUL byte")
            try:
                rules.append(Rule(number, written, _checked(pattern), again))
            except BadPattern as error:
                raise Invalid(f"{name} line {number}: {error.message}", hint=error.hint)
        return cls(rules)

    @classmethod
    def excluding(cls, patterns: Iterable[str]) -> Ignore:
        """What ``--exclude`` leaves out: the same language, a pattern each. Raises Invalid, BadPattern."""
        rules: list[Rule] = []
        for number, text in enumerate(patterns, 1):
            written = text.strip()
            again = written.startswith("!")
            pattern = written[1:].strip() if again else written
            if pattern:
                rules.append(Rule(number, written, _checked(pattern), again))
            elif again:
                raise Invalid('illegal exclusion pattern: "!"', hint="A ! needs a pattern.")
        return cls(rules)

    @classmethod
    def only(cls, pattern: str) -> Ignore:
        """Leaves out all but what ``pattern`` matches, and what is below that. Raises BadPattern."""
        return cls((Rule(1, "**", "**", False), Rule(2, pattern, _checked(pattern), True)))

    def ignores(self, path: str) -> bool:
        """Whether ``path`` itself is left out. What is below it may yet be taken in: ``may_include_below``."""
        if path in self._literals or (self._wild is not None and self._wild(path)):
            return self._judge(path)[0].ignored if path else False
        parent = path.rpartition("/")[0]
        if parent != self._last[0]:
            self._last = (parent, self._inside(parent).ignored)
        return self._last[1]

    def rule(self, path: str) -> Rule | None:
        """The rule that leaves ``path`` out; None where it is not left out."""
        if not self.ignores(path):
            return None
        return self._judge(path)[1]

    def may_include_below(self, path: str) -> bool:
        """Whether something below the directory ``path`` may be taken in although it is ignored itself."""
        parts = path.split("/") if path else []
        return any(rule.again and _reaches_below(rule.pattern, parts) for rule in self.rules)

    def _inside(self, directory: str) -> _Below:
        found = self._below.get(directory)
        if found is not None:
            return found
        unknown = [directory]
        while unknown[-1].rpartition("/")[0] not in self._below:
            unknown.append(unknown[-1].rpartition("/")[0])
        for path in reversed(unknown):
            found = self._below[path] = self._judge(path)[0]
        return found or _NOWHERE

    def _judge(self, path: str) -> tuple[_Below, Rule | None]:
        """All rules in order, as BuildKit applies them: one that could change nothing is not even tried."""
        above = self._inside(path.rpartition("/")[0]).matched
        ignored, bits, decisive = False, 0, None
        for number, rule in enumerate(self.rules):
            bit = 1 << number
            if not above & bit and (rule.again != ignored or not self._matchers[number](path)):
                continue
            bits |= bit
            ignored = not rule.again
            decisive = rule
        # What is in it, and matches no rule itself, is decided by the last of the rules that match here.
        return _Below(bits, ignored), decisive


class Chosen:
    """What ``--exclude`` and ``--parents`` leave of a directory that is a source, besides what the ignore file leaves.

    Rules of the whole tree (``context``), and rules whose paths are relative to the source at ``root``.

    A directory that only the latter leave out is there all the same when something below it is taken (``leads``).
    """

    __slots__ = ("_context", "_own", "_start")

    def __init__(self, context: Ignoring | None, own: tuple[Ignore, ...], root: str) -> None:
        self._context = context
        self._own = own
        self._start = len(root) + 1 if root else 0

    def ignores(self, path: str) -> bool:
        if self._context is not None and self._context.ignores(path):
            return True
        below = path[self._start :]
        return any(rules.ignores(below) for rules in self._own)

    def may_include_below(self, path: str) -> bool:
        if self._context is not None and self._context.ignores(path) and not self._context.may_include_below(path):
            return False
        below = path[self._start :]
        return all(not rules.ignores(below) or rules.may_include_below(below) for rules in self._own)

    def leads(self, path: str) -> bool:
        """Whether the directory ``path`` is there only for what is below it."""
        below = path[self._start :]
        return any(rules.ignores(below) for rules in self._own)


def _checked(pattern: str) -> str:
    cleaned = _cleaned(pattern)
    regex(cleaned)
    return cleaned


def _cleaned(pattern: str) -> str:
    """Go's filepath.Clean, and without the slash at the front."""
    rooted = pattern.startswith("/")
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            if parts and parts[-1] != "..":
                parts.pop()
            elif not rooted:
                parts.append(part)
        elif part and part != ".":
            parts.append(part)
    return "/".join(parts) or ("/" if rooted else ".")


def _regex(pattern: str) -> str:
    """A pattern with ``**`` as a regular expression. ``**/`` is any number of directories, none included."""
    pieces: list[str] = []
    position, length = 0, len(pattern)
    while position < length:
        char = pattern[position]
        if char == "[":
            piece, position = character_class(pattern, position)
            pieces.append(piece)
            continue
        if not pattern.startswith("**", position):
            width = 2 if char == "\\" else 1
            pieces.append(regex(pattern[position : position + width]))
            position += width
            continue
        first = position == 0
        position += 2
        if first and not is_pattern(pattern[position:]):
            # **/name: a name at any depth; **name: whatever ends so.
            rest = pattern[position:]
            return "(?:.*/)?" + regex(rest[1:]) if rest.startswith("/") else ".*" + regex(rest)
        if pattern.startswith("/", position):
            position += 1
        pieces.append(".*" if position == length else "(?:.*/)?")
    return "".join(pieces)


def _reaches_below(pattern: str, parts: list[str]) -> bool:
    for number, part in enumerate(pattern.split("/")):
        if "**" in part or number >= len(parts):
            return True
        if not match(part, parts[number]):
            return False
    return False
