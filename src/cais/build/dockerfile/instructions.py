"""What each instruction says, as values. Nothing is expanded yet: strings are as written, quotes included where
Docker keeps them until expansion.

Each has ``span`` (its lines) and ``text`` (the instruction on one line, continuations joined, heredocs without bodies).
"""

from __future__ import annotations

from cais.build.dockerfile.errors import Span
from cais.build.dockerfile.lexer import Heredoc
from cais.spec.named import NamedTuple

SHELL = "shell"
EXEC = "exec"


class Pair(NamedTuple):
    """``key=value`` of ENV and LABEL. ``legacy``: written ``key value``."""

    key: str
    value: str
    legacy: bool = False


class Command(NamedTuple):
    """``form`` SHELL: ``args`` is one string for the shell. EXEC: a JSON array, run as it is."""

    form: str
    args: tuple[str, ...]


class From(NamedTuple):
    span: Span
    text: str
    base: str
    name: str = ""  # lower case
    platform: str = ""
    name_as_written: str = ""
    as_keyword: str = ""


class Arg(NamedTuple):
    """A value of None: the argument has no default."""

    span: Span
    text: str
    pairs: tuple[tuple[str, str | None], ...]


class Env(NamedTuple):
    span: Span
    text: str
    pairs: tuple[Pair, ...]


class Label(NamedTuple):
    span: Span
    text: str
    pairs: tuple[Pair, ...]


class Maintainer(NamedTuple):
    span: Span
    text: str
    name: str


class RunMount(NamedTuple):
    """``--mount=type=...``: ``options`` as written, in order, keys in lower case; a key without ``=`` has None."""

    options: tuple[tuple[str, str | None], ...]
    text: str

    @property
    def kind(self) -> str:
        """As written: it may have variables."""
        return next((value.lower() for key, value in reversed(self.options) if key == "type" and value), "bind")

    @property
    def source_name(self) -> str:
        """``from``: a stage, an image or a named context; variables are not allowed in it."""
        return next((value for key, value in reversed(self.options) if key == "from" and value), "")


class Run(NamedTuple):
    span: Span
    text: str
    command: Command
    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    network: str = ""
    security: str = ""
    devices: tuple[str, ...] = ()


class Copy(NamedTuple):
    """``heredocs`` are those among the sources; ``sources`` the others."""

    span: Span
    text: str
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    stage: str = ""  # --from
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()


class Add(NamedTuple):
    """``unpack`` None: as Docker decides (local archives are, downloads are not)."""

    span: Span
    text: str
    sources: tuple[str, ...]
    destination: str
    heredocs: tuple[Heredoc, ...] = ()
    chown: str = ""
    chmod: str = ""
    link: bool = False
    checksum: str = ""
    keep_git_dir: bool = False
    unpack: bool | None = None
    exclude: tuple[str, ...] = ()


class Workdir(NamedTuple):
    span: Span
    text: str
    path: str


class User(NamedTuple):
    span: Span
    text: str
    user: str


class Cmd(NamedTuple):
    span: Span
    text: str
    command: Command


class Entrypoint(NamedTuple):
    span: Span
    text: str
    command: Command


class Expose(NamedTuple):
    span: Span
    text: str
    ports: tuple[str, ...]


class Volume(NamedTuple):
    span: Span
    text: str
    paths: tuple[str, ...]


class Shell(NamedTuple):
    span: Span
    text: str
    args: tuple[str, ...]


class StopSignal(NamedTuple):
    span: Span
    text: str
    signal: str


class Healthcheck(NamedTuple):
    """``test`` as in the image's config: NONE, or CMD / CMD-SHELL and what to run. Times in nanoseconds, 0: default."""

    span: Span
    text: str
    test: tuple[str, ...]
    interval_nanoseconds: int = 0
    timeout_nanoseconds: int = 0
    start_period_nanoseconds: int = 0
    start_interval_nanoseconds: int = 0
    retries: int = 0


class OnBuild(NamedTuple):
    """``trigger`` is what the image's config keeps; ``instruction`` the same, parsed, or None where it is wrong."""

    span: Span
    text: str
    trigger: str
    instruction: Instruction | None


Instruction = (
    From
    | Arg
    | Env
    | Label
    | Maintainer
    | Run
    | Copy
    | Add
    | Workdir
    | User
    | Cmd
    | Entrypoint
    | Expose
    | Volume
    | Shell
    | StopSignal
    | Healthcheck
    | OnBuild
)
