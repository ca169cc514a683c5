"""A stage while it is lowered."""

from __future__ import annotations

from collections.abc import Mapping

from cais.build.checks.report import Checks
from cais.build.dockerfile.errors import DockerfileError, Span, nearest
from cais.build.dockerfile.expand import Expansion, ExpansionError, expand
from cais.build.dockerfile.instructions import Instruction
from cais.build.graph import Merge, Op, Origin, Vertex
from cais.build.lowering.result import HistoryEntry
from cais.build.secret_names import looks_secret
from cais.errors import Invalid
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")
# A single variable's value; Linux gives a process no longer one than 128 KiB.
VALUE_LIMIT_CHARACTERS = 1 << 20

# The fields of the run config that a new image has, in the order in which they are written. What else a base's config
# holds (the container it was committed from, Docker's Image) is about that base.
_FIELDS = (
    "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal",
    "Healthcheck", "OnBuild", "Shell",
)  # fmt: skip


class StageState:
    """``env`` is what expansion and RUN see: the run config's Env and the ARGs. Changed by each instruction."""

    __slots__ = (
        "args",
        "author",
        "base",
        "base_platform",
        "base_reference",
        "build_platform",
        "checks",
        "command_given",
        "declared",
        "defined",
        "env",
        "escape",
        "history",
        "name",
        "once",
        "platform",
        "prefix",
        "run",
        "step",
        "total",
        "trigger",
        "unknown",
        "vertex",
    )

    def __init__(self, name: str, escape: str, checks: Checks) -> None:
        self.name = name
        self.escape = escape
        self.checks = checks
        self.vertex: Vertex | None = None
        self.run: dict[str, Any] = {}
        self.env: dict[str, str] = {}
        self.args: dict[str, str | None] = {}  # the ARGs so far with their values
        self.declared: list[str] = []  # in order, again where one is declared again; not those of the stage below
        self.defined: dict[str, tuple[str | None, Span]] = {}  # those with a value of this stage's own, or none
        self.history: list[HistoryEntry] = []
        self.author = ""
        self.base: ImageConfig | None = None
        self.base_reference = ""
        self.base_platform = Platform()  # the one that it was asked for
        self.platform = Platform()
        self.build_platform = Platform()
        self.prefix = False  # titles say the platform
        self.unknown = False  # the base is not here: nothing is known of its environment
        self.once: dict[type, Span] = {}  # where the instructions are of which only the last counts
        self.command_given = False  # a CMD in this stage
        self.trigger = False  # the instruction at hand is an ONBUILD trigger of the base
        self.step = 0
        self.total = 0

    def start_from_image(self, config: ImageConfig | None) -> None:
        """The run config of a base image; None: scratch."""
        run = config.run if config is not None else {"WorkingDir": "/"}
        self.run = {key: run[key] for key in _FIELDS if run.get(key)}
        self.run.pop("OnBuild", None)
        self.run["Env"] = list(self.run.get("Env", ()))
        for entry in self.run["Env"]:
            name, _, value = entry.partition("=")
            self.env[name] = value
        if "PATH" not in self.env:
            self.set_env("PATH", DEFAULT_PATH)

    def start_from_stage(self, other: StageState) -> None:
        """All of another stage but its ONBUILD; as with BuildKit, the history names no ARG of it."""
        self.vertex = other.vertex
        self.run = {key: _copy(value) for key, value in other.run.items() if key != "OnBuild"}
        self.env = dict(other.env)
        self.args = dict(other.args)
        self.history = list(other.history)
        self.author = other.author
        self.base, self.base_reference, self.base_platform = other.base, other.base_reference, other.base_platform
        self.platform = other.platform
        self.unknown = other.unknown

    def set_env(self, name: str, value: str) -> None:
        """A variable of the image: ENV."""
        self.env[name] = value
        entries: list[str] = self.run["Env"]
        for position, entry in enumerate(entries):
            if entry.partition("=")[0] == name:
                entries[position] = f"{name}={value}"
                return
        entries.append(f"{name}={value}")

    @property
    def foreign_platform(self) -> str:
        """The platform, where it is not the builder's; else ""."""
        return "" if self.platform == self.build_platform else str(self.platform)

    @property
    def workdir(self) -> str:
        """Clean: the config keeps an absolute path as it was written."""
        return absolute("/", self.run.get("WorkingDir") or "/")

    @property
    def user(self) -> str:
        return self.run.get("User") or ""

    @property
    def shell(self) -> tuple[str, ...]:
        return tuple(self.run.get("Shell") or DEFAULT_SHELL)

    def expansion(self, text: str, span: Span) -> Expansion:
        """``text`` with this stage's variables. Raises DockerfileError."""
        try:
            result = expand(text, self.env, escape=self.escape)
        except ExpansionError as error:
            raise DockerfileError(str(error), span)
        if len(result.text) > VALUE_LIMIT_CHARACTERS:
            raise DockerfileError(
                f"the value of {text[:80]!r} is longer than {VALUE_LIMIT_CHARACTERS} characters", span
            )
        if result.unset:
            self.warn_unset(result.unset, span)
        return result

    def expand(self, text: str, span: Span) -> str:
        return self.expansion(text, span).text

    def warn_unset(self, names: frozenset[str], span: Span) -> None:
        for name in () if self.unknown else sorted(names):
            if name not in self.args:
                near = nearest(name, self.env)
                meant = f" (did you mean ${near}?)" if near else ""
                self.warn("UndefinedVar", f"Usage of undefined variable '${name}'{meant}", span)

    def warn(self, code: str, message: str, span: Span) -> None:
        self.checks.warn(code, message, span)

    def origin(self, instruction: Instruction, addition: str = "") -> Origin:
        """The next step of this stage; its text is the instruction with the variables that are set, but for those that
        are called like secrets: it is shown, logged and kept."""
        keyword, blank, rest = instruction.text.partition(" ")
        if "$" in rest:
            env = {name: value for name, value in self.env.items() if not looks_secret(name)}
            try:
                rest = expand(rest, env, escape=self.escape, raw_quotes=True, raw_escapes=True, keep_unset=True).text
            except ExpansionError:
                pass  # a shell's own syntax
        text = keyword.upper() + blank + rest + addition
        return self.next_step(instruction.span, text, self.trigger)

    def next_step(self, span: Span, text: str, trigger: bool = False) -> Origin:
        self.step += 1
        platform = shown_platform(self.platform, self.env) if self.prefix else ""
        return Origin(span.first_line, span.last_line, text, self.name, self.step, self.total, trigger, platform)

    def add(
        self, op: Op, inputs: tuple[Vertex | None, ...], origin: Origin, created_by: str, *, link: bool = False
    ) -> None:
        """A new file system on top of this stage's; ``inputs`` are those besides it. ``link``: made on nothing, and
        then laid upon it."""
        below, link = self.vertex, link and self.vertex is not None
        vertex = Vertex(op, (None if link else below, *inputs), origin)
        self.vertex = Vertex(Merge(), (below, vertex), origin._replace(stage="internal", step=0)) if link else vertex
        self.history.append(HistoryEntry(created_by, vertex))

    def note(self, created_by: str) -> None:
        """An entry of the history without a layer."""
        self.history.append(HistoryEntry(created_by))

    def finished_run(self, labels: dict[str, str]) -> dict[str, Any]:
        """The run config as it is written: in a fixed order, without what is empty, and Unicode throughout."""
        run = dict(self.run)
        if labels:
            run["Labels"] = {**run.get("Labels", {}), **labels}
        for key in ("Labels", "ExposedPorts", "Volumes"):
            if run.get(key):
                run[key] = dict(sorted(run[key].items()))
        return {key: unicode_only(run[key]) for key in _FIELDS if run.get(key)}


def shown_platform(platform: Platform, env: Mapping[str, str]) -> str:
    """As BuildKit shows a stage's platform; ``->`` is what it makes files for, where it has asked (ARG TARGETARCH)."""
    try:
        if env.get("TARGETPLATFORM"):
            target = Platform.parse(env["TARGETPLATFORM"])
        else:
            target = Platform.normalised(
                env.get("TARGETOS") or platform.os,
                env.get("TARGETARCH") or platform.architecture,
                env.get("TARGETVARIANT", "") if env.get("TARGETARCH") else platform.variant,
            )
    except Invalid:
        return str(platform)
    if target.os != platform.os:
        return f"{platform}->{target}"
    if target.architecture != platform.architecture:
        return f"{platform}->{'/'.join(filter(None, target[1:3]))}"
    return str(platform)


def absolute(parent: str, path: str) -> str:
    """``path`` below ``parent`` unless it is absolute, cleaned: no ``.``, ``..``, or double slash in it."""
    parts: list[str] = []
    for part in (path if path.startswith("/") else f"{parent}/{path}").split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts)


def unicode_only(value: Any) -> Any:
    """``value`` with the bytes that were not UTF-8 as U+FFFD: JSON has no others."""
    if isinstance(value, str):
        if value.isascii():
            return value
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    if isinstance(value, dict):
        return {unicode_only(key): unicode_only(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unicode_only(item) for item in value]
    return value


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (list, dict)) else value
