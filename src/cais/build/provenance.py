"""Provenance: how a build came to its result, as BuildKit writes it (SLSA provenance 0.2 and 1, "SLSA definitions").

Pure. Values of secrets are never handed in; build arguments and variables that are called like secrets are hidden, as
are the credentials of URLs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence

from cais.build.graph import (
    Copy,
    Exec,
    ExecMount,
    GitSource,
    HttpSource,
    LocalSource,
    MakeDirectory,
    SourceImage,
    Vertex,
)
from cais.build.secret_names import looks_secret
from cais.sources.urls import redacted, without_credentials
from cais.spec.descriptor import Descriptor
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PREDICATE_V02 = "https://slsa.dev/provenance/v0.2"
PREDICATE_V1 = "https://slsa.dev/provenance/v1"
_BUILD_TYPE_V02 = "https://mobyproject.org/buildkit@v1"
_BUILD_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_METADATA = f"{_BUILD_TYPE_V02}#metadata"
_HIDDEN = "(hidden)"
# Shorter values stand in many texts by chance.
_SECRET_CHARACTERS = 4


class Material(NamedTuple):
    """Something that came from elsewhere. ``algorithm`` is sha256, or sha1 for a commit."""

    uri: str
    algorithm: str
    digest: str


class Facts(NamedTuple):
    """What a build of one platform knows of itself.

    ``arguments`` are the options by BuildKit's names (``target``, ``label:NAME``). ``vertices`` come inputs first,
    ``layers`` are those that they made. ``context`` is a remote one (None: it is local).
    Times are as in a config.
    """

    dockerfile_name: str
    source: bytes
    platform: str
    build_args: Mapping[str, str]
    arguments: Mapping[str, str]
    vertices: Sequence[Vertex]
    layers: Mapping[Vertex, Descriptor]
    materials: Sequence[Material]
    started: str
    finished: str
    invocation: str
    context: Material | None = None


class Wanted(NamedTuple):
    """What ``--provenance`` asks for. ``full``: mode=max. ``version`` is v0.2 or v1."""

    full: bool = False
    version: str = "v0.2"
    builder: str = ""
    reproducible: bool = False

    @property
    def predicate_type(self) -> str:
        return PREDICATE_V1 if self.version == "v1" else PREDICATE_V02


def predicate(facts: Facts, wanted: Wanted) -> dict[str, Any]:
    """The predicate of the statement."""
    return _v1(facts, wanted) if wanted.version == "v1" else _v02(facts, wanted)


def _v02(facts: Facts, wanted: Wanted) -> dict[str, Any]:
    value: dict[str, Any] = {
        "builder": {"id": wanted.builder},
        "buildType": _BUILD_TYPE_V02,
        "materials": [_material(item) for item in facts.materials],
        "invocation": {
            "configSource": {**_remote(facts), "entryPoint": facts.dockerfile_name},
            "parameters": _request(facts, wanted),
            "environment": {"platform": facts.platform},
        },
    }
    if wanted.full:
        value["buildConfig"] = _build_config(facts)
    value["metadata"] = {
        "buildInvocationID": facts.invocation,
        "buildStartedOn": facts.started,
        "buildFinishedOn": facts.finished,
        "completeness": {
            "parameters": _complete(facts, wanted),
            "environment": True,
            "materials": facts.context is not None,
        },
        "reproducible": wanted.reproducible,
        f"{_BUILD_TYPE_V02}#hermetic": _hermetic(facts.vertices),
        **({_METADATA: _metadata(facts)} if wanted.full else {}),
    }
    return value


def _v1(facts: Facts, wanted: Wanted) -> dict[str, Any]:
    internal: dict[str, Any] = {"builderPlatform": facts.platform}
    if wanted.full:
        internal["buildConfig"] = _build_config(facts)
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE_V1,
            "externalParameters": {
                "configSource": {**_remote(facts), "path": facts.dockerfile_name},
                "request": _request(facts, wanted),
            },
            "internalParameters": internal,
            "resolvedDependencies": [_material(item) for item in facts.materials],
        },
        "runDetails": {
            "builder": {"id": wanted.builder},
            "metadata": {
                "invocationID": facts.invocation,
                "startedOn": facts.started,
                "finishedOn": facts.finished,
                **({"buildkit_metadata": _metadata(facts)} if wanted.full else {}),
                "buildkit_hermetic": _hermetic(facts.vertices),
                "buildkit_completeness": {
                    "request": _complete(facts, wanted),
                    "resolvedDependencies": facts.context is not None,
                },
                "buildkit_reproducible": wanted.reproducible,
            },
        },
    }


def _material(item: Material) -> dict[str, Any]:
    return {"uri": item.uri, "digest": {item.algorithm: item.digest}}


def _remote(facts: Facts) -> dict[str, Any]:
    return _material(facts.context) if facts.context is not None else {}


def _request(facts: Facts, wanted: Wanted) -> dict[str, Any]:
    """``min`` leaves out what people pass in: build arguments, labels, which secrets there are."""
    arguments = {name: value for name, value in facts.arguments.items() if wanted.full or ":" not in name}
    locals = [{"name": "dockerfile"}] if facts.context is None else []
    if any(vertex.op == LocalSource("") for vertex in facts.vertices):
        locals.insert(0, {"name": "context"})
    locals += [{"name": name} for name in sorted(_named_contexts(facts.vertices))]
    request: dict[str, Any] = {"frontend": "dockerfile.v0"}
    if wanted.full:
        arguments |= {f"build-arg:{name}": _shown(name, value) for name, value in facts.build_args.items()}
    if arguments:
        request["args"] = dict(sorted(arguments.items()))
    if wanted.full:
        for key, kind in (("secrets", "secret"), ("ssh", "ssh")):
            mounts = _mounts(facts.vertices, kind)
            if mounts:
                request[key] = [{"id": name, **({} if needed else {"optional": True})} for name, needed in mounts]
    request["locals"] = locals
    return request


def _named_contexts(vertices: Iterable[Vertex]) -> set[str]:
    return {vertex.op.name for vertex in vertices if isinstance(vertex.op, LocalSource) and vertex.op.name}


def _mounts(vertices: Iterable[Vertex], kind: str) -> list[tuple[str, bool]]:
    found: dict[str, bool] = {}
    for vertex in vertices:
        for mount in vertex.op.mounts if isinstance(vertex.op, Exec) else ():
            if mount.kind == kind:
                found[mount.id] = found.get(mount.id, False) or mount.required
    return sorted(found.items())


def _complete(facts: Facts, wanted: Wanted) -> bool:
    return wanted.full and not any(map(looks_secret, facts.build_args))


def _shown(name: str, value: str) -> str:
    return _HIDDEN if looks_secret(name) else redacted(value)


def _hermetic(vertices: Iterable[Vertex]) -> bool:
    """Whether nothing that ran could reach a network."""
    return all(not isinstance(vertex.op, Exec) or vertex.op.network == "none" for vertex in vertices)


def _build_config(facts: Facts) -> dict[str, Any]:
    """The steps, in the form of BuildKit's LLB as far as what it says exists here."""
    numbers = {vertex: number for number, vertex in enumerate(facts.vertices)}
    hidden = [
        value for name, value in facts.build_args.items() if looks_secret(name) and len(value) >= _SECRET_CHARACTERS
    ]

    def hide(text: str) -> str:
        """Without the values that must not be told, wherever a variable has carried them."""
        for value in hidden:
            text = text.replace(value, _HIDDEN)
        return redacted(text)

    steps = []
    for vertex, number in numbers.items():
        inputs = [f"step{numbers[item]}:0" for item in vertex.inputs if item is not None]
        steps.append({"id": f"step{number}", "op": {"Op": _op(vertex, hide)}, **({"inputs": inputs} if inputs else {})})
    return {"llbDefinition": steps}


def _op(vertex: Vertex, hide: Callable[[str], str]) -> dict[str, Any]:
    op = vertex.op
    if isinstance(op, SourceImage):
        return {"source": {"identifier": f"docker-image://{op.reference}", "attrs": {"platform": str(op.platform)}}}
    if isinstance(op, LocalSource):
        return {"source": {"identifier": f"local://{op.name or 'context'}"}}
    if isinstance(op, HttpSource):
        attributes = {"http.checksum": op.checksum} if op.checksum else {}
        return {"source": {"identifier": without_credentials(op.url)[0], "attrs": attributes}}
    if isinstance(op, GitSource):
        fragment = "".join((op.reference, f":{op.subdirectory}" if op.subdirectory else ""))
        return {"source": {"identifier": f"git://{without_credentials(op.url)[0]}#{fragment}"}}
    if isinstance(op, Exec):
        return {"exec": _exec(op, hide)}
    if isinstance(op, MakeDirectory):
        made = {"path": op.path, "mode": 0o755, "makeParents": True, **({"owner": op.user} if op.user else {})}
        return {"file": {"actions": [{"Action": {"mkdir": made}, "input": 0}]}}
    if isinstance(op, Copy):
        return {"file": {"actions": [action for part in (op, *op.more) for action in _actions(part)]}}
    return {"merge": {}}


def _exec(op: Exec, hide: Callable[[str], str]) -> dict[str, Any]:
    env = [f"{name}={_shown(name, hide(value))}" for name, value in op.env]
    meta: dict[str, Any] = {"args": [hide(text) for text in op.args], "env": env, "cwd": op.cwd}
    if op.user:
        meta["user"] = op.user
    value: dict[str, Any] = {"meta": meta, "mounts": [{"dest": "/", "input": 0}, *map(_mount, op.mounts)]}
    if op.network != "default":
        value["network"] = op.network.upper()
    if op.security:
        value["security"] = op.security.upper()
    return value


def _mount(mount: ExecMount) -> dict[str, Any]:
    value: dict[str, Any] = {"dest": mount.target, "mountType": mount.kind.upper()}
    if mount.input >= 0:
        value["input"] = mount.input
    if mount.source:
        value["selector"] = mount.source
    if mount.id:
        value["id"] = mount.id
    if mount.readonly and mount.kind == "bind":
        value["readonly"] = True
    return value


def _actions(op: Copy) -> list[dict[str, Any]]:
    common: dict[str, Any] = {"dest": op.destination}
    if op.chown:
        common["owner"] = op.chown
    if op.chmod:
        common["modeStr"] = op.chmod
    copies = [
        {"Action": {"copy": {"src": f"/{source}", **common}}, "input": 0, "secondaryInput": 1} for source in op.sources
    ]
    files = [
        {"Action": {"mkfile": {"path": op.destination, "name": file.name, "mode": 0o644}}, "input": 0}
        for file in op.inline
    ]
    return [*copies, *files]


def _metadata(facts: Facts) -> dict[str, Any]:
    """The Dockerfile, the lines of each step, and the layers that they made."""
    locations = {}
    layers = {}
    for number, vertex in enumerate(facts.vertices):
        first, last = vertex.origin[:2]
        if first:
            span = {"start": {"line": first}, "end": {"line": last}}
            locations[f"step{number}"] = {"locations": [{"ranges": [span]}]}
        layer = facts.layers.get(vertex)
        if layer is not None:
            layers[f"step{number}:0"] = [[layer.to_json()]]
    info = {
        "filename": facts.dockerfile_name,
        "language": "Dockerfile",
        "data": base64.b64encode(facts.source).decode(),
    }
    return {"source": {"locations": locations, "infos": [info]}, **({"layers": layers} if layers else {})}
