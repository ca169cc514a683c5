"""The parser of a command's arguments, by the rules of pflag, which Docker's client is built on.

Not argparse, because its rules are others and cannot be taught: it accepts prefixes of flags (``--form``), cannot stop
at the first positional of ``run IMAGE COMMAND --flag`` while flags stand before it, gives a list flag followed by a
positional to the wrong one, takes no ``--bool=false``, and words its errors otherwise. It also costs 15 ms and ``re``.
"""

from __future__ import annotations

from cais.cli.declare import BadValue, Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Given:
    """What a command was given: ``call.flags["no-trunc"]`` in ``values``, ``positional``, and which flags were said.

    ``texts``: each flag's name with what was written for it, in order.
    """

    __slots__ = ("positional", "said", "texts", "values")

    def __init__(
        self, values: dict[str, Any], positional: list[str], said: set[str], texts: list[tuple[str, str]]
    ) -> None:
        self.values, self.positional, self.said, self.texts = values, positional, said, texts


class HelpAsked(Exception):
    """``--help`` was among the flags."""


def parse(
    flags: Sequence[Flag], arguments: Sequence[str], *, words: str = "", interspersed: bool = True, full: bool = False
) -> Given:
    """``arguments`` read by ``flags``. Raises UsageError with pflag's message, HelpAsked.

    ``words`` is the command ("image ls"), to tell a flag of Docker's that is not built from an unknown one; with
    ``full`` everything behind the first positional stays as it is there (used before a command is known).
    """
    by_long = {flag.long: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    values: dict[str, Any] = {flag.long: _initial(flag) for flag in flags}
    positional: list[str] = []
    said: set[str] = set()
    texts: list[tuple[str, str]] = []
    index, count = 0, len(arguments)
    while index < count:
        argument = arguments[index]
        index += 1
        if argument == "--":
            positional.extend(arguments[index:])
            break
        if len(argument) < 2 or argument[0] != "-":
            positional.append(argument)
            if not interspersed:
                positional.extend(arguments[index:])
                break
            continue
        if argument[1] == "-":
            name, equals, text = argument[2:].partition("=")
            if argument == "--help":
                raise HelpAsked
            if not name or name[0] == "-":
                raise UsageError(f"bad flag syntax: {argument}")
            flag = by_long.get(name)
            if flag is None:
                raise _unknown(words, f"unknown flag: --{name}", long=name)
            if not equals:
                if flag.kind == "" or flag.optional:
                    text = flag.optional or "true"
                elif index < count:
                    text = arguments[index]
                    index += 1
                else:
                    raise UsageError(f"flag needs an argument: --{name}")
            _take(flag, text, values, said, texts)
            continue
        letters = argument[1:]
        while letters:
            letter, rest = letters[0], letters[1:]
            flag = by_short.get(letter)
            if flag is None:
                if letter == "h":
                    raise HelpAsked
                raise _unknown(words, f"unknown shorthand flag: '{letter}' in -{letters}", short=letter)
            if len(rest) > 1 and rest[0] == "=":
                _take(flag, rest[1:], values, said, texts)
                break
            if flag.kind == "":
                _take(flag, "true", values, said, texts)
                letters = rest
                continue
            if rest:
                _take(flag, rest, values, said, texts)
            elif index < count:
                _take(flag, arguments[index], values, said, texts)
                index += 1
            else:
                raise UsageError(f"flag needs an argument: '{letter}' in -{letters}")
            break
    return Given(values, positional, said, texts)


def check_count(command: Command, words: str, count: int) -> None:
    """Raises UsageError when ``count`` positional arguments are too few or too many."""
    least, most = command.arguments
    if count >= least and (most is None or count <= most):
        return
    if most == 0:
        rule = "accepts no arguments"
    elif least == most:
        rule = f"requires {least} argument{'' if least == 1 else 's'}"
    elif least and most:
        rule = f"requires at least {least} and at most {most} arguments"
    elif most:
        rule = f"requires at most {most} argument{'' if most == 1 else 's'}"
    else:
        rule = f"requires at least {least} argument{'' if least == 1 else 's'}"
    raise UsageError(f"cais: 'cais {words}' {rule}", 1)


def _initial(flag: Flag) -> Any:
    if flag.default is not None:
        return list(flag.default) if isinstance(flag.default, (list, tuple)) else flag.default
    if flag.kind == "":
        return False
    from cais.cli.values import MANY

    return [] if flag.kind in MANY else "" if flag.kind == "string" else None


def _take(flag: Flag, text: str, values: dict[str, Any], said: set[str], texts: list[tuple[str, str]]) -> None:
    from cais.cli.values import MANY, read

    try:
        if flag.check is not None:
            flag.check(text)
        value = read(flag.kind, text)
    except BadValue as error:
        shown = f"-{flag.short}, --{flag.long}" if flag.short else f"--{flag.long}"
        raise UsageError(f'invalid argument {_quoted(text)} for "{shown}" flag: {error}')
    if flag.kind in MANY:
        # What is given replaces the default, and adds up from there.
        values[flag.long] = [*values[flag.long], *value] if flag.long in said else list(value)
    else:
        values[flag.long] = value
    said.add(flag.long)
    texts.append((flag.long, text))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _unknown(words: str, message: str, *, long: str = "", short: str = "") -> UsageError:
    """A flag that Docker has for this command is refused as what it is: not built yet."""
    from cais.cli.docker_flags import long_name

    name = long_name(words, long=long, short=short)
    if name:
        given = f"--{name}" if long else f"-{short} (--{name})"
        return UsageError(f"{given} is not supported by this version of cais")
    return UsageError(message)
