"""main(): from the words of a command line to an exit code. Nothing but a command's own module is loaded on the way."""

from __future__ import annotations

import os
import sys

from cais.cli.arguments import Given, HelpAsked, check_count, parse
from cais.cli.declare import Command, UsageError
from cais.cli.tree import FAMILIES, GLOBAL_FLAGS, family_of, module_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, ModuleType
    from typing import Any

# Commands whose own failures must not look like the exit code of what runs in the container.
_RUNS = frozenset(("run", "create", "container run", "container create"))

# How long a signal may go unnoticed.
_TICK_SECONDS = 0.5

_ALWAYS_HERE = frozenset(("completion", "context"))


class _Terminated(BaseException):
    """SIGTERM came."""


def main(arguments: Sequence[str] | None = None) -> int:
    """See ``cais.cli.main``."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:
        _hand_nothing_on()
    for stream in (sys.stdout, sys.stderr):
        # Names of files are bytes: what is not UTF-8 goes out as it came in, and no locale makes a command fail.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="surrogateescape")
    if sys.stdout is None or sys.stderr is None:
        # Started with a closed stream: the next file that is opened would take its number.
        _open_missing()
    asked = _Asked()
    try:
        _hear_interrupts()
        try:
            return _command(given, asked)
        except HelpAsked:
            return _help([asked.words])
    except UsageError as error:
        from cais.cli.help import usage_error

        _complain(error.message + "\n" + (usage_error(asked.words, asked.usage) if error.usage else ""))
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except _Terminated:
        return 143
    except BrokenPipeError:
        # Who reads is gone (`cais image ls | head -1`). What is still buffered must not fail once more at the end.
        _silence()
        return 141
    except Exception as error:
        if asked.debug:
            import traceback

            traceback.print_exc()
        return _failed(asked.words, error)


class _Asked:
    """What is known of the command line so far, for when it goes wrong."""

    debug = False
    words = ""
    usage = "[OPTIONS] COMMAND [ARG...]"


def _command(given: list[str], asked: _Asked) -> int:
    top = parse(GLOBAL_FLAGS, given, interspersed=False)
    asked.debug = top.values["debug"]
    if top.values["version"]:
        from cais import __version__

        _write(f"Cais version {__version__}\n")
        return 0
    if not top.positional:
        return _help([])
    if top.positional[0] == "help":
        return _help_on(top.positional[1:])
    if top.positional[0] == "__complete":
        from cais.cli.completion import complete

        return complete(top.positional[1:], top.values["root"])
    asked.words, module, rest = _find(top.positional)
    if module is None:
        return _help([asked.words])
    command: Command = module.COMMAND
    asked.usage = command.usage
    try:
        read = parse(command.flags, rest, words=asked.words, interspersed=command.interspersed)
    except HelpAsked:
        return _show_command(asked.words, command)
    check_count(command, asked.words, len(read.positional))
    root = top.values["root"]
    if _elsewhere(top.values) and asked.words.partition(" ")[0] not in _ALWAYS_HERE:
        from cais.cli.place import endpoint

        place = endpoint(top.values, os.environ)
        if place.host:
            from cais.cli.remote import run

            _hear_signals()
            try:
                return run(place, asked.words, module, read, asked.debug)
            finally:
                _stop_ticking()
        root = place.root or root
    return _run(asked.words, module, read, root)


def _elsewhere(values: dict[str, Any]) -> bool:
    """Whether anything but the default place may be meant (``cais.cli.place``); for most commands, a look at a file."""
    if values["context"] or values["host"]:
        return True
    environment = os.environ
    if values["root"] or environment.get("CAIS_HOST") or environment.get("CAIS_CONTEXT"):
        return not values["root"]
    config = environment.get("XDG_CONFIG_HOME", "")
    return not environment.get("CAIS_ROOT") and os.path.exists(
        f"{config if config.startswith('/') else environment.get('HOME', '') + '/.config'}/cais/context"
    )


def _find(positional: list[str]) -> tuple[str, ModuleType | None, list[str]]:
    """The command that was meant: its words, its module (None: help on the family), the arguments behind them."""
    family = family_of(positional)
    rest = positional[len(family.split()) :]
    if family:
        if not rest:
            return family, None, []
        if rest[0].startswith("-"):
            try:
                parse((), rest, words=family)
            except UsageError as error:
                raise _unknown(error.message, family, exit_code=error.exit_code)
            except HelpAsked:
                pass
            return family, None, []
    wanted, behind = f"{family} {rest[0]}".lstrip(), rest[1:]
    words, name = module_of((*family.split(), rest[0]))
    if not words:
        if "--help" in behind:
            return family, None, []
        raise _unknown(f"cais: unknown command: cais {wanted}{_nearest(wanted, family)}", family)
    # Not importlib: __import__ is built in. With an attribute asked for, it gives the module itself.
    return words, __import__(f"cais.cli.commands.{name}", None, None, ("COMMAND",)), behind


def _nearest(wanted: str, family: str) -> str:
    """The command that was meant, if a letter or two are wrong."""
    from difflib import get_close_matches

    from cais.cli.tree import commands_of, families_of

    words = [name for name, _, _ in (*commands_of(family), *families_of(family))]
    near = get_close_matches(wanted.rpartition(" ")[2], words, n=1, cutoff=0.75)
    return f"\nDid you mean 'cais {family}{' ' if family else ''}{near[0]}'?" if near else ""


def _unknown(message: str, family: str, *, exit_code: int = 1) -> UsageError:
    from cais.cli.help import usage_error

    text = usage_error(family, "") if family else "\nRun 'cais --help' for more information\n"
    return UsageError(f"{message}\n{text}".rstrip("\n"), exit_code, usage=False)


def _run(words: str, module: ModuleType, given: Given, root: str) -> int:
    from cais.cli.call import Call

    call = Call(words, given, root, _hear_signals)
    try:
        code: int = module.run(call)
        sys.stdout.flush()
        return code
    finally:
        call.close()
        _stop_ticking()


def _hear_interrupts() -> None:
    """As Python does itself, where the launcher has put it off."""
    # ``signal`` makes enumerations of it, which takes a fiftieth of a short command.
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _hear_signals() -> None:
    """From now on SIGTERM ends the command as an interrupt does: what is half done is undone. And neither is missed.

    Python looks for signals between its own steps and when one ends a system call. One that comes after that look and
    before the call would be noticed when the call has ended, by itself: so there is a next one soon.
    """
    import _signal

    unheard: list[type[BaseException]] = []

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise _Terminated

    def tick(signum: int, frame: FrameType | None) -> None:
        if unheard:
            raise unheard.pop()

    def ignored(report: sys.UnraisableHookArgs) -> None:
        """Where nothing can be raised: in what runs when an object goes."""
        if issubclass(report.exc_type, (KeyboardInterrupt, _Terminated)):
            unheard.append(report.exc_type)
        else:
            sys.__unraisablehook__(report)

    sys.unraisablehook = ignored
    _signal.signal(_signal.SIGTERM, terminate)
    _signal.signal(_signal.SIGALRM, tick)
    _signal.setitimer(_signal.ITIMER_REAL, _TICK_SECONDS, _TICK_SECONDS)


def _stop_ticking() -> None:
    """The next program may be this process, and does not know of it."""
    import _signal

    _signal.setitimer(_signal.ITIMER_REAL, 0)


def _failed(words: str, error: Exception) -> int:
    from cais.cli.call import error_text
    from cais.errors import CaisError, from_os_error

    if isinstance(error, OSError):
        error = from_os_error(error, f"run 'cais {words}'")
    if not isinstance(error, CaisError):
        _complain(
            f"Error: internal error: {type(error).__name__}: {error}\n"
            "This is a defect of Cais: the same command with 'cais --debug' shows where it happened.\n"
        )
        return 125 if words in _RUNS else 1
    _complain(error_text(error) + "\n")
    if words in _RUNS and error.exit_code in (1, 125):
        _complain(f"\nRun 'cais {words} --help' for more information\n")
        return 125
    return 1 if error.exit_code == 125 else error.exit_code


def _help(words: list[str]) -> int:
    from cais.cli import help as texts

    family = words[0] if words and words[0] in FAMILIES else ""
    _write(texts.of_family(family) if family else texts.of_all(texts.terminal_width()))
    return 0


def _help_on(topic: list[str]) -> int:
    """``cais help WORDS``."""
    family = family_of(topic)
    behind = topic[len(family.split()) :]
    if not behind:
        return _help([family])
    words, name = module_of((*family.split(), behind[0]))
    if not words:
        raise UsageError(f"unknown help topic: {' '.join(topic)}", 1, usage=False)
    return _show_command(words, __import__(f"cais.cli.commands.{name}", None, None, ("COMMAND",)).COMMAND)


def _show_command(words: str, command: Command) -> int:
    from cais.cli import help as texts

    _write(texts.of_command(words, command, texts.terminal_width()))
    return 0


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    from cais.cli.others import put

    try:
        sys.stdout.flush()
    except OSError:
        _silence()
    try:
        put(text, sys.stderr)
        sys.stderr.flush()
    except OSError:
        pass


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _hand_nothing_on() -> None:
    """What the caller has open beside the three streams: conmon would hold it for as long as its container runs."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.set_inheritable(int(name), False)
            except OSError:
                pass  # that of the directory itself


def _open_missing() -> None:
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="surrogateescape", closefd=False))
