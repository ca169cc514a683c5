"""``RUN --mount``: what its options mean. The errors are BuildKit's, in the order of the options."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

from cais.build.dockerfile.errors import DockerfileError, Span, did_you_mean
from cais.build.dockerfile.instructions import Run, RunMount
from cais.build.graph import Copy, ExecMount, LocalSource, Origin, Vertex
from cais.build.lowering.state import StageState, absolute
from cais.build.patterns import literal
from cais.spec.named import NamedTuple

BIND, CACHE, TMPFS, SECRET, SSH = "bind", "cache", "tmpfs", "secret", "ssh"
_KINDS = (BIND, CACHE, TMPFS, SECRET, SSH)
_SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid", "src",
    "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp])?i?b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
# Where the files of a context that a mount shows stand in the file system that is made of them.
_SHOWN = "/source"
SECRETS_DIRECTORY = "/run/secrets"
AGENT_SOCKET = "/run/buildkit/ssh_agent."
AGENT_VARIABLE = "SSH_AUTH_SOCK"

Source = Callable[[str, str], Vertex | None]
# The file systems made of a context's files: by context and path.
Made = dict[tuple[Vertex | None, str], Vertex]


class Mounts(NamedTuple):
    """``inputs`` are what ``mounts`` name by number, from 1; ``environment`` is added to the step's."""

    mounts: tuple[ExecMount, ...] = ()
    inputs: tuple[Vertex | None, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


class _Options:
    """One mount's options as they are read."""

    __slots__ = ("env", "group", "id", "kind", "mode", "readonly", "required", "sharing", "size", "source", "stage",
                 "target", "user")  # fmt: skip

    def __init__(self) -> None:
        self.kind = BIND
        self.stage = self.source = self.target = self.id = self.sharing = ""
        self.readonly: bool | None = None
        self.required = False
        self.size = 0
        self.mode: int | None = None
        self.user: int | None = None
        self.group: int | None = None
        self.env: str | None = None


def run_mounts(state: StageState, instruction: Run, source: Source, made: Made) -> Mounts:
    """``source`` gives the file system that a ``from`` names, for a target; "": the build context. ``made`` is filled.

    Raises DockerfileError.
    """
    span = instruction.span
    inputs: list[Vertex | None] = []
    files: dict[str, ExecMount] = {}
    others: list[ExecMount] = []
    agents: list[str] = []
    for mount in instruction.mounts:
        options = _read(state, mount, span)
        found = source(options.stage, options.target) if options.stage else None
        if options.kind == SECRET:
            others.append(_secret(state, options, span))
        elif options.kind == SSH:
            lowered = _agent(state, options, len(agents), span)
            agents.append(lowered.target)
            others.append(lowered)
        else:
            lowered, needed = _file_system(state, options, found, source, made, span)
            if lowered.input:
                inputs.append(needed)
                lowered = lowered._replace(input=len(inputs))
            else:
                lowered = lowered._replace(input=-1)
            files[lowered.target] = lowered
    environment: tuple[tuple[str, str], ...] = ()
    if agents and AGENT_VARIABLE not in state.env:
        environment = ((AGENT_VARIABLE, agents[0]),)
    # What is mounted in another mount comes after it.
    ordered = [files[target] for target in sorted(files)]
    return Mounts((*ordered, *others), tuple(inputs), environment)


def _read(state: StageState, mount: RunMount, span: Span) -> _Options:
    options = _Options()
    for key, written in mount.options:
        if written is None:
            _read_bare(options, key, span)
        else:
            value = state.expand(written, span)
            if not _read_pair(options, key, value, span):
                raise DockerfileError(f"unexpected key '{key}' in '{key}={value}'{did_you_mean(key, _KEYS)}", span)
    for name, number in (("mode", options.mode), ("uid", options.user), ("gid", options.group)):
        if number is not None and options.kind in (BIND, TMPFS):
            raise DockerfileError(f'{name} not allowed for "{options.kind}" type mounts', span)
    if options.readonly is None:
        options.readonly = options.kind not in (CACHE, TMPFS)
    if options.sharing and options.kind != CACHE:
        raise DockerfileError(f"invalid cache sharing set for {options.kind} mount", span)
    if options.env is not None and options.kind != SECRET:
        raise DockerfileError(f"unexpected key 'env' for mount type '{options.kind}'", span)
    return options


def _read_bare(options: _Options, key: str, span: Span) -> None:
    if key in ("readonly", "ro"):
        options.readonly = True
    elif key in ("readwrite", "rw"):
        options.readonly = False
    elif key == "required":
        _of(options, key, (SECRET, SSH), span)
        options.required = True
    else:
        raise DockerfileError(f"invalid field '{key}' must be a key=value pair", span)


def _read_pair(options: _Options, key: str, value: str, span: Span) -> bool:
    """False where there is no such key."""
    if key == "type":
        if value.lower() not in _KINDS:
            raise DockerfileError(f'unsupported mount type "{value}"{did_you_mean(value, _KINDS)}', span)
        options.kind = value.lower()
    elif key == "from":
        options.stage = value
    elif key in ("source", "src"):
        options.source = value
    elif key in ("target", "dst", "destination"):
        options.target = value
    elif key in ("readonly", "ro"):
        options.readonly = _truth(key, value, span)
    elif key in ("readwrite", "rw"):
        options.readonly = not _truth(key, value, span)
    elif key == "required":
        _of(options, key, (SECRET, SSH), span)
        options.required = _truth(key, value, span)
    elif key == "size":
        _of(options, key, (TMPFS,), span)
        options.size = _size(key, value, span)
    elif key == "id":
        options.id = value
    elif key == "sharing":
        if value.lower() not in _SHARING:
            raise DockerfileError(f'unsupported sharing value "{value}"{did_you_mean(value, _SHARING)}', span)
        options.sharing = value.lower()
    elif key == "mode":
        options.mode = _number(key, value, 8, span)
    elif key == "uid":
        options.user = _number(key, value, 10, span)
    elif key == "gid":
        options.group = _number(key, value, 10, span)
    elif key == "env":
        if not value or "=" in value or "\0" in value:
            raise DockerfileError(f"invalid value for env: {value}", span, hint="It is the name of a variable.")
        options.env = value
    else:
        return False
    return True


def _file_system(
    state: StageState, options: _Options, found: Vertex | None, source: Source, made: Made, span: Span
) -> tuple[ExecMount, Vertex | None]:
    """A bind, cache or tmpfs; ``input`` of what comes back is 1 where the vertex counts, else 0."""
    target = absolute(state.workdir, options.target)
    if target == "/":
        raise DockerfileError(
            f'invalid mount target "{target}"', span, hint="Say where to mount it: target=/path in the image."
        )
    if target == "/proc" or target.startswith("/proc/"):
        raise DockerfileError(f'invalid mount target "{target}": nothing can be mounted in /proc', span)
    mount = ExecMount(options.kind, target, 0, readonly=bool(options.readonly))
    path = absolute("/", options.source)
    if options.kind == TMPFS:
        return mount._replace(size_bytes=options.size), None
    if options.kind == BIND:
        if options.stage:
            # A context's files become a file system of their own, of what is shown alone.
            named = found is not None and isinstance(found.op, LocalSource)
            vertex = _of_context(state, found, path, made, span) if named else found
            return mount._replace(input=1, source=_SHOWN if named else path), vertex
        return mount._replace(input=1, source=_SHOWN), _of_context(state, source("", ""), path, made, span)
    cache_id = options.id or posixpath.normpath(options.target or ".")
    mount = mount._replace(id=cache_id, sharing=options.sharing or "shared", source=path)
    own = any(number is not None for number in (options.mode, options.user, options.group))
    if path == "/" and own:
        # As in BuildKit: a directory with these owners stands for what the source has.
        return mount._replace(mode=options.mode, user_id=options.user or 0, group_id=options.group or 0), None
    if not options.stage or options.stage == "scratch":
        if path != "/":
            raise DockerfileError(
                f'cache mount: "{path}": not found',
                span,
                hint="source is a path in what from= names, and there is none.",
            )
        return mount, None
    if found is not None and isinstance(found.op, LocalSource):
        return mount._replace(input=1, source=_SHOWN), _of_context(state, found, path, made, span)
    return mount._replace(input=1), found


def _of_context(state: StageState, context: Vertex | None, path: str, made: Made, span: Span) -> Vertex:
    """The files of a context at ``path``, copied onto nothing: what .dockerignore leaves, known by its content."""
    found = made.get((context, path))
    if found is None:
        name = context.op.name if context is not None and isinstance(context.op, LocalSource) else ""
        pattern = literal(path[1:]) or "."
        text = f"load {name + ':' if name else ''}{path} for RUN --mount"
        op = Copy((pattern,), _SHOWN)
        found = made[(context, path)] = Vertex(op, (None, context), Origin(*span, text, state.name))
    return found


def _secret(state: StageState, options: _Options, span: Span) -> ExecMount:
    if options.stage:
        raise DockerfileError("secret mount should not have a from", span)
    if not options.source and not options.target and not options.id:
        raise DockerfileError("invalid secret mount. one of source, target required", span)
    if options.source and options.id:
        raise DockerfileError("both source and id can't be set", span)
    id = options.source or options.id or posixpath.basename(posixpath.normpath(options.target))
    target = absolute(state.workdir, options.target) if options.target else ""
    if not target and options.env is None:
        target = absolute("/", f"{SECRETS_DIRECTORY}/{posixpath.basename(posixpath.normpath(id))}")
    return _small(options, SECRET, target, id, 0o400, span)._replace(environment=options.env or "")


def _agent(state: StageState, options: _Options, number: int, span: Span) -> ExecMount:
    if options.source:
        raise DockerfileError("ssh does not support source", span)
    target = absolute(state.workdir, options.target) if options.target else f"{AGENT_SOCKET}{number}"
    return _small(options, SSH, target, options.id or "default", 0o600, span)


def _small(options: _Options, kind: str, target: str, id: str, mode: int, span: Span) -> ExecMount:
    if target == "/" or target == "/proc" or target.startswith("/proc/"):
        raise DockerfileError(f'invalid mount target "{target}"', span)
    return ExecMount(
        kind,
        target,
        id=id,
        mode=mode if options.mode is None else options.mode,
        user_id=options.user or 0,
        group_id=options.group or 0,
        required=options.required,
    )


def _of(options: _Options, key: str, kinds: Sequence[str], span: Span) -> None:
    if options.kind not in kinds:
        raise DockerfileError(f"unexpected key '{key}' for mount type '{options.kind}'", span)


def _truth(key: str, value: str, span: Span) -> bool:
    if value not in _TRUE and value not in _FALSE:
        raise DockerfileError(f"invalid value for {key}: {value}", span)
    return value in _TRUE


def _number(key: str, value: str, numeral: int, span: Span) -> int:
    digits = "01234567" if numeral == 8 else "0123456789"
    if not value or len(value) > 32 or any(char not in digits for char in value) or int(value, numeral) >= 1 << 32:
        raise DockerfileError(f"invalid value {value} for {key}", span)
    return int(value, numeral)


def _size(key: str, value: str, span: Span) -> int:
    found = _SIZE.fullmatch(value)
    if found is None or len(value) > 32:
        raise DockerfileError(f"invalid value for {key}: {value}", span)
    size = int(float(found[1]) * (1 << _UNITS[(found[2] or "").lower()]))
    if size >= 1 << 63:
        raise DockerfileError(f"invalid value for {key}: {value}", span)
    return size
