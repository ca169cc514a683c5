"""SELinux: files that containers may use have a type of their own, where the host has SELinux."""

from __future__ import annotations

import errno
import os

from cais.errors import from_os_error
from cais.host.beneath import Beneath

_ENFORCING = "/sys/fs/selinux/enforce"
_ATTRIBUTE = "security.selinux"
SHARED_LABEL = b"system_u:object_r:container_file_t:s0\0"
# What no container may take from its host by a mount, whoever asks for it.
_NEVER = frozenset(("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin",
                    "/sys", "/tmp", "/usr", "/var"))  # fmt: skip


def relabel(path: str, label: bytes = SHARED_LABEL, *, enforcing: str = _ENFORCING) -> bool:
    """Labels the file or tree ``path`` for containers; False where this host has no SELinux.

    Containers get no category of their own, so that ``Z`` is what ``z`` is. Raises Invalid for a directory of the
    system, Denied, Failed.
    """
    from cais.errors import Invalid

    if not os.path.exists(enforcing):
        return False
    if os.path.realpath(path) in _NEVER:
        raise Invalid(f"SELinux relabeling of {path} is not allowed", exit_code=125)
    try:
        _label(path, label)
        if os.path.isdir(path):
            with Beneath(path) as tree:
                pending = [b""]
                while pending:
                    directory = pending.pop()
                    for name in map(os.fsencode, os.listdir(tree.fd(directory))):
                        below = directory + b"/" + name if directory else name
                        _label(tree.path(directory, name), label)
                        if os.path.isdir(tree.path(directory, name)) and not os.path.islink(tree.path(directory, name)):
                            pending.append(below)
    except OSError as error:
        raise from_os_error(error, f"relabel {path}")
    return True


def _label(path: str | bytes, label: bytes) -> None:
    try:
        os.setxattr(path, _ATTRIBUTE, label, follow_symlinks=isinstance(path, str))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
