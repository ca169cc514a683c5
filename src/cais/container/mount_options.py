"""``-v``, ``--mount``, ``--tmpfs`` and ``--volumes-from`` as values. Pure; Docker's rules and words."""

from __future__ import annotations

import posixpath

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Wrong = Callable[[str], Invalid]

# Where a mount point comes from: a flag, the image's VOLUME, or another container.
VOLUME_FLAG, MOUNT_FLAG, TMPFS_FLAG, IMAGE, OTHER = "volume", "mount", "tmpfs", "image", "from"


class MountPoint(NamedTuple):
    """``kind``: ``bind``, ``volume``, ``tmpfs`` or ``image``. ``source``: a path of this host, a volume's name ("":
    anonymous) or an image's; ``subpath`` a path in a volume or image.

    ``make_source``: a missing directory of the host is made (``-v`` does, ``--mount`` does not). ``copy``: an empty
    volume is filled from the image. ``recursive``: what is mounted below the source comes along; read-only it is where
    the kernel can do that, or in any case (``nested`` "readonly"), or not (``nested`` "writable").

    ``size_bytes`` and ``mode`` (octal digits) are a tmpfs's, its other options are ``flags``. ``labels``, ``driver``
    and ``driver_options`` are a new volume's. ``given_mode`` is what stands behind the target of ``-v``. ``chain``
    names an image's layers, by the time the container is made.
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
    origin: str = MOUNT_FLAG
    given_mode: str = ""
    nested: str = ""
    subpath: str = ""
    driver: str = ""
    driver_options: tuple[str, ...] = ()
    consistency: str = ""
    chain: str = ""

    @property
    def relabel(self) -> str:
        """``z`` or ``Z`` where SELinux's label of the source is to be a container's, "" else."""
        return next((mode for mode in self.given_mode.split(",") if mode in ("z", "Z")), "")


_PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_CONSISTENCIES = frozenset(("consistent", "cached", "delegated"))


def parse_volume(text: str, directory: str = "") -> MountPoint:
    """``[source:]target[:options]``. ``directory`` is what a relative source starts from. Raises Invalid."""
    if not text:
        raise _invalid("invalid empty volume spec")
    parts = text.split(":")
    if not parts[0] or (len(parts) == 3 and not parts[1]):
        raise _invalid(f"invalid spec: {text}: empty section between colons")
    if len(parts) > 3 or not all(parts) or (len(parts) == 2 and _is_mode(parts[1])):
        raise _invalid(f"invalid volume specification: '{text}'")
    where = f"invalid volume specification: '{text}': "
    if len(parts) == 1:
        target = _target(parts[0], where)
        return MountPoint("volume", "", target, anonymous=True, origin=VOLUME_FLAG)
    source, given = parts[0], parts[2] if len(parts) == 3 else ""
    if source in (".", "..") or source.startswith(("./", "../")):
        source = posixpath.join(directory or "/", source)
    kind = "bind" if source.startswith("/") else "volume"
    modes = _modes(given)
    _check_fits(kind, modes, where)
    where += f'invalid mount config for type "{kind}": '
    point = MountPoint(kind, source, _target(parts[1], where), origin=VOLUME_FLAG, given_mode=given)
    if kind == "bind":
        point = point._replace(source=posixpath.normpath(source), make_source=True, copy=False)
    return point._replace(
        readonly=modes.get("access") == "ro",
        copy=point.copy and "copy" not in modes,
        propagation=modes.get("propagation", ""),
        consistency=modes.get("consistency", ""),
    )


def _modes(text: str) -> dict[str, str]:
    """The options of ``-v`` by what they are about; of each sort there is one. Raises Invalid."""
    found: dict[str, str] = {}
    for mode in text.split(",") if text else ():
        sort = (
            "access" if mode in ("ro", "rw")
            else "label" if mode in ("z", "Z")
            else "copy" if mode == "nocopy"
            else "propagation" if mode in _PROPAGATIONS
            else "consistency" if mode in _CONSISTENCIES
            else ""
        )  # fmt: skip
        if not sort or sort in found:
            raise _invalid(f"invalid mode: {text}")
        found[sort] = mode
    return found


def _is_mode(text: str) -> bool:
    try:
        return bool(_modes(text))
    except Invalid:
        return False


def _check_fits(kind: str, modes: Mapping[str, str], where: str) -> None:
    for sort, other, field in (("copy", "bind", "VolumeOptions"), ("propagation", "volume", "BindOptions")):
        if sort in modes and kind == other:
            raise _invalid(f'{where}invalid mount config for type "{kind}": field {field} must not be specified')


def parse_mount(text: str, directory: str = "") -> MountPoint:
    """``type=bind|volume|tmpfs|image,source=..,target=..``, in CSV. Raises Invalid."""
    import csv

    fields = next(csv.reader([text]), [])

    def wrong(why: str) -> Invalid:
        return _invalid(f'invalid argument "{text}" for "--mount" flag: {why}')

    if not fields:
        raise wrong("EOF")
    values: dict[str, str] = {}
    lists: dict[str, list[str]] = {"volume-label": [], "volume-opt": []}
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals and key not in _SWITCHES:
            raise wrong(f"invalid field '{field}' must be a key=value pair")
        name = _MOUNT_KEYS.get(key, key)
        if name not in _MOUNT_VALUES:
            raise wrong(f"unexpected key '{key}' in '{field}'")
        if name in lists:
            lists[name].append(value)
        if key in _SWITCHES:
            value = _switch(key, value if equals else "true", wrong)
        values[name] = value
    kind = values.get("type", "volume").lower()
    if not values.get("target"):
        raise wrong("target is required")
    for key in values:
        owner = key.partition("-")[0]
        if owner in ("bind", "volume", "tmpfs", "image") and owner != kind:
            raise wrong(f"cannot mix '{owner}-*' options with mount type '{kind}'")
    readonly = values.get("readonly") == "true"
    recursive = values.get("bind-recursive", "enabled")
    propagation = values.get("bind-propagation", "").lower()
    _check_recursive(recursive, readonly, propagation, wrong)
    source = values.get("source", "")
    if source.startswith("."):
        source = posixpath.normpath(posixpath.join(directory or "/", source))
    where = f'invalid mount config for type "{kind}": '
    _check_source(kind, source, values, where)
    if propagation and propagation not in _PROPAGATIONS:
        raise _invalid(f"{where}invalid propagation mode: {propagation}")
    return MountPoint(
        kind,
        posixpath.normpath(source) if kind == "bind" else source,
        _target(values["target"], where),
        readonly=readonly or kind == "image",
        copy=kind == "volume" and values.get("volume-nocopy") != "true",
        recursive=recursive != "disabled" and values.get("bind-nonrecursive") != "true",
        propagation=propagation,
        make_source=values.get("bind-create-src") == "true",
        anonymous=kind == "volume" and not source,
        size_bytes=_size(values["tmpfs-size"], wrong) if "tmpfs-size" in values else 0,
        mode=_octal(values["tmpfs-mode"], wrong) if "tmpfs-mode" in values else "",
        labels=tuple(lists["volume-label"]),
        nested=recursive if recursive in ("writable", "readonly") else "",
        subpath=values.get("volume-subpath") or values.get("image-subpath") or "",
        driver=values.get("volume-driver", ""),
        driver_options=tuple(lists["volume-opt"]),
        consistency=values.get("consistency", "").lower(),
    )


_MOUNT_KEYS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_SWITCHES = frozenset(("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"))
_MOUNT_VALUES = frozenset(
    ("type", "source", "target", "consistency", "bind-propagation", "bind-recursive", "volume-driver", "volume-label",
     "volume-opt", "volume-subpath", "image-subpath", "tmpfs-size", "tmpfs-mode", *(_SWITCHES - {"ro"}))
)  # fmt: skip


def _check_recursive(recursive: str, readonly: bool, propagation: str, wrong: Wrong) -> None:
    if recursive not in ("enabled", "disabled", "writable", "readonly"):
        choices = '(must be "enabled", "disabled", "writable", or "readonly")'
        raise wrong(f"invalid value for bind-recursive: {recursive} {choices}")
    option = f"option 'bind-recursive={recursive}' requires"
    if recursive in ("writable", "readonly") and not readonly:
        raise wrong(f"{option} 'readonly' to be specified in conjunction")
    if recursive == "readonly" and propagation != "rprivate":
        raise wrong(f"{option} 'bind-propagation=rprivate' to be specified in conjunction")


def _check_source(kind: str, source: str, values: Mapping[str, str], where: str) -> None:
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise _invalid(f"{where}mount type unknown")
    if kind in ("bind", "image") and not source:
        raise _invalid(f"{where}field Source must not be empty")
    if kind == "bind" and not source.startswith("/"):
        raise _invalid(f"{where}invalid mount path: '{source}' mount path must be absolute")
    if kind == "tmpfs" and source:
        raise _invalid(f"{where}field Source must not be specified")
    subpath = values.get("volume-subpath") or values.get("image-subpath") or ""
    if subpath.startswith("/") or posixpath.normpath(subpath).partition("/")[0] == "..":
        raise _invalid(f"{where}subpath must be a relative path within the {kind}")
    if kind == "volume" and subpath and not source:
        raise _invalid(f"{where}must not set Subpath when using anonymous volumes")


def parse_tmpfs(text: str) -> MountPoint:
    """``/path[:size=64m,mode=1777,ro,..]``; options are the kernel's. Raises Invalid."""
    target, _, options = text.partition(":")
    flags = tuple(options.split(",")) if options else ()
    for option in flags:
        key, equals, _ = option.partition("=")
        if option not in _TMPFS_FLAGS and not (equals and key in _TMPFS_VALUES):
            raise _invalid(f'invalid tmpfs option "{option}"')
    return MountPoint("tmpfs", "", _target(target, ""), readonly="ro" in flags, flags=flags, origin=TMPFS_FLAG)


_TMPFS_FLAGS = frozenset(
    ("ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime", "diratime", "nodiratime",
     "relatime", "norelatime", "strictatime", "nostrictatime", "sync", "async", "dirsync", "mand", "nomand", "private",
     "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable")
)  # fmt: skip
_TMPFS_VALUES = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"))


def parse_volumes_from(text: str) -> tuple[str, str]:
    """``CONTAINER[:mode]``: the container, and its mode. Raises Invalid."""
    container, _, mode = text.partition(":")
    if not container:
        raise _invalid("malformed volumes-from specification: '" + text + "'")
    modes = _modes(mode)
    if "copy" in modes:
        raise _invalid(f"invalid mode: {mode}")  # what is filled, and from what, is settled
    _check_fits("volume", modes, f"invalid volume specification: '{text}': ")
    return container, mode


def inherited(point: MountPoint, mode: str) -> MountPoint:
    """A mount point of another container, for one that has it by ``--volumes-from``. What is read-only stays so."""
    readonly = point.readonly or "ro" in mode.split(",")
    return point._replace(origin=OTHER, readonly=readonly, copy=False, anonymous=False, given_mode=mode)


def _target(path: str, where: str) -> str:
    if not path.startswith("/"):
        raise _invalid(f"{where}invalid mount path: '{path}' mount path must be absolute")
    clean = posixpath.normpath("/" + path.lstrip("/"))
    if clean == "/":
        raise _invalid(f"{where}invalid specification: destination can't be '/'")
    return clean


def _switch(key: str, text: str, wrong: Wrong) -> str:
    if text.lower() in ("1", "t", "true"):
        return "true"
    if text.lower() in ("0", "f", "false"):
        return "false"
    raise wrong(f"invalid value for {key}: {text}")


def _size(text: str, wrong: Wrong) -> int:
    from cais.container.options import parse_bytes

    try:
        return parse_bytes(text, "mount")
    except Invalid:
        raise wrong(f"invalid value for tmpfs-size: {text}")


def _octal(text: str, wrong: Wrong) -> str:
    if not text or not set(text) <= set("01234567"):
        raise wrong(f"invalid value for tmpfs-mode: {text}")
    return text


def _invalid(message: str) -> Invalid:
    return Invalid(message, exit_code=125)
