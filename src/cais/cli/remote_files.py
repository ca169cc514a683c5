"""What a command that runs on another host reads and writes of this machine: sent, received, or refused by name."""

from __future__ import annotations

import os
import sys

from cais.errors import CaisError, Invalid, Unsupported, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any

    from cais.cli.arguments import Given

    Rule = Callable[["Sent"], None]

_URLS = ("http://", "https://", "git://", "git@", "ssh://", "github.com/")
_NOT_FILES = (*_URLS, "docker-image://", "target:", "oci-layout://")


class Sent:
    """The command line as it is for the other host, and its streams. ``with`` ends what they are connected to.

    ``flags`` are (name, text) in the order in which they were given; ``environment`` is for env(1).
    ``there`` are the flags whose files are not of this machine.
    """

    def __init__(self, words: str, module: ModuleType, given: Given) -> None:
        self.words = words
        self.command = module.COMMAND
        self.flags = list(given.texts)
        self.arguments = list(given.positional)
        self.environment: list[str] = []
        self.there: set[str] = set()
        self.stdin, self.stdout = 0, 1
        self.succeeded = False
        self._given = given
        self._ends: list[Callable[[], None]] = []
        self._errors: list[BaseException] = []

    def __enter__(self) -> Sent:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for end in self._ends:
            end()
        if kind is None and self._errors and not isinstance(self._errors[0], BrokenPipeError):
            raise self._errors[0]

    def take(self, *names: str) -> list[str]:
        """The texts of these flags, which are not for the other host."""
        found = [text for name, text in self.flags if name in names]
        self.flags = [flag for flag in self.flags if flag[0] not in names]
        return found

    def read_from(self, path: str) -> None:
        """The file stands in for standard input. Raises NotFound, Invalid, Denied."""
        if os.path.isdir(path):
            raise Invalid(
                f"{path} is a directory: it cannot be sent to another host", hint="Send a tar of it: tar c .."
            )
        try:
            self.stdin = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, f"read {path}")

    def write_to(self, path: str) -> None:
        """Standard output goes to a file, which is there only when all went well."""
        from cais.cli.whole_file import WholeFile

        whole = WholeFile(path)
        self.stdout = whole.__enter__().fileno()
        self._ends.append(lambda: whole.__exit__(None if self.succeeded else CaisError, None, None))

    def write_pieces(self, pieces: Iterator[bytes]) -> None:
        """They stand in for standard input, made while ssh reads them."""
        import threading

        self.stdin, writing = os.pipe2(os.O_CLOEXEC)

        def write() -> None:
            try:
                with open(writing, "wb", buffering=0) as file:
                    for piece in pieces:
                        view = memoryview(piece)
                        while view:
                            view = view[file.write(view) :]
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        self._ends.append(thread.join)

    def refuse(self, what: str, hint: str) -> Unsupported:
        """An error that says what cannot be had on another host."""
        return Unsupported(f"{what} is of this machine, and the command runs on another host", hint=hint)


def sent(words: str, module: ModuleType, given: Given) -> Sent:
    """Raises Unsupported for what is of this machine and cannot be sent, NotFound, Invalid."""
    plan = Sent(words, module, given)
    rule = _RULES.get(module.__name__.rpartition(".")[2])
    if rule is not None:
        rule(plan)
    files = {flag.long for flag in plan.command.flags if flag.complete in ("file", "directory")} - plan.there
    for name, text in plan.flags:
        if name in files and text != "-":
            raise plan.refuse(f"--{name} {text}", "Leave it out, and take what standard output says.")
    return plan


def _container(plan: Sent) -> None:
    """Environment and labels are read here; relative paths are those of this directory, as with Docker's client."""
    from cais.engine.flag_files import environment_of, label_lines

    environment = environment_of(plan.take("env-file"), plan.take("env"), dict(os.environ))
    plan.flags += [("env", item) for item in environment if "=" in item]
    for name in environment:
        if "=" not in name:
            plan.flags.append(("env", name))
            plan.environment += ("-u", name)
    labels = [("label", line) for line in label_lines(plan.take("label-file"))]
    plan.flags = [*labels, *plan.flags]
    plan.flags = [(name, _absolute(text) if name == "volume" else text) for name, text in plan.flags]
    for name, text in plan.flags:
        if name == "security-opt" and text.replace(":", "=", 1).startswith("seccomp="):
            profile = text[len("seccomp=") :]
            if profile not in ("unconfined", "builtin"):
                raise plan.refuse(f"the profile {profile}", "Copy it to the host and run cais there.")


def _absolute(text: str) -> str:
    source, colon, rest = text.partition(":")
    return os.path.abspath(source) + colon + rest if colon and source.startswith(".") else text


def _build(plan: Sent) -> None:
    for name, text in plan.flags:
        if name in ("secret", "ssh"):
            raise plan.refuse(f"--{name} {text}", "Give the host its own secrets and agents, and run cais there.")
        if name == "build-context" and not text.partition("=")[2].startswith(_NOT_FILES):
            raise plan.refuse(f"--{name} {text}", "Put the directory into the context, or give a URL or an image.")
        if name in ("cache-from", "cache-to") and "type=local" in text:
            raise plan.refuse(f"--{name} {text}", "The host keeps a cache of its own.")
        if name == "output" and text != "-" and "dest=-" not in text.split(",") and not _stays(text):
            raise plan.refuse(f"--{name} {text}", "Write a tar to standard output: -o - (or type=oci,dest=-).")
    plan.flags = [(name, _with_value(text) if name == "build-arg" else text) for name, text in plan.flags]
    if os.environ.get("SOURCE_DATE_EPOCH"):
        plan.environment.append(f"SOURCE_DATE_EPOCH={os.environ['SOURCE_DATE_EPOCH']}")
    plan.there.add("file")  # of what is sent, or fetched
    context = plan.arguments[0]
    if context == "-" or (context.startswith(_URLS) and not os.path.exists(context)):
        return
    from cais.engine.context_archive import context_archive

    given = "".join(plan.take("file")[-1:])
    if given.startswith(("http://", "https://")):
        raise plan.refuse(f"-f {given} with the directory {context}", "Download the Dockerfile.")
    entry, pieces = context_archive(context, given, sys.stdin.buffer)
    shown = os.path.basename(given) if given not in ("", "-") else "Dockerfile"
    plan.flags += [("file", shown), ("dockerfile-entry", entry)]
    plan.arguments[0] = "-"
    plan.write_pieces(pieces)


def _with_value(argument: str) -> str:
    value = os.environ.get(argument)
    return argument if "=" in argument or value is None else f"{argument}={value}"


def _stays(output: str) -> bool:
    fields = dict(field.partition("=")[::2] for field in output.split(","))
    return fields.get("type") in ("image", "registry") or (fields.get("type") == "docker" and "dest" not in fields)


def _input(plan: Sent) -> None:
    for path in plan.take("input")[-1:]:
        plan.read_from(path)


def _output(plan: Sent) -> None:
    for path in plan.take("output")[-1:]:
        plan.write_to(path)


def _archive(position: int) -> Rule:
    """A positional argument that names an archive."""

    def rule(plan: Sent) -> None:
        path = plan.arguments[position]
        if path != "-" and not path.startswith(_URLS):
            plan.read_from(path)
            plan.arguments[position] = "-"

    return rule


def _copy(plan: Sent) -> None:
    for path in plan.arguments:
        if path != "-" and (":" not in path or path.startswith(("/", "."))):
            hint = f"Send or take a tar: tar c . | cais {plan.words} - NAME:PATH; cais {plan.words} NAME:PATH - | tar x"
            raise plan.refuse(path, hint)


def _context(plan: Sent) -> None:
    if not plan.arguments[0].startswith(_URLS):
        raise plan.refuse(plan.arguments[0], "Look at it here: cais --context default builder context ..")


_RULES: dict[str, Any] = {
    "builder_context": _context,
    "builder_graph": _output,
    "container_cp": _copy,
    "container_create": _container,
    "container_exec": _container,
    "container_export": _output,
    "container_run": _container,
    "image_build": _build,
    "image_import": _archive(0),
    "image_load": _input,
    "image_save": _output,
    "volume_cp": _copy,
    "volume_export": _output,
    "volume_import": _archive(1),
}
