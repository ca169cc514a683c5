"""What a command is handed: what it was given, and the engine on the user's root directory."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from cais.cli.arguments import Given
    from cais.engine import Engine
    from cais.engine.settings import Settings


class Call:
    """``call["no-trunc"]`` is the value of a flag, ``arguments`` what stands beside the flags."""

    __slots__ = ("_engine", "_opening", "_settings", "_values", "arguments", "root", "said", "words")

    def __init__(self, words: str, given: Given, root: str, opening: Callable[[], None]) -> None:
        self.words = words
        self.arguments = given.positional
        self.said = given.said
        self.root = root
        self._values = given.values
        self._opening = opening
        self._engine: Engine | None = None
        self._settings: Settings | None = None

    def __getitem__(self, flag: str) -> Any:
        return self._values[flag]

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            import os

            from cais.settings import load

            self._settings = load(os.environ, root=self.root)
        return self._settings

    @property
    def engine(self) -> Engine:
        """Opened when it is first asked for."""
        if self._engine is None:
            import os

            from cais.engine import Engine

            self._opening()
            self._engine = Engine(self.settings, os.environ)
        return self._engine

    def close(self) -> None:
        """Lets go of the engine, if there is one."""
        if self._engine is not None:
            for line in self._engine.warnings:
                warn(f"WARNING: {line}")
            self._engine.release()
            self._engine = None


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line on standard error, after what standard output has so far."""
    sys.stdout.flush()
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def error_text(error: BaseException) -> str:
    """What is printed about an error of Cais: its message, and the hint on a line of its own."""
    from cais.errors import CaisError

    if isinstance(error, CaisError):
        return f"Error: {error.message}" + (f"\n{error.hint}" if error.hint else "")
    return f"Error: {error}"


def each(names: Iterable[str], action: Callable[[str], str | None]) -> int:
    """``action`` for each of ``names``, as Docker does with several: what it returns is printed (None: nothing), an
    error is told and does not stop the rest. Returns the exit code."""
    from cais.errors import CaisError, Cancelled

    failed = 0
    for name in names:
        try:
            text = action(name)
        except Cancelled:
            raise
        except CaisError as error:
            warn(error_text(error))
            failed = failed or (
                1 if error.exit_code in (125, 126, 127) else error.exit_code
            )  # those are of run and exec
        else:
            if text is not None:
                say(text)
    return failed


def confirmed(question: str) -> bool:
    """Asks on the terminal; anything but y is no."""
    sys.stdout.write(question + " [y/N] ")
    sys.stdout.flush()
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer.endswith("\n"):
        sys.stdout.write("\n")
    return answer.strip().lower() in ("y", "yes")
