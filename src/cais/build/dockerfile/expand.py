"""``$name`` and ``${name...}`` as Docker expands them, quotes and escapes, and which names were used.

``${v:-w}`` ``${v-w}`` ``${v:+w}`` ``${v+w}`` ``${v:?w}`` ``${v?w}`` ``${v#p}`` ``${v##p}`` ``${v%p}`` ``${v%%p}``
``${v/p/r}`` ``${v//p/r}``
(Docker's reference, "Environment replacement"; the patterns know ``*`` and ``?``).
"""

from __future__ import annotations

from collections.abc import Mapping

from cais.build.dockerfile.words import SPACES
from cais.spec.named import NamedTuple

# A value that grows beyond this (ENV a=$a$a, forty times) is refused.
RESULT_LIMIT_CHARACTERS = 16 << 20
DEPTH_LIMIT = 50

_SPACE_SET = frozenset(SPACES)
_SPECIAL_NAMES = frozenset("@*#?-$!0")


class ExpansionError(Exception):
    """Why a word cannot be expanded; the caller knows the line."""


class Expansion(NamedTuple):
    """``words`` is ``text`` split at blanks that were neither quoted nor escaped."""

    text: str
    words: tuple[str, ...]
    used: frozenset[str]  # names that had a value
    unset: frozenset[str]  # names that had none


_NONE: frozenset[str] = frozenset()


def expand(
    text: str,
    variables: Mapping[str, str],
    *,
    escape: str = "\\",
    quotes: bool = True,
    raw_quotes: bool = False,
    raw_escapes: bool = False,
    keep_unset: bool = False,
) -> Expansion:
    """``text`` with its variables replaced. Raises ExpansionError: bad syntax, ``${v:?message}``, too long.

    ``quotes`` False leaves quotes alone (heredocs); ``raw_quotes`` and ``raw_escapes`` heed but keep them;
    ``keep_unset`` leaves variables without a value as they are written.
    """
    if "$" not in text and escape not in text and (not quotes or ('"' not in text and "'" not in text)):
        return Expansion(text, tuple(_split(text)), _NONE, _NONE)
    scanner = _Scanner(text, variables, escape, quotes, raw_quotes, keep_unset)
    try:
        result, words = scanner.until("", raw_escapes)
    except ExpansionError as error:
        shown = text if len(text) <= 200 else text[:200] + "..."
        raise ExpansionError(f'failed to process "{shown}": {error}')
    return Expansion(result, tuple(words), frozenset(scanner.used), frozenset(scanner.unset))


def _split(text: str) -> list[str]:
    if text.isascii() and text.isprintable():
        return text.split()
    words: list[str] = []
    start = -1
    for index, char in enumerate(text):
        if char in _SPACE_SET:
            if start >= 0:
                words.append(text[start:index])
                start = -1
        elif start < 0:
            start = index
    if start >= 0:
        words.append(text[start:])
    return words


class _Words:
    """Collects the words of a result while it is made."""

    __slots__ = ("open", "words")

    def __init__(self) -> None:
        self.words: list[str] = []
        self.open: list[str] = []

    def add(self, text: str) -> None:
        """Text whose blanks separate words."""
        for char in text:
            if char not in _SPACE_SET:
                self.open.append(char)
            elif self.open:
                self.end()

    def add_raw(self, text: str) -> None:
        """Text that belongs to one word, blanks included."""
        self.open.append(text)

    def end(self) -> list[str]:
        word = "".join(self.open)
        if word:
            self.words.append(word)
        self.open = []
        return self.words


class _Scanner:
    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, quotes: bool, raw_quotes: bool, keep_unset: bool
    ) -> None:
        self.text = text
        self.position = 0
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.raw_quotes = raw_quotes
        self.keep_unset = keep_unset
        self.used: set[str] = set()
        self.unset: set[str] = set()
        self.depth = 0
        self.length = 0
        self.plain_stops = frozenset("$" + escape + ("'\"" if quotes else ""))

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.position : self.position + 1]

    def next(self) -> str:
        char = self.text[self.position : self.position + 1]
        self.position += 1
        return char

    def grown(self, text: str) -> str:
        self.length += len(text)
        if self.length > RESULT_LIMIT_CHARACTERS:
            raise ExpansionError(f"the result is longer than {RESULT_LIMIT_CHARACTERS} characters")
        return text

    def until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """To the unquoted character ``stop``, or to the end when it is ""."""
        result: list[str] = []
        words = _Words()
        text, end = self.text, len(self.text)
        stops = self.plain_stops | {stop} if stop else self.plain_stops
        while self.position < end:
            start = position = self.position
            while position < end and text[position] not in stops:
                position += 1
            if position > start:
                run = text[start:position]
                self.position = position
                result.append(self.grown(run))
                words.add(run)
                continue
            char = text[position]
            if char == stop:
                self.position += 1
                return "".join(result), words.end()
            if char == "$":
                piece = self.grown(self.dollar(raw_escapes))
                result.append(piece)
                words.add(piece)
            elif char == self.escape:
                self.position += 1
                if raw_escapes:
                    result.append(char)
                    words.add_raw(char)
                escaped = self.next()
                result.append(escaped)
                words.add_raw(escaped)
            else:
                piece = self.single_quoted() if char == "'" else self.double_quoted(raw_escapes)
                result.append(piece)
                words.add_raw(piece)
        if stop:
            raise ExpansionError(f"unexpected end of statement while looking for matching {stop}")
        return "".join(result), words.end()

    def single_quoted(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise ExpansionError("unexpected end of statement while looking for matching single-quote")
        inner = self.text[self.position : end + 1]
        self.position = end + 1
        return self.grown(inner if self.raw_quotes else inner[1:-1])

    def double_quoted(self, raw_escapes: bool) -> str:
        result: list[str] = []
        self.position += 1
        if self.raw_quotes:
            result.append('"')
        while True:
            char = self.peek()
            if not char:
                raise ExpansionError("unexpected end of statement while looking for matching double-quote")
            if char == "$":
                result.append(self.grown(self.dollar(raw_escapes)))
                continue
            self.position += 1
            if char == '"':
                if self.raw_quotes:
                    result.append('"')
                return self.grown("".join(result))
            if char == self.escape:
                if raw_escapes:
                    result.append(char)
                following = self.peek()
                if not following:
                    continue
                if following == '"' or following == "$" or following == self.escape:
                    char = self.next()
            result.append(char)

    def name(self) -> str:
        """A variable's name, a number, or one of the shell's special parameters; "" for none."""
        text, start, end = self.text, self.position, len(self.text)
        position = start
        first = text[position : position + 1]
        if first.isdigit():
            while position < end and text[position].isdigit():
                position += 1
        elif first in _SPECIAL_NAMES and first:
            position += 1
        else:
            while position < end and (text[position].isalnum() or text[position] == "_"):
                position += 1
        self.position = position
        return text[start:position]

    def lookup(self, name: str) -> str | None:
        value = self.variables.get(name)
        (self.unset if value is None else self.used).add(name)
        return value

    def dollar(self, raw_escapes: bool) -> str:
        self.position += 1
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.lookup(name)
            if value is None:
                return "$" + name if self.keep_unset else ""
            return value
        self.position += 1
        if not self.peek():
            raise ExpansionError("syntax error: missing '}'")
        if self.peek() in "{}:":
            raise ExpansionError("syntax error: bad substitution")
        self.depth += 1
        if self.depth > DEPTH_LIMIT:
            raise ExpansionError(f"syntax error: substitutions nested more than {DEPTH_LIMIT} deep")
        result = self.braced(self.name())
        self.depth -= 1
        return result

    def word(self, stop: str, raw_escapes: bool) -> str:
        try:
            return self.until(stop, raw_escapes)[0]
        except ExpansionError:
            if self.position >= len(self.text):
                raise ExpansionError(f"syntax error: missing '{stop}'" + (" in ${}" if stop == "/" else ""))
            raise

    def braced(self, name: str) -> str:
        modifier = char = self.next()
        if char == "}":
            value = self.lookup(name)
            if value is None:
                return "${" + name + "}" if self.keep_unset else ""
            return value
        if char == "/":
            return self.replaced(name)
        empty_is_unset = char == ":"
        if empty_is_unset:
            char = self.next()
            modifier += char
        elif not char or char not in "+-?#%":
            raise ExpansionError(
                f"unsupported modifier ({modifier}) in substitution" if char else "syntax error: missing '}'"
            )
        word = self.word("}", char in ("#", "%"))
        # What says itself what to do without a value is not warned about.
        value = self.variables.get(name)
        if value is not None or char in ("#", "%"):
            self.lookup(name)
        if value is None and self.keep_unset:
            return "${" + name + modifier + word + "}"
        given = value is not None and not (empty_is_unset and not value)
        if char == "-":
            return value if given and value is not None else word
        if char == "+":
            return word if given else ""
        if char == "?":
            if value is None or not given:
                reason = "is not allowed to be unset" if value is None else "is not allowed to be empty"
                raise ExpansionError(f"{name}: {word or reason}")
            return value
        if char in ("#", "%") and char:
            longest = word.startswith(char)
            return _trimmed(value or "", word[1:] if longest else word, longest, char == "%")
        raise ExpansionError(f"unsupported modifier ({modifier}) in substitution")

    def replaced(self, name: str) -> str:
        everywhere = self.peek() == "/"
        if everywhere:
            self.position += 1
        pattern = self.word("/", True)
        replacement = self.word("}", True)
        value = self.lookup(name)
        if value is None:
            return "${" + name + "/" + pattern + "/" + replacement + "}" if self.keep_unset else ""
        import re

        return re.sub(_regex(pattern, True), lambda _: self.grown(replacement), value, count=0 if everywhere else 1)


def _trimmed(value: str, pattern: str, longest: bool, at_end: bool) -> str:
    import re

    if not at_end:
        found = re.match(_regex(pattern, longest), value)
        return value[found.end() :] if found else value
    # The shortest or longest end: the pattern read backwards on the value read backwards.
    found = re.match(_regex(pattern, longest, backwards=True), value[::-1])
    return value[: len(value) - found.end()] if found else value


def _regex(pattern: str, longest: bool, backwards: bool = False) -> str:
    import re

    tokens: list[str] = []
    position = 0
    while position < len(pattern):
        char = pattern[position]
        if char == "*":
            if not tokens or not tokens[-1].startswith(".*"):  # ** is *; it keeps the matching quick
                tokens.append(".*" if longest else ".*?")
        elif char == "?":
            tokens.append(".")
        elif char == "\\":
            position += 1
            escaped = pattern[position : position + 1]
            if not escaped or escaped not in "}/*?\\":
                raise ExpansionError(f"invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")
            tokens.append(re.escape(escaped))
        else:
            tokens.append(re.escape(char))
        position += 1
    return "".join(reversed(tokens) if backwards else tokens)
