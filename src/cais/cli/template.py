"""Go templates as Docker's users write them in ``--format``: the parser. ``template_run`` evaluates what it makes.

All of text/template but ``define``, ``template`` and ``block``: fields, methods, variables, pipelines, parentheses,
``if range with else end break continue``, comments and trim markers. A node is a tuple whose first item names it:

    ("text", text)    ("pipe", pipe)    ("if"|"with", pipe, then, otherwise)    ("range", pipe, body, otherwise)
    ("break",)        ("continue",)
    pipe:    (names, assigns, commands, position) - ``$a, $b := command | command``
    command: a tuple of operands, the first may be a function or method that takes the others
    operand: ("dot",) ("field", names, text, position) ("variable", name, names, text, position) ("value", value)
             ("function", name, position) ("pipe", pipe) ("chain", operand, names, text, position)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Node = tuple[Any, ...]

FUNCTIONS = frozenset((
    "and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "index", "slice", "print", "printf", "println",
    "html", "js", "urlquery", "call", "json", "split", "join", "title", "lower", "upper", "pad", "truncate",
))  # fmt: skip
_KEYWORDS = frozenset(("if", "range", "with", "else", "end", "break", "continue", "define", "template", "block"))
_SPACES = " \t\r\n"
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'"}


class TemplateError(Exception):
    """The template is wrong, or does not fit what it is given; worded as Go words it."""


class Template:
    """A parsed template. ``name`` stands in error messages, as in Go. Raises TemplateError."""

    def __init__(self, text: str, name: str = "") -> None:
        self.text, self.name = text, name
        self.nodes = _Parser(text, name).parse()

    def run(self, dot: Any) -> str:
        """The template's text for ``dot``. Raises TemplateError."""
        from cais.cli.template_run import run

        return run(self, dot)


class _Token:
    __slots__ = ("kind", "position", "spaced", "text", "value")

    def __init__(self, kind: str, text: str, position: int, spaced: bool, value: Any = None) -> None:
        self.kind, self.text, self.position, self.spaced, self.value = kind, text, position, spaced, value


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.tokens: list[_Token] = []
        self.index = 0
        self.variables = ["$"]
        self.loops = 0

    def error(self, message: str, position: int) -> TemplateError:
        return TemplateError(f"template: {self.name}:{self.text.count(chr(10), 0, position) + 1}: {message}")

    # --- tokens -------------------------------------------------------------------------------------------------------

    def scan(self) -> None:
        text, position, trim = self.text, 0, False
        while True:
            start = text.find("{{", position)
            piece = text[position:] if start < 0 else text[position:start]
            if trim:
                piece = piece.lstrip(_SPACES)
            if start >= 0 and text.startswith("-", start + 2) and text[start + 3 : start + 4] in tuple(_SPACES):
                piece = piece.rstrip(_SPACES)
            if piece:
                self.tokens.append(_Token("text", piece, position, False))
            if start < 0:
                break
            position, trim = self.scan_action(start)
        self.tokens.append(_Token("eof", "EOF", len(text), False))

    def scan_action(self, start: int) -> tuple[int, bool]:
        """The tokens of one action; where the text goes on, and whether its first spaces are cut."""
        text, position = self.text, start + 2
        if text.startswith("-", position) and text[position + 1 : position + 2] in tuple(_SPACES):
            position += 1
        comment = position
        while text[comment : comment + 1] in tuple(_SPACES):
            comment += 1
        if text.startswith("/*", comment):
            end = text.find("*/", comment)
            if end < 0:
                raise self.error("unclosed comment", start)
            end += 2
            if text[end : end + 1] in tuple(_SPACES) and text.startswith("-}}", end + 1):
                return end + 4, True
            if not text.startswith("}}", end):
                raise self.error("comment ends before closing delimiter", start)
            return end + 2, False
        self.tokens.append(_Token("open", "{{", start, False))
        spaced = False
        while True:
            if text[position : position + 1] in tuple(_SPACES) and text.startswith("-}}", position + 1):
                self.tokens.append(_Token("close", "-}}", position, spaced))
                return position + 4, True
            if text.startswith("}}", position):
                self.tokens.append(_Token("close", "}}", position, spaced))
                return position + 2, False
            if position >= len(text):
                raise self.error("unclosed action", position)
            letter = text[position]
            if letter in _SPACES:
                position, spaced = position + 1, True
                continue
            position = self.scan_token(letter, position, spaced)
            spaced = False

    def scan_token(self, letter: str, position: int, spaced: bool) -> int:
        text, end = self.text, position + 1
        following = text[end : end + 1]
        if letter == '"' or letter == "'":
            while text[end : end + 1] not in ("", "\n", letter):
                end += 2 if text[end] == "\\" else 1
            if text[end : end + 1] != letter:
                what = "quoted string" if letter == '"' else "character constant"
                raise self.error(f"unterminated {what}", position)
            end += 1
            value: Any = self.unescaped(text[position + 1 : end - 1], position)
            if letter == "'":
                value = ord(value) if len(value) == 1 else -1
            self.add("value", position, end, spaced, value)
        elif letter == "`":
            end = text.find("`", end) + 1
            if not end:
                raise self.error("unterminated raw quoted string", position)
            self.add("value", position, end, spaced, text[position + 1 : end - 1])
        elif letter in "|(),":
            self.add(letter, position, end, spaced)
        elif letter == "=":
            self.add("=", position, end, spaced)
        elif letter == ":":
            if following != "=":
                raise self.error("expected :=", position)
            end += 1
            self.add(":=", position, end, spaced)
        elif letter.isdigit() or (letter in "+-." and following.isdigit()):
            while text[end : end + 1].isalnum() or text[end : end + 1] in ("_", "."):
                end += 1
            self.add("value", position, end, spaced, self.number(text[position:end], position))
        elif letter in ".$" or letter.isalpha() or letter == "_":
            while text[end : end + 1].isalnum() or text[end : end + 1] == "_":
                end += 1
            kind = {".": "field", "$": "variable"}.get(letter, "word")
            if letter == "." and end == position + 1:
                kind = "dot"
            word = text[position:end]
            if kind == "word" and word in ("true", "false", "nil"):
                self.add("value", position, end, spaced, {"true": True, "false": False, "nil": None}[word])
            else:
                self.add("keyword" if word in _KEYWORDS else kind, position, end, spaced)
        else:
            raise self.error(f"unexpected {_quoted(letter)} in operand" if letter in "{}" else
                             f"unrecognized character in action: U+{ord(letter):04X} '{letter}'", position)  # fmt: skip
        return end

    def add(self, kind: str, start: int, end: int, spaced: bool, value: Any = None) -> None:
        self.tokens.append(_Token(kind, self.text[start:end], start, spaced, value))

    def number(self, text: str, position: int) -> int | float:
        try:
            return int(text, 0)
        except ValueError:
            try:
                return float(text)
            except ValueError:
                raise self.error(f'bad number syntax: "{text}"', position)

    def unescaped(self, text: str, position: int) -> str:
        if "\\" not in text:
            return text
        result, index = "", 0
        while index < len(text):
            if text[index] != "\\":
                result += text[index]
                index += 1
                continue
            letter = text[index + 1]
            width = {"x": 2, "u": 4, "U": 8}.get(letter, 0)
            try:
                if width:
                    result += chr(int(text[index + 2 : index + 2 + width], 16))
                elif letter in "01234567":
                    width = 2
                    result += chr(int(text[index + 1 : index + 4], 8))
                else:
                    result += _ESCAPES[letter]
            except (KeyError, ValueError, OverflowError):
                raise self.error(f'invalid syntax in "{text}"', position)
            index += 2 + width
        return result

    # --- nodes --------------------------------------------------------------------------------------------------------

    def parse(self) -> list[Node]:
        self.scan()
        return self.body(("eof",))[0]

    def next(self) -> _Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def body(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """Nodes up to one of ``ends`` ("eof", "end", "else"), which is taken and returned."""
        nodes: list[Node] = []
        while True:
            token = self.next()
            if token.kind == "text":
                nodes.append(("text", token.text))
                continue
            if token.kind == "eof":
                if "eof" in ends:
                    return nodes, "eof"
                raise self.error("unexpected EOF", token.position)
            keyword = self.tokens[self.index]
            if keyword.kind != "keyword":
                nodes.append(("pipe", self.pipe("command")))
                continue
            self.index += 1
            word = keyword.text
            if word in ("end", "else"):
                if word not in ends:
                    raise self.error(f"unexpected {{{{{word}}}}}", keyword.position)
                if word == "end":
                    self.close("end")
                return nodes, word
            if word in ("break", "continue"):
                if not self.loops:
                    raise self.error(f"{{{{{word}}}}} outside {{{{range}}}}", keyword.position)
                self.close(f"{{{{{word}}}}}")
                nodes.append((word,))
            elif word in ("if", "with", "range"):
                nodes.append(self.control(word))
            else:
                raise self.error(f"{{{{{word}}}}} is not supported", keyword.position)

    def control(self, word: str) -> Node:
        depth = len(self.variables)
        pipe = self.pipe(word)
        self.loops += word == "range"
        body, end = self.body(("end", "else"))
        self.loops -= word == "range"
        otherwise: list[Node] = []
        if end == "else":
            token = self.tokens[self.index]
            if token.kind == "keyword" and token.text == word and word != "range":
                self.index += 1
                otherwise = [self.control(word)]
            else:
                self.close("else")
                otherwise, _ = self.body(("end",))
        del self.variables[depth:]
        return (word, pipe, body, otherwise)

    def close(self, where: str) -> None:
        token = self.next()
        if token.kind != "close":
            raise self.error(f"unexpected {_quoted(token.text)} in {where}", token.position)

    def pipe(self, where: str, closing: str = "close") -> Node:
        names: list[str] = []
        assigns = False
        start = self.index
        while self.tokens[self.index].kind == "variable":
            after = self.tokens[self.index + 1]
            if after.kind in (":=", "="):
                names.append(self.tokens[self.index].text)
                assigns = after.kind == "="
                self.index += 2
                break
            if after.kind != "," or where != "range" or len(names) > 1:
                names.clear()
                self.index = start
                break
            names.append(self.tokens[self.index].text)
            self.index += 2
        else:
            names.clear()
            self.index = start
        position = self.tokens[self.index].position
        commands: list[Node] = []
        while True:
            token = self.tokens[self.index]
            if token.kind == closing:
                self.index += 1
                if not commands:
                    raise self.error(f"missing value for {where}", token.position)
                break
            commands.append(self.command(where))
            if self.tokens[self.index].kind == "|":
                self.index += 1
                if self.tokens[self.index].kind in ("close", ")"):
                    raise self.error(f"missing value for {where}", token.position)
        for name in names:
            if assigns and name not in self.variables:
                raise self.error(f'undefined variable "{name}"', position)
        self.variables += names if not assigns else []
        return (tuple(names), assigns, tuple(commands), position)

    def command(self, where: str) -> Node:
        operands: list[Node] = []
        while True:
            operand = self.operand()
            if operand is not None:
                operands.append(operand)
            token = self.tokens[self.index]
            if token.kind in ("close", ")", "|"):
                break
            if operand is None or not token.spaced:
                raise self.error(f"unexpected {_quoted(token.text)} in operand", token.position)
        if not operands:
            raise self.error("empty command", self.tokens[self.index].position)
        if len(operands) > 1 and operands[0][0] == "value":
            raise self.error(f"can't give argument to non-function {_shown(operands[0][1])}", self.tokens[0].position)
        return tuple(operands)

    def operand(self) -> Node | None:
        token = self.tokens[self.index]
        if token.kind == "word":
            if token.text not in FUNCTIONS:
                raise self.error(f'function "{token.text}" not defined', token.position)
            node: Node = ("function", token.text, token.position)
        elif token.kind == "value":
            node = ("value", token.value)
        elif token.kind == "dot":
            node = ("dot",)
        elif token.kind == "field":
            node = ("field", (token.text[1:],), token.text, token.position)
        elif token.kind == "variable":
            if token.text not in self.variables:
                raise self.error(f'undefined variable "{token.text}"', token.position)
            node = ("variable", token.text, (), token.text, token.position)
        elif token.kind == "(":
            self.index += 1
            node = ("pipe", self.pipe("parenthesized pipeline", ")"))
            self.index -= 1
        else:
            return None
        self.index += 1
        return self.chained(node, token)

    def chained(self, node: Node, first: _Token) -> Node:
        """``node`` with the fields that follow it without a space."""
        names: list[str] = []
        where = self.tokens[self.index].position
        while self.tokens[self.index].kind == "field" and not self.tokens[self.index].spaced:
            names.append(self.tokens[self.index].text[1:])
            self.index += 1
        if not names:
            return node
        text = "." + ".".join(names)
        if node[0] == "field":
            return ("field", (*node[1], *names), node[2] + text, where)
        if node[0] == "variable":
            return ("variable", node[1], tuple(names), node[3] + text, where)
        if node[0] in ("value", "function", "dot"):
            raise self.error(f"unexpected . after term {_quoted(first.text)}", where)
        return (
            "chain",
            node,
            tuple(names),
            self.text[first.position : self.tokens[self.index].position].strip(),
            where,
        )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shown(value: Any) -> str:
    return _quoted(value) if isinstance(value, str) else str(value)
