"""A command as data: what it is called, takes and says. Plain classes, because they stand on every command's path."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Flag:
    """``kind`` is the word that help shows ("" for a switch) and chooses how values are read (``values.READERS``).

    Kinds of ``values.MANY`` may be given several times and collect a list. ``default`` is the value when it is not
    given; ``check`` looks at each text and raises ``BadValue``; ``hidden`` flags are accepted and not shown;
    ``complete`` names what completes its value (``completion``): "file", "directory", "image", or words with ",".
    ``optional`` is what a flag without ``=VALUE`` stands for: the word behind it is not its value then.
    """

    __slots__ = ("check", "complete", "default", "hidden", "kind", "long", "optional", "short", "text")

    def __init__(
        self, long: str, short: str = "", kind: str = "", text: str = "", default: Any = None, *,
        check: Callable[[str], object] | None = None, hidden: bool = False, complete: str = "",
        optional: str = "",
    ) -> None:  # fmt: skip
        self.long, self.short, self.kind, self.text = long, short, kind, text
        self.default = default
        self.check, self.hidden, self.complete, self.optional = check, hidden, complete, optional


class Command:
    """What ``cais.cli.tree`` does not say already. ``arguments`` is the least and the most positional arguments
    (None: no limit). ``interspersed`` is False where the first positional ends the flags (run, create).
    ``aliases`` are the full forms that help shows. ``complete`` names what completes a positional argument."""

    __slots__ = ("aliases", "arguments", "complete", "examples", "flags", "interspersed", "text", "usage")

    def __init__(
        self, usage: str, text: str, *, flags: tuple[Flag, ...] = (), arguments: tuple[int, int | None] = (0, 0),
        aliases: tuple[str, ...] = (), interspersed: bool = True, examples: tuple[str, ...] = (), complete: str = "",
    ) -> None:  # fmt: skip
        self.usage, self.text, self.flags, self.arguments = usage, text, flags, arguments
        self.aliases, self.interspersed, self.examples, self.complete = aliases, interspersed, examples, complete


class UsageError(Exception):
    """A command line that cannot be understood: ``message``, and whether the usage line follows it."""

    def __init__(self, message: str, exit_code: int = 125, *, usage: bool = True) -> None:
        super().__init__(message)
        self.message, self.exit_code, self.usage = message, exit_code, usage


class BadValue(Exception):
    """What is wrong with the value of a flag; the parser adds which flag."""
