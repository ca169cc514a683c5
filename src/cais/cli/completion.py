"""What can stand where the cursor is: ``cais __complete``, which the shells' scripts call (``completion_scripts``)."""

from __future__ import annotations

import sys

from cais.cli.declare import Command, Flag
from cais.cli.tree import commands_of, families_of, family_of, module_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cais.engine import Engine

    Candidates = list[tuple[str, str]]


def complete(words: list[str], root: str) -> int:
    """Print what may stand in place of the last of ``words``. Never fails: a completion that complains is worse."""
    try:
        candidates, more = _Words(words or [""], root).find()
    except Exception:
        candidates, more = [], ""
    lines = [f"{word}\t{text}" if text else word for word, text in candidates]
    sys.stdout.write("".join(f"{line}\n" for line in [*lines, f":{more}"]))
    sys.stdout.flush()
    return 0


class _Words:
    def __init__(self, words: list[str], root: str) -> None:
        self.before, self.current = words[:-1], words[-1]
        self.root = root

    def find(self) -> tuple[Candidates, str]:
        from cais.cli.tree import GLOBAL_FLAGS

        rest, pending, _ = _walk(GLOBAL_FLAGS, self.before, interspersed=False, root=self._set_root)
        if pending is not None:
            return self.value(pending, self.current)
        if not rest:
            if self.current.startswith("-"):
                return self.flag(GLOBAL_FLAGS)
            return self.among(_below("")), ""
        family = family_of(rest)
        depth = len(family.split())
        if family and len(rest) == depth:
            return self.among(_below(family)), ""
        words, name = module_of(rest[: depth + 1])
        if not words:
            return [], ""
        command: Command = __import__(f"cais.cli.commands.{name}", None, None, ("COMMAND",)).COMMAND
        flags = [flag for flag in command.flags if not flag.hidden]
        arguments = rest[depth + 1 :]
        positional, pending, ended = _walk(flags, arguments, interspersed=command.interspersed)
        if pending is not None:
            return self.value(pending, self.current)
        if self.current.startswith("-") and not ended:
            return self.flag(flags)
        if not command.interspersed and positional:
            return [], "file"
        most = command.arguments[1]
        if most is not None and len(positional) >= most:
            return [], ""
        return self.of_kind(command.complete, self.current, set(positional))

    def _set_root(self, root: str) -> None:
        self.root = root

    def flag(self, flags: Iterable[Flag]) -> tuple[Candidates, str]:
        name, equals, value = self.current.partition("=")
        if equals:
            for flag in flags:
                if name == f"--{flag.long}":
                    found, more = self.value(flag, value)
                    return [(f"{name}={word}", text) for word, text in found], more
            return [], ""
        listed = [("--" + flag.long, flag.text.partition("\n")[0]) for flag in flags]
        return self.among([*listed, ("--help", "Print usage")]), ""

    def value(self, flag: Flag, current: str) -> tuple[Candidates, str]:
        return self.of_kind(flag.complete, current, set())

    def of_kind(self, kind: str, current: str, said: set[str]) -> tuple[Candidates, str]:
        if kind in ("file", "directory"):
            return [], kind
        if "," in kind or kind == "json":
            return [(word, "") for word in kind.split(",") if word.startswith(current)], ""
        names = _NAMES.get(kind)
        if names is None:
            return [], ""
        import os

        from cais.engine import Engine
        from cais.settings import load

        settings = load(os.environ, root=self.root)
        if not os.path.exists(os.path.join(settings.root, "cais.db")):
            return [], ""
        with Engine(settings) as engine:
            found = [(word, text) for word, text in names(engine) if word.startswith(current) and word not in said]
        return found, ""

    def among(self, pairs: Iterable[tuple[str, str]]) -> Candidates:
        return sorted(pair for pair in pairs if pair[0].startswith(self.current))


def _below(family: str) -> list[tuple[str, str]]:
    return [(word, text) for word, _, text in (*commands_of(family), *families_of(family))]


def _walk(
    flags: Iterable[Flag], words: list[str], *, interspersed: bool, root: Callable[[str], None] | None = None
) -> tuple[list[str], Flag | None, bool]:
    """``words`` without the flags, the flag whose value comes next, and whether the flags have ended."""
    by_long = {flag.long: flag for flag in flags}
    by_short = {flag.short: flag for flag in flags if flag.short}
    positional: list[str] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        flag = None
        if word == "--":
            return positional + words[index:], None, True
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flag = by_long.get(name)
            if equals and name == "root" and root is not None:
                root(value)
            if equals:
                continue
        elif word.startswith("-") and len(word) > 1:
            # -abVALUE: only the last letter can be the one that waits for its value.
            for place, letter in enumerate(word[1:], 2):
                flag = by_short.get(letter)
                if flag is not None and flag.kind and not flag.optional:
                    flag = flag if place == len(word) else None
                    break
        else:
            positional.append(word)
            if not interspersed:
                return positional + words[index:], None, True
            continue
        if flag is not None and flag.kind and not flag.optional:
            if index == len(words):
                return positional, flag, False
            if flag.long == "root" and root is not None:
                root(words[index])
            index += 1
    return positional, None, False


def _images(engine: Engine) -> Candidates:
    found = [(f"{image.repository}:{image.tag}", "") for image in engine.images.list() if image.tag != "<none>"]
    return sorted({*found, *((name.removesuffix(":latest"), "") for name, _ in found)})


def _containers(engine: Engine) -> Candidates:
    return [(container.name, container.status) for container in engine.containers.list(all=True)]


def _running(engine: Engine) -> Candidates:
    return [(container.name, container.status) for container in engine.containers.list()]


def _volumes(engine: Engine) -> Candidates:
    return [(volume.name, "") for volume in engine.volumes.list()]


def _networks(engine: Engine) -> Candidates:
    return [(network.name, network.driver) for network in engine.networks.list()]


def _contexts(_: Engine) -> Candidates:
    from cais.cli.context_flags import contexts

    return [(context.name, context.endpoint.shown) for context in contexts().all()]


def _builds(engine: Engine) -> Candidates:
    return [(build.id, f"{build.name} ({build.status})") for build in engine.builder.list()]


def _objects(engine: Engine) -> Candidates:
    return [*_containers(engine), *_images(engine), *_networks(engine), *_volumes(engine)]


_NAMES: dict[str, Callable[[Engine], Candidates]] = {
    "image": _images,
    "container": _containers,
    "running": _running,
    "volume": _volumes,
    "network": _networks,
    "context": _contexts,
    "build": _builds,
    "object": _objects,
}
