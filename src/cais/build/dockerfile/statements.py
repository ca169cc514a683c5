"""One statement to one instruction: a function for each keyword."""

from __future__ import annotations

from collections.abc import Callable

from cais.build.dockerfile.errors import LineError, ParseError, Span, did_you_mean
from cais.build.dockerfile.flags import Flags, run_mount
from cais.build.dockerfile.instructions import (
    EXEC,
    SHELL,
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from cais.build.dockerfile.lexer import Heredoc, Statement, heredoc_of
from cais.build.dockerfile.words import (
    SPACES,
    NotStrings,
    json_array,
    split_blank,
    split_first,
    split_flags,
    split_quoted,
)
from cais.spec.go_duration import parse_duration

_STAGE_NAME_REST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
_MINIMUM_DURATION_NANOSECONDS = 1_000_000
_NO_TRIGGERS = frozenset(("ONBUILD", "MAINTAINER", "FROM"))


def parse_statement(statement: Statement, escape: str, *, trigger: bool = False) -> Instruction:
    """One instruction. ``trigger``: it stands behind ONBUILD. Raises ParseError."""
    keyword = statement.keyword.upper()
    function = _PARSERS.get(keyword)
    if function is None:
        shown = statement.keyword if len(statement.keyword) <= 80 else statement.keyword[:80] + "..."
        raise ParseError(f"unknown instruction: {shown}{did_you_mean(keyword, _PARSERS)}", statement.span)
    if trigger:
        if keyword == "ONBUILD":
            raise ParseError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", statement.span)
        if keyword in _NO_TRIGGERS:
            raise ParseError(f"{keyword} isn't allowed as an ONBUILD trigger", statement.span)
    try:
        return function(keyword, statement, escape)
    except NotStrings:
        raise LineError(
            "when using JSON array syntax, arrays must be comprised of strings only", statement.span
        ) from None


def _no_flags(keyword: str, statement: Statement) -> None:
    if statement.flags:
        Flags(keyword, statement.flags, statement.span)


def _one(keyword: str, statement: Statement) -> str:
    _no_flags(keyword, statement)
    if not statement.rest:
        raise ParseError(f"{keyword} requires exactly one argument", statement.span)
    return statement.rest


def _some(keyword: str, statement: Statement) -> str:
    if not statement.rest:
        raise ParseError(f"{keyword} requires at least one argument", statement.span)
    return statement.rest


def _from(keyword: str, statement: Statement, escape: str) -> Instruction:
    span = statement.span
    words = split_blank(statement.rest)
    flags = Flags(keyword, statement.flags, span)
    if len(words) == 1:
        return From(span, statement.line, words[0], platform=flags.text("platform"))
    if len(words) != 3 or words[1].lower() != "as":
        hint = "" if not words else 'It is "FROM image" or "FROM image AS name".'
        raise ParseError("FROM requires either one or three arguments", span, hint=hint)
    name = words[2].lower()
    if not ("a" <= name[0] <= "z" and _STAGE_NAME_REST.issuperset(name)):
        raise ParseError(
            f'invalid name for build stage: "{words[2]}", name can\'t start with a number or contain symbols', span
        )
    return From(span, statement.line, words[0], name, flags.text("platform"), words[2], words[1])


def _arg(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    pairs: list[tuple[str, str | None]] = []
    for word in split_quoted(_some(keyword, statement), escape):
        name, equals, value = word.partition("=")
        if not name:
            raise ParseError("ARG names can not be blank", statement.span)
        pairs.append((name, value if equals else None))
    return Arg(statement.span, statement.line, tuple(pairs))


def _pairs(keyword: str, statement: Statement, escape: str) -> tuple[Pair, ...]:
    _no_flags(keyword, statement)
    words = split_quoted(_some(keyword, statement), escape)
    if words and "=" not in words[0]:
        name, value = split_first(statement.rest)
        if not value:
            raise LineError(f"{keyword} must have two arguments", statement.span)
        return (Pair(name, value, legacy=True),)
    pairs: list[Pair] = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise LineError(
                f'Syntax error - can\'t find = in "{word}". Must be of the form: name=value',
                statement.span,
                hint="A value with blanks needs quotes.",
            )
        if not name:
            raise ParseError(f"{keyword} names can not be blank", statement.span)
        pairs.append(Pair(name, value))
    return tuple(pairs)


def _env(keyword: str, statement: Statement, escape: str) -> Instruction:
    return Env(statement.span, statement.line, _pairs(keyword, statement, escape))


def _label(keyword: str, statement: Statement, escape: str) -> Instruction:
    return Label(statement.span, statement.line, _pairs(keyword, statement, escape))


def _maintainer(keyword: str, statement: Statement, escape: str) -> Instruction:
    return Maintainer(statement.span, statement.line, _one(keyword, statement))


def _command(text: str) -> Command:
    array = json_array(text)
    return Command(SHELL, (text,)) if array is None else Command(EXEC, array)


def _run(keyword: str, statement: Statement, escape: str) -> Instruction:
    span = statement.span
    flags = Flags(keyword, statement.flags, span)
    mounts = tuple(run_mount(value, span) for value in flags.several("mount"))
    network, security = flags.text("network"), flags.text("security")
    if flags.given("network") and network not in ("default", "none", "host"):
        raise ParseError(f'invalid network mode "{network}"', span, hint="It is default, none or host.")
    if flags.given("security") and security not in ("sandbox", "insecure"):
        raise ParseError(f'security "{security}" is not valid', span, hint="It is sandbox or insecure.")
    command = _command(statement.rest)
    return Run(span, statement.line, command, statement.heredocs, mounts, network, security, flags.several("device"))


def _cmd(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    return Cmd(statement.span, statement.line, _command(statement.rest))


def _entrypoint(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    return Entrypoint(statement.span, statement.line, _command(statement.rest))


def _list(text: str) -> list[str]:
    array = json_array(text)
    return split_blank(text) if array is None else list(array)


def _paths(keyword: str, statement: Statement) -> tuple[tuple[str, ...], str, tuple[Heredoc, ...]]:
    """Sources, destination and the heredocs among the sources."""
    words = _list(statement.rest)
    if len(words) < 2:
        raise ParseError(
            f"{keyword} requires at least two arguments, but only one was provided. "
            "Destination could not be determined",
            statement.span,
        )
    *sources, destination = words
    if not statement.heredocs:
        return tuple(sources), destination, ()
    if "<<" in destination and heredoc_of(destination) is not None:
        raise ParseError(f"{keyword} cannot accept a heredoc as a destination", statement.span)
    by_name = {heredoc.name: heredoc for heredoc in statement.heredocs}
    plain: list[str] = []
    heredocs: list[Heredoc] = []
    for source in sources:
        found = heredoc_of(source) if "<<" in source else None
        if found is None or found.name not in by_name:
            plain.append(source)
        else:
            heredocs.append(by_name[found.name])
    return tuple(plain), destination, tuple(heredocs)


def _copy(keyword: str, statement: Statement, escape: str) -> Instruction:
    flags = Flags(keyword, statement.flags, statement.span)
    sources, destination, heredocs = _paths(keyword, statement)
    return Copy(
        statement.span, statement.line, sources, destination, heredocs, flags.text("from"), flags.text("chown"),
        flags.text("chmod"), flags.switch("link"), flags.switch("parents"), flags.several("exclude"),
    )  # fmt: skip


def _add(keyword: str, statement: Statement, escape: str) -> Instruction:
    flags = Flags(keyword, statement.flags, statement.span)
    sources, destination, heredocs = _paths(keyword, statement)
    return Add(
        statement.span, statement.line, sources, destination, heredocs, flags.text("chown"), flags.text("chmod"),
        flags.switch("link"), flags.text("checksum"), flags.switch("keep-git-dir"),
        flags.switch("unpack") if flags.given("unpack") else None, flags.several("exclude"),
    )  # fmt: skip


def _workdir(keyword: str, statement: Statement, escape: str) -> Instruction:
    return Workdir(statement.span, statement.line, _one(keyword, statement))


def _user(keyword: str, statement: Statement, escape: str) -> Instruction:
    return User(statement.span, statement.line, _one(keyword, statement))


def _stop_signal(keyword: str, statement: Statement, escape: str) -> Instruction:
    return StopSignal(statement.span, statement.line, _one(keyword, statement))


def _expose(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    return Expose(statement.span, statement.line, tuple(split_blank(_some(keyword, statement))))


def _volume(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    paths = tuple(_list(_some(keyword, statement)))
    if not paths:
        raise ParseError("VOLUME requires at least one argument", statement.span)
    for path in paths:
        if not path.strip(SPACES):
            raise ParseError("VOLUME specified can not be an empty string", statement.span)
    return Volume(statement.span, statement.line, paths)


def _shell(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    array = json_array(_some(keyword, statement))
    if array is None:
        raise ParseError(
            "SHELL requires the arguments to be in JSON form", statement.span, hint='As in SHELL ["/bin/bash", "-c"].'
        )
    if not array:
        raise ParseError("SHELL requires at least one argument", statement.span)
    return Shell(statement.span, statement.line, array)


def _healthcheck(keyword: str, statement: Statement, escape: str) -> Instruction:
    span = statement.span
    kind, rest = split_first(_some(keyword, statement))
    kind = kind.upper()
    if kind == "NONE":
        if rest:
            raise ParseError("HEALTHCHECK NONE takes no arguments", span)
        return Healthcheck(span, statement.line, ("NONE",))
    flags = Flags(keyword, statement.flags, span)
    if kind != "CMD":
        raise ParseError(f'Unknown type "{kind}" in HEALTHCHECK (try CMD)', span)
    command = _command(rest)
    if not rest or not command.args:
        raise ParseError("Missing command after HEALTHCHECK CMD", span)
    interval, timeout, start_period, start_interval = (
        _time(flags, name, span) for name in ("interval", "timeout", "start-period", "start-interval")
    )
    retries = flags.text("retries")
    digits = retries.removeprefix("-").removeprefix("+")
    if retries and not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ParseError(f'--retries "{retries}" is not a number', span)
    if retries.startswith("-") and int(digits):
        raise ParseError(f"--retries cannot be negative ({retries})", span)
    test = ("CMD" if command.form == EXEC else "CMD-SHELL", *command.args)
    return Healthcheck(span, statement.line, test, interval, timeout, start_period, start_interval, int(digits or 0))


def _time(flags: Flags, name: str, span: Span) -> int:
    """Nanoseconds; 0 where the flag is not given."""
    text = flags.text(name)
    value = parse_duration(text) if text else 0
    if value is None:
        raise ParseError(f'time: invalid duration "{text}" for --{name}', span, hint="As in 30s or 1m30s.")
    if value and value < _MINIMUM_DURATION_NANOSECONDS:
        raise ParseError(f'Interval "{name}" cannot be less than 1ms', span)
    return value


def _onbuild(keyword: str, statement: Statement, escape: str) -> Instruction:
    _no_flags(keyword, statement)
    rest = _some(keyword, statement)
    # What the config keeps: the instruction on one line, its heredocs below it.
    trigger = rest + "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in statement.heredocs)
    inner_keyword, inner_rest = split_first(rest)
    inner = _inner(statement, inner_keyword, inner_rest, rest)
    instruction: Instruction | None = None
    try:
        instruction = parse_statement(inner, escape, trigger=True)
    except ParseError as error:
        if inner_keyword.upper() in _NO_TRIGGERS or isinstance(error, LineError):
            raise
        # What else is wrong with it is said to who builds upon this.
    return OnBuild(statement.span, statement.line, trigger, instruction)


def _inner(statement: Statement, keyword: str, rest: str, line: str) -> Statement:
    flags, rest = split_flags(rest)
    return Statement(keyword, flags, rest.strip(SPACES), statement.heredocs, line, statement.span, "")


_PARSERS: dict[str, Callable[[str, Statement, str], Instruction]] = {
    "FROM": _from,
    "ARG": _arg,
    "ENV": _env,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "RUN": _run,
    "COPY": _copy,
    "ADD": _add,
    "WORKDIR": _workdir,
    "USER": _user,
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "SHELL": _shell,
    "STOPSIGNAL": _stop_signal,
    "HEALTHCHECK": _healthcheck,
    "ONBUILD": _onbuild,
}
