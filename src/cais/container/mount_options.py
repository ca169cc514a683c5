"""``-v``, ``--mount`` and ``--tmpfs`` as values. Pure; Docker's rules and words."""

from __future__ import annotations

import posixpath

from cais.errors import Invalid, Unsupported
from cais.spec.named import NamedTuple


class MountPoint(NamedTuple):
    """``kind``: ``bind``, ``volume`` or ``tmpfs``. ``source``: a path of this host, or a volume's name ("": anonymous).

    ``make_source``: a missing directory of the host is made (``-v`` does, ``--mount`` does not). ``copy``: an empty
    volume is filled from the image. ``size_bytes`` and ``mode`` (octal digits) are tmpfs's.
    """

    kind: str
    source: str
    target: str
    readonly: bool = False
    copy: bool = True
    recursive: bool = True
    propagation: str = ""
    make_source: bool = False
    anonymous: bool = False
    size_bytes: int = 0
    mode: str = ""
    flags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
# What Docker takes and what changes nothing here: SELinux labels and the consistency of another system's mounts.
_WITHOUT_EFFECT = frozenset(("z", "Z", "consistent", "cached", "delegated"))


def parse_volume(text: str, directory: str = "") -> MountPoint:
    """``[source:]target[:options]``. ``directory`` is what a relative source starts from. Raises Invalid."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise Invalid(f"invalid volume specification: '{text}'", exit_code=125)
    if len(parts) == 1:
        return MountPoint("volume", "", _target(parts[0], text), anonymous=True)
    source, target = parts[0], parts[1]
    if source in (".", "..") or source.startswith(("./", "../")):
        source = posixpath.join(directory or "/", source)
    point = MountPoint("bind" if source.startswith("/") else "volume", source, _target(target, text))
    if point.kind == "bind":
        point = point._replace(source=posixpath.normpath(source), make_source=True, copy=False)
    seen_mode = False
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "rw"):
            if seen_mode:
                raise Invalid(f"invalid volume specification: '{text}': invalid mode: {parts[2]}", exit_code=125)
            seen_mode = True
            point = point._replace(readonly=option == "ro")
        elif option == "nocopy" and point.kind == "volume":
            point = point._replace(copy=False)
        elif option in _PROPAGATIONS and point.kind == "bind":
            point = point._replace(propagation=option)
        elif option not in _WITHOUT_EFFECT:
            raise Invalid(f"invalid volume specification: '{text}': invalid mode: {parts[2]}", exit_code=125)
    return point


def parse_mount(text: str) -> MountPoint:
    """``type=bind|volume|tmpfs,source=..,target=..``, in CSV. Raises Invalid, Unsupported."""
    import csv

    fields = next(csv.reader([text]), [])
    values: dict[str, str] = {}
    volume_labels: list[str] = []
    for field in fields:
        key, equals, value = field.partition("=")
        key = _MOUNT_KEYS.get(key.lower(), key.lower())
        if key not in _MOUNT_VALUES:
            raise Invalid(f"invalid argument \"{text}\" for \"--mount\" flag: unexpected key '{key}' in '{field}'")
        if not equals and key not in _MOUNT_SWITCHES:
            raise Invalid(
                f'invalid argument "{text}" for "--mount" flag: invalid field \'{field}\' must be a key=value pair'
            )
        if key == "volume-label":
            volume_labels.append(value)
        values[key] = value if equals else "true"
    kind = values.get("type", "volume")
    if kind not in ("bind", "volume", "tmpfs"):
        raise Unsupported(f"the mount type {kind!r} is not in this version", hint="There are bind, volume and tmpfs.")
    if not values.get("target"):
        raise Invalid(f'invalid argument "{text}" for "--mount" flag: target is required')
    source = values.get("source", "")
    if kind == "bind" and not source.startswith("/"):
        raise Invalid(
            'invalid mount config for type "bind": '
            + (
                f"invalid mount path: '{source}' mount path must be absolute"
                if source
                else "field Source must not be empty"
            ),
            exit_code=125,
        )
    if kind == "tmpfs" and source:
        raise Invalid('invalid mount config for type "tmpfs": field Source must not be specified', exit_code=125)
    for key in values:
        owner = key.partition("-")[0]
        if owner in ("bind", "volume", "tmpfs") and owner != kind:
            raise Invalid(f"cannot mix '{owner}-*' options with mount type '{kind}'")
    if values.get("volume-driver", "local") != "local":
        raise Unsupported(f"the volume driver {values['volume-driver']!r} is not in this version")
    from cais.container.options import parse_bytes

    propagation = values.get("bind-propagation", "")
    if propagation and propagation not in _PROPAGATIONS:
        raise Invalid(f"invalid propagation mode: {propagation}", exit_code=125)
    return MountPoint(
        kind,
        posixpath.normpath(source) if kind == "bind" else source,
        _target(values["target"], text),
        readonly=_truth(values.get("readonly", "false"), text),
        copy=kind == "volume" and not _truth(values.get("volume-nocopy", "false"), text),
        recursive=values.get("bind-recursive", "enabled") != "disabled"
        and not _truth(values.get("bind-nonrecursive", "false"), text),
        propagation=propagation,
        anonymous=kind == "volume" and not source,
        size_bytes=parse_bytes(values["tmpfs-size"], "mount") if "tmpfs-size" in values else 0,
        mode=values.get("tmpfs-mode", ""),
        labels=tuple(volume_labels),
    )


_MOUNT_KEYS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_MOUNT_SWITCHES = frozenset(("readonly", "volume-nocopy", "bind-nonrecursive"))
_MOUNT_VALUES = frozenset(
    ("type", "source", "target", "consistency", "bind-propagation", "bind-recursive", "volume-driver", "volume-label",
     "tmpfs-size", "tmpfs-mode", *_MOUNT_SWITCHES)
)  # fmt: skip


def parse_tmpfs(text: str) -> MountPoint:
    """``/path[:size=64m,mode=1777,ro,..]``. Raises Invalid."""
    target, _, options = text.partition(":")
    point = MountPoint("tmpfs", "", _target(target, text))
    flags: list[str] = []
    for option in options.split(",") if options else ():
        key, equals, value = option.partition("=")
        if key == "size" and equals:
            from cais.container.options import parse_bytes

            point = point._replace(size_bytes=parse_bytes(value, "tmpfs"))
        elif key == "mode" and equals:
            point = point._replace(mode=value)
        elif option in ("ro", "rw"):
            point = point._replace(readonly=option == "ro")
        elif option in _TMPFS_FLAGS or (equals and key in ("uid", "gid", "nr_inodes")):
            flags.append(option)
        else:
            raise Invalid(f'invalid tmpfs option ["{option}"]', exit_code=125)
    return point._replace(flags=tuple(flags))


_TMPFS_FLAGS = frozenset(("exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "sync", "dirsync"))


def _target(path: str, text: str) -> str:
    if not path.startswith("/"):
        raise Invalid(
            f"invalid volume specification: '{text}': invalid mount path: '{path}' mount path must be absolute",
            exit_code=125,
        )
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise Invalid(f"invalid volume specification: '{text}': destination can't be '/'", exit_code=125)
    return clean


def _truth(text: str, where: str) -> bool:
    if text.lower() in ("1", "t", "true"):
        return True
    if text.lower() in ("0", "f", "false"):
        return False
    raise Invalid(f'invalid argument "{where}" for "--mount" flag: invalid value for a switch: {text}')
