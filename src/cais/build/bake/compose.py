"""Compose files as bake files: each service with a build section is a target."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping, Sequence

from cais.build.bake.compose_variables import Interpolation, environment_file, environment_files
from cais.build.bake.definition import Definition, File
from cais.build.bake.fields import Target
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EXTENSIONS = {
    "tags": "texts", "cache-from": "texts", "cache-to": "texts", "secret": "texts", "ssh": "texts",
    "platforms": "texts", "output": "texts", "pull": "flag",
    "no-cache": "flag", "no-cache-filter": "texts", "contexts": "map",
}  # fmt: skip
_FILE_LIMIT = 4 << 20


def read_compose(files: Sequence[File], environment: Mapping[str, str], directory: str, definition: Definition) -> None:
    """Raises Invalid."""
    variables = {"COMPOSE_PROJECT_NAME": "bake", **environment_file(os.path.join(directory, ".env")), **environment}
    services: dict[str, dict[str, Any]] = {}
    secrets: dict[str, Any] = {}
    for file in files:
        _gather(file, variables, directory, services, secrets, ())
    targets: list[str] = []
    for name, service in services.items():
        build = service.get("build")
        if build is None:
            if not service.get("image"):
                raise Invalid(
                    f'failed to parse compose file: service "{name}" has neither an image nor a build context '
                    "specified: invalid compose project"
                )
            continue
        target = name.replace(".", "_")
        if re.fullmatch(r"[a-zA-Z0-9_-]+", target) is None:
            raise Invalid(f'invalid service name {target!r}: only "a-zA-Z0-9_-" are allowed')
        targets.append(target)
        definition.add_target(target, _target(name, service, build, secrets, variables, directory))
    definition.add_group("default", targets)


def _gather(
    file: File,
    variables: Mapping[str, str],
    directory: str,
    services: dict[str, dict[str, Any]],
    secrets: dict[str, Any],
    above: tuple[str, ...],
) -> None:
    """What ``file`` says, and before it what the files say that it includes."""
    document = Interpolation(variables, file.name).filled(_loaded(file))
    include = document.get("include")
    for item in include if isinstance(include, list) else ():
        paths = item.get("path") if isinstance(item, dict) else item
        for path in paths if isinstance(paths, list) else [paths]:
            name = os.path.normpath(os.path.join(directory, str(path)))
            if name in above:
                raise Invalid(f"failed to parse {file.name}: include cycle detected: {path}")
            _gather(_included(name, str(path)), variables, os.path.dirname(name), services, secrets, (*above, name))
    for name, service in _mapping(document.get("services"), file, "services").items():
        known = services.setdefault(str(name), {})
        _merge_service(known, _mapping(service, file, f"services.{name}"))
    secrets.update(_mapping(document.get("secrets"), file, "secrets"))


def _included(path: str, shown: str) -> File:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(_FILE_LIMIT + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Invalid(f"failed to parse compose file: open {shown}: {str(reason).lower()}")
    if len(text) > _FILE_LIMIT:
        raise Invalid(f"failed to parse compose file: {shown} is larger than {_FILE_LIMIT >> 20} MiB")
    return File(shown, text)


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
    known.update({key: value for key, value in more.items() if key in ("image", "build", "environment", "env_file")})
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
    name: str,
    service: Mapping[str, Any],
    build: Any,
    secrets: Mapping[str, Any],
    variables: Mapping[str, str],
    directory: str,
) -> Target:
    if not isinstance(build, str | dict):
        raise Invalid(f"services.{name}.build must be a string or a mapping")
    said = _build(build)
    own = environment_files(service.get("env_file"), directory)
    own.update({key: value for key, value in _pairs(service.get("environment")).items() if value is not None})
    target: Target = {}
    for key in ("context", "dockerfile", "target", "network"):
        if said.get(key):
            target[key] = _scalar(said[key])
    if target.get("context"):
        target["context"] = _path(target["context"])
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
        target["secret"] = [_secret(name, item, secrets) for item in said["secrets"]]
    for key, field in (("pull", "pull"), ("no_cache", "no-cache")):
        if said.get(key):
            target[field] = True
    if said.get("shm_size"):
        target["shm-size"] = _size(_scalar(said["shm_size"]))
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
        found[name] = f"target:{other.replace('.', '_')}" if linked else _path(value or "")
    return found


def _path(value: str) -> str:
    """A directory by its shortest name; what is none as it is."""
    kind, colon, _ = value.partition(":")
    if not value or (colon and "/" not in kind) or "://" in value:
        return value
    return posixpath.normpath(value)


def _size(value: str) -> str:
    """Bytes as Docker shows them: ``128m`` is 128MiB. Raises Invalid."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmgtp])?(?:i?b)?", value.lower())
    if match is None:
        raise Invalid(f"invalid size: '{value}'")
    size, unit = float(match[1]) * 1024 ** " kmgtp".index(match[2] or " "), 0
    while size >= 1024 and unit < 5:
        size, unit = size / 1024, unit + 1
    return f"{size:.4g}{('', 'K', 'M', 'G', 'T', 'P')[unit]}{'iB' if unit else 'B'}"


def _ssh(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [key if path is None else f"{key}={path}" for key, path in _pairs(value).items()]


def _secret(service: str, item: Any, secrets: Mapping[str, Any]) -> str:
    source = str(item.get("source", "")) if isinstance(item, dict) else str(item)
    if source not in secrets:
        raise Invalid(
            f'failed to parse compose file: service "{service}" refers to undefined build secret {source}: '
            "invalid compose project"
        )
    known = secrets[source]
    said = known if isinstance(known, dict) else {}
    if said.get("external"):
        raise Invalid(f"unsupported external secret {source}")
    fields = [f"id={source}"]
    if said.get("file"):
        fields.append(f"src={_path(str(said['file']))}")
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
