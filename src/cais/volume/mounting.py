"""Volumes that are a file system from elsewhere: nfs, tmpfs, a directory or a device of this host.

Each container mounts it in the private mount namespace of its command, over the volume's directory; with the last
process of that namespace it is unmounted, however that ended. The kernel shares one nfs or disk between several mounts;
a tmpfs is made by the first container, and taken by the others out of the namespace of one that has it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from cais.errors import Denied, Unavailable, from_os_error
from cais.host import mounts, syscalls
from cais.host.locks import FileLock
from cais.volume.options import is_mount
from cais.volume.records import Volume

_FLAGS = {
    "ro": syscalls.MS_RDONLY, "nosuid": syscalls.MS_NOSUID, "nodev": syscalls.MS_NODEV, "noexec": syscalls.MS_NOEXEC,
    "sync": 16, "mand": 64, "dirsync": 128, "noatime": syscalls.MS_NOATIME, "nodiratime": syscalls.MS_NODIRATIME,
    "bind": syscalls.MS_BIND, "rbind": syscalls.MS_BIND | syscalls.MS_REC, "relatime": syscalls.MS_RELATIME,
    "strictatime": 1 << 24, "rw": 0, "suid": 0, "dev": 0, "exec": 0, "async": 0, "atime": 0, "defaults": 0,
}  # fmt: skip


def mount(volume: Volume) -> None:
    """In this process's private mount namespace (``host.namespaces.enter``), at ``volume.path``; once is enough.

    A plain volume needs nothing. Raises Unavailable with Docker's words, Denied.
    """
    if not is_mount(volume.options):
        return
    with FileLock(os.path.join(os.path.dirname(volume.path), "mount.lock")):
        if _is_mounted(volume.path, "self"):
            return
        if volume.options["type"] == "tmpfs":
            tree = _borrowed(volume.path)
            if tree >= 0:
                try:
                    syscalls.move_mount(tree, volume.path)
                finally:
                    os.close(tree)
                return
        _mount(volume.path, volume.options)


def _mount(path: str, options: Mapping[str, str]) -> None:
    kind, device = options["type"], options["device"]
    flags, data = 0, []
    for option in options.get("o", "").split(","):
        if option in _FLAGS:
            flags |= _FLAGS[option]
        elif option:
            data.append(option)
    text = ",".join(_with_address(option) if kind in ("cifs", "nfs", "nfs4") else option for option in data)
    try:
        if flags & syscalls.MS_BIND:
            names = [name for name in ("ro", "nosuid", "nodev", "noexec", "noatime") if flags & _FLAGS[name]]
            mounts.mount_bind(device, path, names, recursive=bool(flags & syscalls.MS_REC))
        else:
            syscalls.mount(device, path, kind, flags, text)
    except OSError as error:
        raise _explained(error, path, kind, device, flags, text)


def _explained(error: OSError, path: str, kind: str, device: str, flags: int, data: str) -> Exception:
    shown = f"mount {device}:{path}" + (f", flags: {flags:#x}" if flags else "") + (f", data: {data}" if data else "")
    why = (error.strerror or "").lower()
    message = f"error while mounting volume '{path}': failed to mount local volume: {shown}: {why}"
    if error.errno == errno.ENODEV:
        return Unavailable(message, hint=f"The kernel of this host has no file system {kind!r}.", exit_code=125)
    if error.errno in (errno.EPERM, errno.EACCES):
        return Denied(message, hint=f"Only root may mount {kind} on this host.", exit_code=125)
    if error.errno == errno.ENOENT:
        return Unavailable(message, hint="The device of the volume is not there.", exit_code=125)
    return Unavailable(message, exit_code=125)


def _with_address(option: str) -> str:
    """``addr=NAME`` with the address of the name: the kernel takes nothing else."""
    key, _, host = option.partition("=")
    if key != "addr" or not host or host.replace(".", "").isdigit() or ":" in host:
        return option
    import socket

    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Unavailable(f"error resolving passed in network volume address: {host}: {error.strerror}", exit_code=125)
    return f"addr={found[0][4][0]}"


def _borrowed(path: str) -> int:
    """The mount at ``path`` of another process's mount namespace, detached, or -1 where nobody has it mounted."""
    own = os.readlink("/proc/self/ns/mnt")
    seen = {own}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            namespace = os.readlink(f"/proc/{name}/ns/mnt")
        except OSError:
            continue  # ended, or another user's
        if namespace in seen:
            continue
        seen.add(namespace)
        if _is_mounted(path, name):
            tree = _taken_from(name, path)
            if tree >= 0:
                return tree
    return -1


def _is_mounted(path: str, process: str) -> bool:
    wanted = path.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011").replace("\n", "\\012")
    try:
        with open(f"/proc/{process}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            return any(line.split(" ", 5)[4] == wanted for line in lines)
    except OSError:
        return False


def _taken_from(process: str, path: str) -> int:
    """-1 where the process ended meanwhile, or is in a user namespace of its own."""
    try:
        return mounts.clone_elsewhere(process, path, recursive=False)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH, errno.EINVAL, errno.EPERM):
            return -1
        raise from_os_error(error, f"take the mount at {path} from process {process}")
