"""The options of the driver local (``volume create -o``): what they may be, and the directory that they ask for.

Docker's are ``type``, ``device`` and ``o`` (a file system that is mounted while a container uses the volume) and
``size`` (a quota). ``uid``, ``gid`` and ``mode`` are our own: of the directory of a new volume.
"""

from __future__ import annotations

import errno
import os

from cais.errors import Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MOUNT_KEYS = ("type", "device", "o")
_OWN = ("uid", "gid", "mode")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_ID_LIMIT = (1 << 32) - 2


def is_mount(options: Mapping[str, str]) -> bool:
    """Whether a file system is to be mounted for the volume."""
    return any(options.get(key) for key in MOUNT_KEYS)


def is_readonly(options: Mapping[str, str]) -> bool:
    """Whether what is mounted for the volume is mounted read-only."""
    return "ro" in options.get("o", "").split(",")


def has_dress(options: Mapping[str, str]) -> bool:
    """Whether owner or mode of the directory were asked for: then the first use leaves them alone."""
    return any(key in options for key in _OWN)


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raises Invalid, in Docker's words."""
    for key in options:
        if key not in (*MOUNT_KEYS, *_OWN, "size"):
            raise Invalid(f'create {name}: invalid option: "{key}"')
    if is_mount(options):
        for key in ("device", "type"):
            if not options.get(key):
                raise Invalid(f'create {name}: missing required option: "{key}"')
        for key in (*_OWN, "size"):
            if key in options:
                raise Invalid(
                    f'create {name}: the option "{key}" is not for a volume that is mounted from elsewhere',
                    hint="Give it to the file system: -o o=uid=1000,size=10m",
                )
    if "size" in options:
        size_bytes(name, options["size"])
    for key in ("uid", "gid"):
        text = options.get(key, "0")
        if not (text.isascii() and text.isdigit() and int(text) <= _ID_LIMIT):
            raise Invalid(f"create {name}: invalid {key}: '{text}'", hint="Give a number.")
    mode = options.get("mode", "755")
    if not (mode and len(mode) <= 5 and set(mode) <= set("01234567") and int(mode, 8) <= 0o7777):
        raise Invalid(f"create {name}: invalid mode: '{mode}'", hint="Give octal digits, as in 1777.")


def size_bytes(name: str, text: str) -> int:
    """``10m``, ``1.5GB``: powers of 1024. Raises Invalid."""
    lowered = text.strip().lower()
    digits = len(lowered) - len(lowered.lstrip("0123456789."))
    unit = lowered[digits:].strip()
    base = unit[:1] if unit[1:] in ("", "b", "ib") else unit
    try:
        return int(float(lowered[:digits]) * _UNITS[base])
    except (KeyError, ValueError, OverflowError):
        raise Invalid(f"create {name}: invalid size: '{text}'")


def dress(path: str, options: Mapping[str, str]) -> None:
    """Gives the new directory ``path`` its owner, mode and bound. Raises Denied, Unavailable, Unsupported."""
    if "uid" in options or "gid" in options:
        owner = [int(options.get(name, -1)) for name in ("uid", "gid")]
        try:
            os.chown(path, *owner)
        except OSError as error:
            if error.errno == errno.EINVAL:
                from cais.host.owners import no_such_ids

                raise no_such_ids("the volume", *(max(0, id) for id in owner))
            raise from_os_error(error, "give the volume to its owner")
    if "mode" in options:
        os.chmod(path, int(options["mode"], 8))
    if "size" in options:
        bound(path, size_bytes("", options["size"]))


def bound(path: str, limit_bytes: int) -> None:
    """Bounds what may lie below the empty directory ``path``. Raises Unsupported with Docker's words, Denied."""
    import errno

    from cais.errors import Denied, Unsupported, from_os_error
    from cais.host import quota

    try:
        quota.set_limit((path,), limit_bytes)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise Denied("only root may bound the size of a volume")
        if quota.is_missing(error):
            raise Unsupported(
                "quota size requested but no quota support",
                hint="Mount the file system of the root directory with project quotas (XFS: prjquota; ext4: tune2fs -O "
                "project,quota and prjquota), or use -o type=tmpfs -o device=tmpfs -o o=size=..",
            )
        raise from_os_error(error, "bound the size of a volume")
