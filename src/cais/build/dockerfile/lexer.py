"""Text to statements: directives, continuations, comments, heredocs. Every byte of the file is in one part.

The rules are those of Docker's reference ("Parser directives", "Escape", "Here-documents") as BuildKit applies them.
"""

from __future__ import annotations

from cais.build.dockerfile.errors import ParseError, Span
from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.words import SPACES, NotStrings, json_array, split_first, split_flags
from cais.errors import Invalid
from cais.spec.named import NamedTuple

# Beyond these a file is refused: nobody wrote it, and memory stays bounded.
SIZE_LIMIT_BYTES = 16 << 20
INSTRUCTION_LIMIT = 20_000
# An instruction with its continuations, heredocs not counted.
LINE_LIMIT_CHARACTERS = 1 << 20
_LINE_LIMIT = 65535  # one line of the file, as at Docker

DIRECTIVES = frozenset(("syntax", "escape", "check"))
_HEREDOC_KEYWORDS = frozenset(("run", "copy", "add"))
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_LETTERS_DIGITS = _LETTERS | frozenset("0123456789")
_BOM = "\ufeff"


class Heredoc(NamedTuple):
    """``<<NAME`` and its lines. ``content`` is as written; ``body`` is what the reader gets."""

    name: str
    content: str
    expand: bool = True  # the name was not quoted
    strip_tabs: bool = False  # <<-
    descriptor: int = 0  # 3<<NAME

    @property
    def body(self) -> str:
        if not self.strip_tabs:
            return self.content
        return "\n".join(line.lstrip("\t") for line in self.content.split("\n"))


class Statement(NamedTuple):
    """One instruction: ``line`` is its text with continuations joined and comments gone."""

    keyword: str  # as written
    flags: tuple[str, ...]
    rest: str
    heredocs: tuple[Heredoc, ...]
    line: str
    span: Span
    raw: str  # the lines as they stand in the file
    empty_continuation: bool = False  # deprecated: a blank line inside


class Trivia(NamedTuple):
    """Comments, directives and blank lines between instructions."""

    raw: str


class Lexed(NamedTuple):
    parts: tuple[Statement | Trivia, ...]
    escape: str
    directives: dict[str, str]

    @property
    def statements(self) -> list[Statement]:
        return [part for part in self.parts if isinstance(part, Statement)]


def decode(source: bytes) -> str:
    """The file as text; bytes that are not UTF-8 stay what they are (surrogateescape). Raises Invalid."""
    if len(source) > SIZE_LIMIT_BYTES:
        raise Invalid(f"the Dockerfile is {len(source)} bytes, more than the limit of {SIZE_LIMIT_BYTES}")
    nul = source.find(b"\0")
    if nul >= 0:
        line = source.count(b"\n", 0, nul) + 1
        raise ParseError(
            "NUL byte", Span(line, line), hint="A Dockerfile is text in UTF-8: save it as UTF-8, not UTF-16."
        )
    return source.decode("utf-8", "surrogateescape")


def lex(text: str) -> Lexed:
    """Raises ParseError: a directive given twice or with a bad value, an endless heredoc; Invalid: too long."""
    return _Lexer(text).lex()


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.line_number = 0  # of the line read last
        self.escape = "\\"
        self.directives: dict[str, str] = {}
        self.directives_over = False

    def next_line(self) -> str | None:
        """The next line with its newline, or None at the end."""
        start = self.position
        if start >= len(self.text):
            return None
        end = self.text.find("\n", start) + 1 or len(self.text)
        self.position = end
        self.line_number += 1
        if end - start > _LINE_LIMIT + 1:
            raise ParseError(
                f"dockerfile line greater than max allowed size of {_LINE_LIMIT}",
                Span(self.line_number, self.line_number),
                hint="Copy what is so long from a file of the context.",
            )
        return self.text[start:end]

    def lex(self) -> Lexed:
        text = self.text
        parts: list[Statement | Trivia] = []
        trivia_start = 0
        count = 0
        while True:
            start = self.position
            line = self.next_line()
            if line is None:
                break
            if start == 0 and line.startswith(_BOM):
                line = line[1:]
            line = line.strip(SPACES) if line.endswith("\n") else line.lstrip(SPACES)
            if not self.directives_over:
                self.directive(line)
            if not line:
                self.skip_empty_lines()
                continue
            if line[0] == "#":
                continue
            if trivia_start < start:
                parts.append(Trivia(text[trivia_start:start]))
            count += 1
            if count > INSTRUCTION_LIMIT:
                raise Invalid(f"the Dockerfile has more than {INSTRUCTION_LIMIT} instructions")
            statement = self.statement(start, line)
            trivia_start = self.position
            parts.append(statement if statement is not None else Trivia(text[start:trivia_start]))
        if trivia_start < len(text):
            parts.append(Trivia(text[trivia_start:]))
        return Lexed(tuple(parts), self.escape, self.directives)

    def skip_empty_lines(self) -> None:
        """A file of ten million of them takes no time."""
        while self.text.startswith("\n", self.position):
            chunk = self.text[self.position : self.position + 4096]
            count = len(chunk) - len(chunk.lstrip("\n"))
            self.position += count
            self.line_number += count

    def directive(self, line: str) -> None:
        """``# name=value`` counts only above everything else."""
        found = _directive(line)
        if found is None:
            self.directives_over = True
            return
        name, value = found
        span = Span(self.line_number, self.line_number)
        if name in self.directives:
            raise ParseError(f"only one {name} parser directive can be used", span)
        if name == "escape":
            if value not in ("`", "\\"):
                raise ParseError(f"invalid escape token '{value}' does not match ` or \\", span)
            self.escape = value
        self.directives[name] = value

    def statement(self, start: int, line: str) -> Statement | None:
        first_line = self.line_number
        piece, goes_on = self.continued(line)
        empty_continuation = False
        if goes_on:
            pieces = [piece]
            length = len(piece)
            while goes_on:
                following = self.next_line()
                if following is None:
                    break
                following = following.rstrip("\r\n")
                stripped = following.lstrip(SPACES)
                if not stripped:
                    empty_continuation = True
                    continue
                if stripped[0] == "#":
                    continue
                piece, goes_on = self.continued(following)
                pieces.append(piece)
                length += len(piece)
                if length > LINE_LIMIT_CHARACTERS:
                    break
            line = "".join(pieces).strip(SPACES)
            if not line:
                return None
        if len(line) > LINE_LIMIT_CHARACTERS:
            raise ParseError(
                f"the instruction is longer than {LINE_LIMIT_CHARACTERS} characters",
                Span(first_line, self.line_number),
                hint="Put a long text into a heredoc, or into a file that is copied.",
            )
        keyword, rest = split_first(line)
        flags, rest = split_flags(rest)
        rest = rest.strip(SPACES)
        heredocs = self.heredocs(keyword, rest, first_line) if "<<" in rest else ()
        span = Span(first_line, self.line_number)
        raw = self.text[start : self.position]
        return Statement(keyword, flags, rest, heredocs, line, span, raw, empty_continuation)

    def continued(self, line: str) -> tuple[str, bool]:
        """The line without an escape at its end, and whether there was one. Two escapes are none."""
        end = line.rstrip(" \t")
        if not end.endswith(self.escape):
            return line, False
        if len(end) > 1 and end[-2] == self.escape:
            return line, False
        return end[:-1], True

    def heredocs(self, keyword: str, rest: str, first_line: int) -> tuple[Heredoc, ...]:
        keyword = keyword.lower()
        if keyword == "onbuild":
            keyword, rest = split_first(rest)
            keyword = keyword.lower()
            rest = split_flags(rest)[1].strip(SPACES)
        if keyword not in _HEREDOC_KEYWORDS:
            return ()
        try:
            if json_array(rest) is not None:
                return ()
            words = expand(rest, {}, raw_quotes=True, raw_escapes=True, keep_unset=True).words
        except (NotStrings, ExpansionError):
            return ()  # what is wrong is said later, or by the shell
        docs: list[Heredoc] = []
        for word in words:
            doc = heredoc_of(word)
            if doc is None:
                continue
            content: list[str] = []
            while True:
                line = self.next_line()
                if line is None:
                    raise ParseError(
                        "unterminated heredoc",
                        Span(first_line, self.line_number),
                        hint=f"No line with nothing but {doc.name} ends <<{doc.name}.",
                    )
                end = line.rstrip("\r\n")
                if (end.lstrip("\t") if doc.strip_tabs else end) == doc.name:
                    break
                content.append(line)
            docs.append(doc._replace(content="".join(content)))
        return tuple(docs)


def heredoc_of(word: str) -> Heredoc | None:
    """``3<<-"NAME"`` as a Heredoc without content; None when ``word`` is something else."""
    digits, arrows, name = word.partition("<<")
    if not arrows or (digits and not (digits.isascii() and digits.isdigit())) or len(digits) > 9 or "<" in name:
        return None
    strip_tabs = name.startswith("-")
    if strip_tabs:
        name = name[1:]
    if not name:
        return None
    try:
        quoted = expand(name, {}, raw_quotes=True, keep_unset=True).words
        plain = expand(name, {}, keep_unset=True).words
    except ExpansionError:
        return None
    if len(quoted) != 1 or len(plain) != 1:
        return None
    return Heredoc(plain[0], "", quoted[0] == plain[0], strip_tabs, int(digits or 0))


def _directive(line: str) -> tuple[str, str] | None:
    if not line.startswith("#"):
        return None
    name, equals, value = line[1:].partition("=")
    name, value = name.strip(SPACES), value.strip(SPACES)
    if not equals or not name or not value or name[0] not in _LETTERS or not _LETTERS_DIGITS.issuperset(name):
        return None
    name = name.lower()
    return (name, value) if name in DIRECTIVES else None
