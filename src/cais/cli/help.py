"""Docker's help, rendered from the declarations."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cais.cli.declare import Command, Flag


def of_command(words: str, command: Command, width: int = 80) -> str:
    """The whole help of one command."""
    parts = [f"Usage:  cais {words}{' ' if command.usage else ''}{command.usage}\n\n{command.text}\n"]
    if command.aliases:
        parts.append("Aliases:\n  " + ", ".join("cais " + alias for alias in command.aliases) + "\n")
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        parts.append("Options:\n" + flag_table(shown, width))
    if command.examples:
        parts.append("Examples:\n" + "".join(f"  {line}\n" for line in command.examples))
    return "\n".join(parts)


def of_family(family: str) -> str:
    """The help of ``cais image`` and the like."""
    from cais.cli.tree import FAMILIES, families_of

    text, commands = FAMILIES[family]
    commands = tuple(sorted((*commands, *families_of(family))))
    return (
        f"Usage:  cais {family} COMMAND\n\n{text}\n\nCommands:\n{_lines(commands)}\n"
        f"Run 'cais {family} COMMAND --help' for more information on a command.\n"
    )


def of_all(width: int = 80) -> str:
    """``cais --help``."""
    from cais.cli.tree import COMMON, GLOBAL_FLAGS, OTHERS, families_of

    families = families_of("")
    return (
        "Usage:  cais [OPTIONS] COMMAND\n\nContainer images and containers, without a daemon\n\n"
        f"Common Commands:\n{_lines(COMMON)}\nManagement Commands:\n{_lines(families)}\n"
        f"Commands:\n{_lines(OTHERS)}\nGlobal Options:\n{flag_table(GLOBAL_FLAGS, width)}\n"
        "Run 'cais COMMAND --help' for more information on a command.\n"
    )


def usage_error(words: str, usage: str) -> str:
    """What follows a message about a wrong command line."""
    name = f"cais {words}".strip()
    more = f"\nRun '{name} --help' for more information\n"
    return f"\nUsage:  {name}{' ' if usage else ''}{usage}\n{more}" if words or usage else more


def terminal_width() -> int:
    """Columns of the terminal, 80 where there is none."""
    import os

    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80


def flag_table(flags: Sequence[Flag], width: int) -> str:
    """Aligned as Docker aligns them, sorted by name."""
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.long.lower()):
        head = f"  -{flag.short}, --{flag.long}" if flag.short else f"      --{flag.long}"
        kind = f"{flag.kind}[={flag.optional}]" if flag.optional else flag.kind
        rows.append((f"{head} {kind}" if kind else head, flag.text + _default(flag)))
    column = max(len(head) for head, _ in rows) + 3
    return "".join(f"{head:<{column}}{_wrapped(text, column, width - 1)}\n" for head, text in rows)


def _default(flag: Flag) -> str:
    value = flag.default
    if value is None or value is False or value in ("", 0, [], ()):
        return ""
    if value is True:
        return " (default true)"
    return f' (default "{value}")' if flag.kind == "string" else f" (default {value})"


def _wrapped(text: str, column: int, width: int) -> str:
    """``text`` in lines that start at ``column``; lines of its own stay; a last short word may run over by five."""
    room = width - column
    if room < 24:
        return text.replace("\n", "\n" + " " * column)
    lines = []
    for paragraph in text.split("\n"):
        rest = paragraph
        while len(rest) > room:
            cut = rest.rfind(" ", 0, room - 5)
            if cut <= 0:
                break
            lines.append(rest[:cut])
            rest = rest[cut + 1 :]
        lines.append(rest)
    return ("\n" + " " * column).join(lines)


def _lines(commands: Sequence[tuple[str, str, str]]) -> str:
    column = max(11, *(len(word) for word, _, _ in commands))
    return "".join(f"  {word:<{column}} {text}\n" for word, _, text in commands)
