"""Statements to instructions and stages. ``format(parse(source)) == source``, byte for byte."""

from __future__ import annotations

from cais.build.dockerfile.errors import DockerfileError, ParseError, Span
from cais.build.dockerfile.instructions import Arg, From, Instruction
from cais.build.dockerfile.lexer import Lexed, decode, lex
from cais.build.dockerfile.statements import parse_statement
from cais.spec.named import NamedTuple

__all__ = ["Dockerfile", "Stage", "format", "parse", "parse_statement", "parse_trigger"]


class Stage(NamedTuple):
    """A FROM and what follows it up to the next."""

    number: int  # from 0
    head: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name behind AS in lower case, or ""."""
        return self.head.name


class Dockerfile(NamedTuple):
    lexed: Lexed
    globals: tuple[Arg, ...]  # ARG before the first FROM
    stages: tuple[Stage, ...]

    @property
    def escape(self) -> str:
        return self.lexed.escape

    @property
    def instructions(self) -> list[Instruction]:
        """All of them in the order of the file."""
        found: list[Instruction] = list(self.globals)
        for stage in self.stages:
            found.append(stage.head)
            found.extend(stage.instructions)
        return found


def parse(source: bytes | str) -> Dockerfile:
    """Raises ParseError with the line, DockerfileError without (empty, no FROM), Invalid (too large)."""
    text = decode(source if isinstance(source, bytes) else source.encode("utf-8", "surrogateescape"))
    lexed = lex(text)
    statements = lexed.statements
    if not statements:
        reason = "file with no instructions" if text else "the Dockerfile cannot be empty"
        raise DockerfileError(reason, Span(1, 1), hint="It begins with FROM.")
    global_args: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for statement in statements:
        instruction = parse_statement(statement, lexed.escape)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            global_args.append(instruction)
        else:
            raise ParseError(
                f"no build stage in current context: {statement.keyword.upper()} before the first FROM",
                instruction.span,
                hint="Only ARG may stand before the first FROM.",
            )
    if not stages:
        raise DockerfileError("dockerfile contains no stages to build", Span(1, 1), hint="It has no FROM.")
    return Dockerfile(
        lexed,
        tuple(global_args),
        tuple(Stage(index, head, tuple(body)) for index, (head, body) in enumerate(stages)),
    )


def format(dockerfile: Dockerfile) -> bytes:
    """The bytes that the Dockerfile was parsed from."""
    return "".join([part.raw for part in dockerfile.lexed.parts]).encode("utf-8", "surrogateescape")


def parse_trigger(text: str, span: Span) -> Instruction:
    """An ONBUILD trigger from an image's config. ``span`` is that of the FROM. Raises ParseError."""
    statements = lex(text).statements
    if len(statements) != 1:
        raise ParseError(f"onbuild trigger should be a single expression: {text[:200]!r}", span)
    return parse_statement(statements[0]._replace(span=span), "\\", trigger=True)
