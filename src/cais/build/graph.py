"""The build graph: one vertex is one operation and one file system (BuildKit's LLB, cut down to what files need).

Ops are a small closed set of values. A vertex's file system is that of its first input, changed by its op; further
inputs are only read from. ``origin`` is the piece of the Dockerfile that asked for it.
"""

from __future__ import annotations

from cais.spec.named import NamedTuple
from cais.spec.platform import Platform


class Origin(NamedTuple):
    """Lines are counted from 1; ``text`` is the instruction as progress shows it: ``RUN make``, ONBUILD's included."""

    first_line: int
    last_line: int
    text: str
    stage: str
    step: int = 0  # the position among the steps of its stage, from 1; 0 for what is no step (loading the context)
    total: int = 0  # how many steps the stage has
    onbuild: bool = False  # a trigger of the base; the lines are those of the FROM that set it off
    platform: str = ""  # of the stage, in a build of several; "linux/amd64->arm64" where it asks for its target

    @property
    def is_internal(self) -> bool:
        """No step of a stage (which may be called so, too), but what the build does by itself."""
        return self.stage == "internal" and not self.step

    @property
    def title(self) -> str:
        """``[builder 2/5] RUN make``, as progress and the plan show it; ``[linux/arm64 builder 2/5]`` of several."""
        text = f"ONBUILD {self.text}" if self.onbuild else self.text
        if not self.step:
            return f"[{self.stage}] {text}" if self.stage else text
        number = f"{self.step:>{len(str(self.total))}}/{self.total}"
        return f"[{' '.join(part for part in (self.platform, self.stage, number) if part)}] {text}"


class SourceImage(NamedTuple):
    """The file system of an image. ``reference`` is in full; no inputs."""

    reference: str
    platform: Platform


class LocalSource(NamedTuple):
    """A named context's files ("" is the build's own context). Never mounted whole: a Copy reads what it names."""

    name: str = ""


class HttpSource(NamedTuple):
    """One file from ``url``. ``checksum`` is ``algorithm:hex`` or ""; no inputs."""

    url: str
    checksum: str = ""


class GitSource(NamedTuple):
    """A checkout of ``reference`` (a branch, tag, commit; "": the remote's default) of ``url``; no inputs.

    ``subdirectory`` is all of it that counts; ``checksum`` is the commit that ``reference`` has to be, or its start.
    """

    url: str
    reference: str = ""
    subdirectory: str = ""
    keep_git_directory: bool = False
    submodules: bool = True
    checksum: str = ""


class InlineFile(NamedTuple):
    """A heredoc of COPY or ADD: a file of its own, mode 0644."""

    name: str
    data: bytes


class Copy(NamedTuple):
    """COPY and ADD of files. Inputs: the target's file system, then, unless all is inline, the source's.

    ``sources`` are patterns of Go's filepath.Match, relative to the source's root. ``destination`` is absolute; a
    trailing slash is kept, as it means a directory. ``chown`` is user[:group], by name or number, of the target's
    file system; ``chmod`` is octal or symbolic. ``unpack``: archives are unpacked (ADD). ``exclude`` are patterns of an
    ignore file, relative to each source. ``parents``: what is above a source comes with it; each of ``sources`` is
    then ``BASE/./PATTERN`` (``parted``). ``from_context``: the source is a context (LocalSource, HttpSource,
    GitSource), where owners do not count. ``more`` are what the same instruction copies after it, into the same layer,
    each from the next input: an ADD of local files and of URLs. Without a target below it, it is what ``--link`` makes:
    a Merge lays it upon the target's, whatever that is.
    """

    sources: tuple[str, ...]
    destination: str
    inline: tuple[InlineFile, ...] = ()
    chown: str = ""
    chmod: str = ""
    unpack: bool = False
    from_context: bool = True
    exclude: tuple[str, ...] = ()
    parents: bool = False
    more: tuple[Copy, ...] = ()


def parted(source: str) -> tuple[str, str]:
    """Base and pattern of a source of ``--parents``; ``**`` of the pattern crosses ``/``, a base may be ""."""
    base, _, pattern = source.partition("/./")
    return base, pattern


class Merge(NamedTuple):
    """The second input's layer, made on nothing, laid upon the first input's file system: ``COPY --link``."""


class ExecMount(NamedTuple):
    """``RUN --mount``. ``kind`` is bind, cache, tmpfs, secret or ssh; ``target`` is absolute.

    ``input`` is the number, among the vertex's inputs, of the file system that ``source`` (a path in it) is of: what a
    bind shows, what a new cache begins with; -1: none. ``id`` names the cache, secret or agent. ``sharing`` is shared,
    private or locked. ``environment`` is the variable that has the secret's value; ``target`` is "" where only that
    was asked for.
    """

    kind: str
    target: str
    input: int = -1
    source: str = ""
    readonly: bool = True
    id: str = ""
    sharing: str = "shared"
    size_bytes: int = 0
    mode: int | None = None
    user_id: int = 0
    group_id: int = 0
    required: bool = False
    environment: str = ""


class MakeDirectory(NamedTuple):
    """WORKDIR: makes ``path`` and its missing parents (0755), owned by ``user`` where it is new."""

    path: str
    user: str = ""


class Exec(NamedTuple):
    """RUN. ``env`` is complete (PATH, ENV, ARGs in use). ``hidden_env`` reaches the process but no cache key.

    ``scripts`` are (name, text): each stands read-only at ``/dev/pipes/<name>``, mode 0755, while it runs, and leaves
    no trace in the layer: a heredoc that begins with ``#!``. Bytes that are not UTF-8 are surrogate escapes.
    ``security`` is ``insecure`` or "" (sandbox). ``hosts`` are (name, address) for /etc/hosts. ``platform`` is that of
    its stage, where it is not the builder's own. ``hostname`` is "" for the usual one. Inputs: the file system that it
    runs in, then those that its mounts name.
    """

    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    cwd: str
    user: str = ""
    network: str = "default"
    hidden_env: tuple[tuple[str, str], ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    mounts: tuple[ExecMount, ...] = ()
    security: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    devices: tuple[str, ...] = ()
    platform: str = ""
    hostname: str = ""

    @property
    def has_credentials(self) -> bool:
        """Whether a proxy that it is told of has a password, or may have."""
        return any("@" in value for _, value in self.hidden_env)


Op = SourceImage | LocalSource | HttpSource | GitSource | Copy | Merge | MakeDirectory | Exec


class Vertex:
    """``inputs``: None stands for the empty file system (FROM scratch)."""

    __slots__ = ("inputs", "op", "origin")

    def __init__(self, op: Op, inputs: tuple[Vertex | None, ...], origin: Origin) -> None:
        self.op = op
        self.inputs = inputs
        self.origin = origin

    def __repr__(self) -> str:
        return f"<Vertex {self.origin.text!r}>"


def stage_mounts(vertex: Vertex) -> list[ExecMount]:
    """The binds of a RUN that show what a stage has made: neither an image as it is nor files of a context."""
    if not isinstance(vertex.op, Exec):
        return []
    found = []
    for mount in vertex.op.mounts:
        source = vertex.inputs[mount.input] if mount.kind == "bind" and mount.input >= 0 else None
        if source is not None and not isinstance(source.op, SourceImage) and source.origin.step:
            found.append(mount)
    return found


def reachable(*targets: Vertex | None) -> list[Vertex]:
    """All vertices that ``targets`` need, inputs before those that read them; each once."""
    order: list[Vertex] = []
    seen: set[Vertex] = set()
    stack: list[tuple[Vertex, bool]] = [(vertex, False) for vertex in reversed(targets) if vertex is not None]
    while stack:
        vertex, expanded = stack.pop()
        if expanded:
            order.append(vertex)
        elif vertex not in seen:
            seen.add(vertex)
            stack.append((vertex, True))
            stack.extend((item, False) for item in reversed(vertex.inputs) if item is not None)
    return order
