"""Compose files as bake files: each service with a build section is a target."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from cais.build.bake.definition import Definition, File
from cais.build.bake.fields import Target
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|\{(?P<braced>[_a-zA-Z][_a-zA-Z0-9]*)"
    r"(?:(?P<how>:?[-?+])(?P<word>(?:[^{}$]|\$\{[^{}]*\}|\$[^{])*))?\}|(?P<invalid>))"
)
_EXTENSIONS = {
    "tags": "texts", "cache-from": "texts", "cache-to": "texts", "secret": "texts", "ssh": "texts",
    "platforms": "texts", "output": "texts", "pull": "flag",
    "no-cache": "flag", "no-cache-filter": "texts", "contexts": "map",
}  # fmt: skip
_ENV_LIMIT_BYTES = 1 << 20
_VALUES_LIMIT = 200_000
_DEPTH_LIMIT = 100


def read_compose(files: Sequence[File], environment: Mapping[str, str], directory: str, definition: Definition) -> None:
    """Raises Invalid."""
    variables = {**_environment_file(directory), **environment}
    services: dict[str, dict[str, Any]] = {}
    secrets: dict[str, Any] = {}
    for file in files:
        document = _Interpolation(variables, file.name).filled(_loaded(file))
        for name, service in _mapping(document.get("services"), file, "services").items():
            known = services.setdefault(str(name), {})
            _merge_service(known, _mapping(service, file, f"services.{name}"))
        secrets.update(_mapping(document.get("secrets"), file, "secrets"))
    targets: list[str] = []
    for name, service in services.items():
        build = service.get("build")
        if build is None:
            continue
        target = name.replace(".", "_")
        if re.fullmatch(r"[a-zA-Z0-9_-]+", target) is None:
            raise Invalid(f'invalid service name {target!r}: only "a-zA-Z0-9_-" are allowed')
        targets.append(target)
        definition.add_target(target, _target(name, service, build, secrets, variables))
    definition.add_group("default", targets)


def _loaded(file: File) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    try:
        document = yaml.load(file.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid(f"failed to parse {file.name}: yaml: {error}")
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict | None):
        raise Invalid(f"failed to parse {file.name}: it is no compose file", hint="It has services, which have names.")
    return document


def _mapping(value: Any, file: File, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Invalid(f"failed to parse {file.name}: {what} must be a mapping")
    return value


def _merge_service(known: dict[str, Any], more: dict[str, Any]) -> None:
    """As compose merges files: what is named is replaced, lists are added to."""
    build, other = known.get("build"), more.get("build")
    known.update({key: value for key, value in more.items() if key in ("image", "build", "environment")})
    if build is not None and other is not None:
        first, second = _build(build), _build(other)
        for key, value in second.items():
            before = first.get(key)
            if isinstance(before, list) and isinstance(value, list):
                first[key] = [*before, *(item for item in value if item not in before)]
            elif isinstance(before, dict | list) and isinstance(value, dict | list):
                first[key] = {**_pairs(before), **_pairs(value)}
            else:
                first[key] = value
        known["build"] = first
    elif other is None and build is not None:
        known["build"] = build


def _build(value: Any) -> dict[str, Any]:
    """The short form is a context."""
    return {"context": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else {}


def _pairs(value: Any) -> dict[str, str | None]:
    """A mapping, or a list of ``KEY=VALUE`` and ``KEY``."""
    if isinstance(value, dict):
        return {str(key): None if item is None else _scalar(item) for key, item in value.items()}
    found: dict[str, str | None] = {}
    for item in value if isinstance(value, list) else ():
        key, equals, text = str(item).partition("=")
        found[key] = text if equals else None
    return found


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _texts(value: Any, what: str) -> list[str]:
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return [_scalar(item) for item in value]
    raise Invalid(f"{what} must be a list of strings")


def _target(
    name: str, service: Mapping[str, Any], build: Any, secrets: Mapping[str, Any], variables: Mapping[str, str]
) -> Target:
    if not isinstance(build, str | dict):
        raise Invalid(f"services.{name}.build must be a string or a mapping")
    said = _build(build)
    own = {key: value for key, value in _pairs(service.get("environment")).items() if value is not None}
    target: Target = {}
    for key in ("context", "dockerfile", "target", "network"):
        if said.get(key):
            target[key] = _scalar(said[key])
    if said.get("dockerfile_inline"):
        target["dockerfile-inline"] = str(said["dockerfile_inline"])
    if said.get("additional_contexts"):
        target["contexts"] = _contexts(_pairs(said["additional_contexts"]))
    arguments = {
        key: own.get(key, variables.get(key)) if value is None else value
        for key, value in _pairs(said.get("args")).items()
    }
    if said.get("args"):
        target["args"] = {key: value for key, value in arguments.items() if value is not None}
    if said.get("labels"):
        target["labels"] = {key: value or "" for key, value in _pairs(said["labels"]).items()}
    for key, field in (
        ("tags", "tags"),
        ("cache_from", "cache-from"),
        ("cache_to", "cache-to"),
        ("platforms", "platforms"),
    ):
        if said.get(key):
            target[field] = _texts(said[key], f"services.{name}.build.{key}")
    if not target.get("tags") and service.get("image"):
        target["tags"] = [_scalar(service["image"])]
    if said.get("ssh"):
        target["ssh"] = sorted(_ssh(said["ssh"]))
    if said.get("secrets"):
        target["secret"] = [_secret(item, secrets) for item in said["secrets"]]
    for key, field in (("pull", "pull"), ("no_cache", "no-cache")):
        if said.get(key):
            target[field] = True
    if said.get("shm_size"):
        target["shm-size"] = _scalar(said["shm_size"])
    if said.get("ulimits"):
        target["ulimits"] = [
            _ulimit(key, value) for key, value in _mapping_of(said["ulimits"], name, "ulimits").items()
        ]
    if said.get("extra_hosts"):
        target["extra-hosts"] = _hosts(said["extra_hosts"])
    if said.get("entitlements"):
        target["entitlements"] = _texts(said["entitlements"], f"services.{name}.build.entitlements")
    attests = [f"type={kind},{_attest(said[kind])}" for kind in ("sbom", "provenance") if said.get(kind) is not None]
    if attests:
        target["attest"] = attests
    _extended(name, target, said.get("x-bake"))
    return target


def _mapping_of(value: Any, name: str, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Invalid(f"services.{name}.build.{key} must be a mapping")
    return value


def _attest(value: Any) -> str:
    text = _scalar(value)
    return f"disabled={'false' if text == 'true' else 'true'}" if text in ("true", "false") else text


def _extended(name: str, target: Target, extension: Any) -> None:
    """``x-bake``: what compose has no words for."""
    if extension is None:
        return
    if not isinstance(extension, dict):
        raise Invalid(f"services.{name}.build.x-bake must be a mapping")
    for key, value in extension.items():
        form = _EXTENSIONS.get(key)
        if form is None or value is None:
            continue
        if form == "flag":
            target[key] = _scalar(value) == "true"
        elif form == "map":
            target[key] = {**_contexts(_pairs(value)), **(target.get(key) or {})}
        else:
            texts = _texts(value, f"services.{name}.build.x-bake.{key}")
            target[key] = list(dict.fromkeys([*(target.get(key) or ()), *texts]))


def _contexts(given: Mapping[str, str | None]) -> dict[str, str]:
    found = {}
    for name, value in given.items():
        kind, colon, other = (value or "").partition(":")
        linked = colon and kind in ("service", "target")
        found[name] = f"target:{other.replace('.', '_')}" if linked else value or ""
    return found


def _ssh(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [key if path is None else f"{key}={path}" for key, path in _pairs(value).items()]


def _secret(item: Any, secrets: Mapping[str, Any]) -> str:
    source = str(item.get("source", "")) if isinstance(item, dict) else str(item)
    known = secrets.get(source)
    said = known if isinstance(known, dict) else {}
    if said.get("external"):
        raise Invalid(f"unsupported external secret {source}")
    fields = [f"id={source}"]
    if said.get("file"):
        fields.append(f"src={said['file']}")
    if said.get("environment"):
        fields.append(f"env={said['environment']}")
    return ",".join(fields)


def _ulimit(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name}={value.get('soft', 0)}:{value.get('hard', 0)}"
    return f"{name}={value}:{value}"


def _hosts(value: Any) -> dict[str, str]:
    if isinstance(value, dict):
        return {
            str(key): ",".join(map(str, item)) if isinstance(item, list) else str(item) for key, item in value.items()
        }
    found: dict[str, str] = {}
    for item in value if isinstance(value, list) else ():
        name, separator, address = str(item).partition("=" if "=" in str(item) else ":")
        if separator:
            found[name] = f"{found[name]},{address}" if name in found else address
    return found


# Variables of the environment in texts.


class _Interpolation:
    """A document with its variables filled in. What aliases multiply beyond measure is refused."""

    def __init__(self, variables: Mapping[str, str], name: str) -> None:
        self._variables = variables
        self._name = name
        self._left = _VALUES_LIMIT

    def filled(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEPTH_LIMIT:
            raise Invalid(f"failed to parse {self._name}: it has too many values, or they are nested too deeply")
        if isinstance(value, str):
            return _filled(value, self._variables, self._name) if "$" in value else value
        if isinstance(value, dict):
            return {key: self.filled(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, depth + 1) for item in value]
        return value


def _filled(text: str, variables: Mapping[str, str], file: str) -> str:
    def filled(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["named"]:
            return variables.get(match["named"], "")
        name = match["braced"]
        if not name:
            raise Invalid(
                f"failed to parse {file}: invalid interpolation format in {text[:80]!r}", hint='"$$" is a dollar.'
            )
        how, word = match["how"] or "", match["word"] or ""
        value = variables.get(name)
        there = bool(value) if how.startswith(":") else value is not None
        if how.endswith("?") and not there:
            reason = _filled(word, variables, file)
            raise Invalid(f"required variable {name} is missing a value" + (f": {reason}" if reason else ""))
        if how.endswith("+"):
            return _filled(word, variables, file) if there else ""
        if how.endswith("-") and not there:
            return _filled(word, variables, file)
        return value or ""

    return _VARIABLE.sub(filled, text)


def _environment_file(directory: str) -> dict[str, str]:
    """``.env``: lines of ``NAME=VALUE``; in double quotes escapes count, in single ones nothing does."""
    try:
        with open(os.path.join(directory, ".env"), encoding="utf-8", errors="replace") as file:
            lines = file.read(_ENV_LIMIT_BYTES).splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*(.*)", line)
        if match is None:
            continue
        name, value = match[1], match[2]
        if value[:1] == "'" and "'" in value[1:]:
            found[name] = value[1 : value.index("'", 1)]
            continue
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"', value)
        if quoted is not None:
            value = re.sub(r"\\(.)", lambda part: {"n": "\n", "t": "\t", "r": "\r"}.get(part[1], part[1]), quoted[1])
        else:
            value = re.sub(r"(^|\s+)#.*", "", value).strip()
        try:
            found[name] = _filled(value, found, ".env") if "$" in value else value
        except Invalid:
            found[name] = value
    return found
