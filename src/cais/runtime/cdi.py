"""Devices by the Container Device Interface: what the host's specs say has to be done for a device to be usable.

Specs in JSON are read from ``DIRECTORIES``; of what they ask for, device nodes, mounts and variables are done, and a
spec with hooks is refused, as a device without its hooks may work wrongly.
https://github.com/cncf-tags/container-device-interface
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence

from cais.errors import CaisError, Denied, Invalid, NotFound, Unsupported
from cais.runtime import spec
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORIES = ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
_LIMIT_BYTES = 4 << 20
_CLASS = "org.mobyproject.buildkit.device.class"
_AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Device(NamedTuple):
    """``name`` is ``vendor/class=name``. ``edits`` are its own after those of its spec."""

    name: str
    annotations: dict[str, str]
    edits: tuple[dict[str, Any], ...]


class Edits(NamedTuple):
    """What a spec gets: nodes, mounts, variables (``NAME=value``). ``notes`` are lines for the user."""

    devices: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()
    env: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    hooks: Mapping[str, list[dict[str, Any]]] = {}


def edits(
    wanted: Sequence[str], allowed: Sequence[str], directories: Sequence[str] = DIRECTORIES, *, hooks: bool = False
) -> Edits:
    """What the devices ``wanted`` (``vendor/class[=name][,required]``) need of this host.

    ``allowed`` are ``device``, which is all of them, or ``device=<name>``. ``hooks``: the caller has them run. Raises
    Invalid, NotFound, Denied, Unsupported.
    """
    known = registered(directories)
    chosen: dict[str, Device] = {}
    notes = []
    for text in wanted:
        name, required = parse(text)
        found = find(name, known)
        if not found and required:
            raise NotFound(
                f'required device "{name}" is not registered',
                hint=f"The host's devices are what the JSON files in {' and '.join(directories[:2])} say.",
            )
        if not found:
            notes.append(f'WARNING: Optional device "{name}" is not registered')
        for device in found:
            if not _is_allowed(device, allowed):
                raise Denied(
                    f"device {device.name} is requested by the build but not allowed",
                    hint=f"Allow it: --allow device={device.name}, or --allow device for all devices.",
                )
            chosen[device.name] = device
    nodes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    env: list[str] = []
    to_run: dict[str, list[dict[str, Any]]] = {}
    for device in chosen.values():
        for part in device.edits:
            for item in _objects(part.get("hooks")):
                kind, hook = _hook(item, device.name)
                to_run.setdefault(kind, []).append(hook)
            if to_run and not hooks:
                raise Unsupported(f"the device {device.name} needs hooks, which this version of cais does not run")
            nodes += [_node(item, device.name) for item in _objects(part.get("deviceNodes"))]
            mounts += [_mount(item, device.name) for item in _objects(part.get("mounts"))]
            env += [text for text in _list(part.get("env")) if isinstance(text, str) and "=" in text]
    return Edits(tuple(nodes), tuple(mounts), tuple(env), tuple(notes), to_run)


def parse(text: str) -> tuple[str, bool]:
    """(device, required) of RUN's ``[name=]vendor/class[=name][,required[=true]]``. Raises Invalid."""
    device, required = "", False
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if key.lower() == "required" and value.lower() in ("1", "t", "true", "0", "f", "false", ""):
            if equals and not value:
                raise Invalid(f"invalid value for required: {value}")
            required = value.lower() not in ("0", "f", "false")
        elif key.lower() == "name" and equals and not device:
            device = value
        elif not device:
            device = field
        elif not equals:
            raise Invalid(f"invalid field '{field}' must be a key=value pair")
        else:
            raise Invalid(f"unexpected key '{key.lower()}' in '{field}'")
    kind = device.partition("=")[0]
    vendor, slash, kind_class = kind.partition("/")
    if not slash or not _is_word(vendor) or not _is_word(kind_class):
        raise Invalid(f'invalid device "{device}"', hint="A device is named vendor.com/class=name.")
    return device, required


def find(device: str, known: Sequence[Device]) -> list[Device]:
    """Without a name the first of its kind, ``*`` is all of them; a name may be a class."""
    kind, _, name = device.partition("=")
    of_kind = [item for item in known if item.name.startswith(kind + "=")]
    if name == "*":
        return of_kind
    if not name:
        return of_kind[:1]
    found = [item for item in of_kind if item.name == device]
    return found or [item for item in of_kind if item.annotations.get(_CLASS) == name]


def registered(directories: Sequence[str] = DIRECTORIES) -> list[Device]:
    """All devices of this host's specs, by name; a later directory's take the place of an earlier one's.

    A spec that cannot be read, or says nonsense, has none.
    """
    from cais.spec.encoding import decode_object

    found: dict[str, Device] = {}
    for directory in directories:
        try:
            names = sorted(os.listdir(directory))
        except OSError:
            continue
        for name in names:
            if not name.endswith(".json"):
                continue
            path = os.path.join(directory, name)
            try:
                with open(path, "rb") as file:
                    value = decode_object(file.read(_LIMIT_BYTES + 1), f"CDI spec {path}", _LIMIT_BYTES)
            except (OSError, CaisError):
                continue
            found.update((device.name, device) for device in _devices(value))
    return [found[name] for name in sorted(found)]


def _devices(value: dict[str, Any]) -> Iterable[Device]:
    kind, common = value.get("kind"), value.get("containerEdits")
    shared = (common,) if isinstance(common, dict) else ()
    for item in _objects(value.get("devices")):
        own = item.get("containerEdits")
        if isinstance(kind, str) and isinstance(item.get("name"), str):
            annotations = {**_texts(value.get("annotations")), **_texts(item.get("annotations"))}
            yield Device(f"{kind}={item['name']}", annotations, (*shared, *((own,) if isinstance(own, dict) else ())))


def _is_allowed(device: Device, allowed: Sequence[str]) -> bool:
    if device.annotations.get(_AUTO_ALLOW, "").lower() in ("1", "t", "true"):
        return True
    kind = device.name.partition("=")[0]
    return any(item in ("device", f"device={device.name}", f"device={kind}") for item in allowed)


def _node(item: dict[str, Any], name: str) -> dict[str, Any]:
    path = item.get("path")
    source = item.get("hostPath") or path
    if not isinstance(path, str) or not isinstance(source, str) or not path.startswith("/"):
        raise Invalid(f"the CDI spec of {name} has a device node without a path")
    try:
        status = os.stat(source)
    except OSError as error:
        raise NotFound(f"the device {name} needs {source}, which is not there: {error.strerror}")
    if not (stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise Invalid(f"the device {name} needs {source}, which is no device")
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b"
    access = item.get("permissions") or "rwm"
    more = {
        to: value
        for key, to, default in (
            ("fileMode", "fileMode", stat.S_IMODE(status.st_mode)),
            ("uid", "uid", status.st_uid),
            ("gid", "gid", status.st_gid),
        )
        if isinstance(value := item.get(key, default), int)
    }
    return spec.device(path, kind, os.major(status.st_rdev), os.minor(status.st_rdev), str(access), **more)


_HOOKS = frozenset(("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"))


def _hook(item: dict[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """(when, what) of the OCI spec."""
    kind, path = item.get("hookName"), item.get("path")
    if kind not in _HOOKS or not isinstance(path, str) or not path.startswith("/"):
        raise Invalid(f"the CDI spec of {name} has a hook without its name or path")
    hook: dict[str, Any] = {"path": path}
    for key in ("args", "env"):
        if _list(item.get(key)):
            hook[key] = [text for text in _list(item[key]) if isinstance(text, str)]
    if isinstance(item.get("timeout"), int):
        hook["timeout"] = item["timeout"]
    return str(kind), hook


def _mount(item: dict[str, Any], name: str) -> dict[str, Any]:
    source, target = item.get("hostPath"), item.get("containerPath")
    if not isinstance(source, str) or not isinstance(target, str) or not target.startswith("/"):
        raise Invalid(f"the CDI spec of {name} has a mount without its paths")
    options = [text for text in _list(item.get("options")) if isinstance(text, str)]
    return spec.bind(source, target, [text for text in options if text not in ("rbind", "rprivate")])


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in _list(value) if isinstance(item, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _is_word(text: str) -> bool:
    return bool(text) and text[0] in _LETTERS and text[-1] in _LETTERS and set(text) <= _LETTERS | set("_-.")
