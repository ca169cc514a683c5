"""Mounts as values, made real: overlay by the new mount API (hundreds of layers), bind, tmpfs and the like.

Call it only in a private mount namespace (``host.namespaces.enter``).
"""

from __future__ import annotations

import errno
import os

from cais.errors import Invalid, Unsupported, from_os_error
from cais.host import syscalls
from cais.host.namespaces import in_user_namespace
from cais.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# What an option is for mount(2), and for the attributes of the new mount API.
_FLAGS = {
    "ro": syscalls.MS_RDONLY,
    "nosuid": syscalls.MS_NOSUID,
    "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC,
    "noatime": syscalls.MS_NOATIME,
    "nodiratime": syscalls.MS_NODIRATIME,
    "relatime": syscalls.MS_RELATIME,
}
_ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
    "noatime": syscalls.MOUNT_ATTR_NOATIME,
}
_NOT_OF_THE_FILE_SYSTEM = frozenset((*_FLAGS, "rw", "bind", "rbind", "suid", "dev", "exec", "atime"))
# mount(2) reads its options from one page.
_DATA_LIMIT_BYTES = 4096


def realise(mounts: Sequence[Mount], root: str) -> None:
    """Mounts each below ``root`` in order. Targets are resolved inside ``root``: no link leads out of it.

    Where one fails, those before it are unmounted again. Raises Unsupported, Denied, NotFound, Failed.
    """
    done: list[str] = []
    try:
        for mount in mounts:
            done.append(_realise_one(mount, root))  # noqa: PERF401 (what was done must be known when one fails)
    except BaseException:
        for target in reversed(done):
            unmount(target)
        raise


def unmount(path: str) -> None:
    """Detaches what is mounted at ``path``; nothing mounted there is no error."""
    try:
        syscalls.umount(path, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT):
            raise from_os_error(error, f"unmount {path}")


def mount_memory(path: str) -> None:
    """An empty directory in memory, mode 0700; it is never swapped out where the kernel can see to that.

    Raises OSError.
    """
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    try:
        syscalls.mount("tmpfs", path, "tmpfs", flags, "mode=0700,noswap")
    except OSError as error:
        # A kernel before 6.4, or a user namespace.
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        syscalls.mount("tmpfs", path, "tmpfs", flags, "mode=0700")


def _realise_one(mount: Mount, root: str) -> str:
    if mount.target in ("/", ""):
        target = root
    else:
        target = _inside(root, mount.target)
    try:
        if mount.kind == "overlay":
            mount_overlay(mount, target)
        elif mount.kind == "bind" or "bind" in mount.options or "rbind" in mount.options:
            mount_bind(mount.source, target, mount.options, recursive="bind" not in mount.options)
        else:
            data = ",".join(option for option in mount.options if option not in _NOT_OF_THE_FILE_SYSTEM)
            syscalls.mount(mount.source or mount.kind, target, mount.kind, _flags(mount.options), data)
    except OSError as error:
        raise from_os_error(error, f"mount {mount.kind} at {mount.target}")
    return target


def _inside(root: str, path: str) -> str:
    """The path that ``path`` is inside ``root``, links resolved inside it."""
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = syscalls.openat2(descriptor, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        raise from_os_error(error, f"find the mount point {path}")
    finally:
        os.close(descriptor)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def _flags(options: Sequence[str]) -> int:
    flags = 0
    for option in options:
        flags |= _FLAGS.get(option, 0)
    return flags


def mount_bind(source: str, target: str, options: Sequence[str] = (), *, recursive: bool = True) -> None:
    """A bind mount. ``ro``, ``nosuid``, ... hold for all mounts below ``source``, too; those that are set there stay.

    Raises OSError.
    """
    try:
        tree = _cloned(source, options, recursive)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        _mount_bind_classic(source, target, options, recursive)
        return
    try:
        syscalls.move_mount(tree, target)
    finally:
        os.close(tree)


def mount_bind_at(source: str, target: int, options: Sequence[str] = (), *, recursive: bool = True) -> None:
    """As ``mount_bind`` onto what the descriptor ``target`` (O_PATH) is: no name can be exchanged. Raises OSError."""
    try:
        tree = _cloned(source, options, recursive)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        _mount_bind_classic(source, f"/proc/self/fd/{target}", options, recursive)
        return
    try:
        syscalls.move_mount_to(tree, target)
    finally:
        os.close(tree)


def _cloned(source: str, options: Sequence[str], recursive: bool) -> int:
    """A detached mount of ``source``."""
    attributes = 0
    for option in options:
        attributes |= _ATTRIBUTES.get(option, 0)
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if recursive else 0)
    tree = syscalls.open_tree(source, flags)
    if attributes:
        try:
            syscalls.mount_setattr(tree, attributes, recursive)
        except BaseException:
            os.close(tree)
            raise
    return tree


def clone_elsewhere(process: str, path: str, *, recursive: bool = True) -> int:
    """A detached mount of ``path`` as a process has it in its mount namespace: where that is a shared one, this is its
    peer. The caller attaches and closes it. Raises OSError."""
    import threading

    found: list[int | OSError] = []
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if recursive else 0)

    def take() -> None:
        # A thread that enters that namespace and ends in it.
        try:
            namespace = os.open(f"/proc/{process}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.unshare(syscalls.CLONE_FS)  # else a thread may not change its mount namespace
                syscalls.setns(namespace, syscalls.CLONE_NEWNS)
            finally:
                os.close(namespace)
            found.append(syscalls.open_tree(path, flags))
        except OSError as error:
            found.append(error)

    syscalls.load()
    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]


def _mount_bind_classic(source: str, target: str, options: Sequence[str], recursive: bool) -> None:
    syscalls.mount(source, target, "", syscalls.MS_BIND | (syscalls.MS_REC if recursive else 0))
    flags = _flags(options)
    if flags:
        # In a user namespace the flags that the source had are locked: to leave one out is refused.
        flags |= os.statvfs(target).f_flag & (syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
        syscalls.mount("none", target, "", syscalls.MS_BIND | syscalls.MS_REMOUNT | flags)


def mount_overlay(mount: Mount, target: str) -> None:
    """An overlay of ``mount.lower`` (topmost first). Raises OSError, Invalid, Unsupported."""
    if not mount.lower:
        raise Invalid("an overlay needs a lower directory")
    lower = list(mount.lower)
    if not mount.upper and len(lower) == 1:
        # overlayfs wants two layers where nothing is written; one alone is itself.
        mount_bind(lower[0], target, ("ro", *(option for option in mount.options if option in _ATTRIBUTES)))
        return
    options = _overlay_options(mount)
    try:
        _mount_overlay(lower, mount, options, target)
    except OSError as error:
        # A kernel before 5.10 knows no "volatile": then it syncs.
        if error.errno != errno.EINVAL or "volatile" not in options:
            raise
        options.remove("volatile")
        _mount_overlay(lower, mount, options, target)


def _mount_overlay(lower: list[str], mount: Mount, options: list[str], target: str) -> None:
    try:
        _overlay_by_descriptors(lower, mount, options, target)
    except OSError as error:
        # EINVAL: a kernel before 6.5 knows no "lowerdir+".
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
            raise
        _overlay_by_mount(lower, mount, options, target)


def _overlay_options(mount: Mount) -> list[str]:
    options = [option for option in mount.options if option not in _NOT_OF_THE_FILE_SYSTEM]
    names = {option.partition("=")[0] for option in options}
    if in_user_namespace() and "userxattr" not in names:
        # userxattr excludes redirect_dir and metacopy, which a user namespace may not have anyway.
        return [*options, "userxattr"]
    # Layers must be plain trees: what these features write cannot be told apart from a user's changes, and index and
    # redirects make a layer depend on where it lies.
    for key, value in (("redirect_dir", "nofollow"), ("index", "off"), ("metacopy", "off")):
        if key not in names and os.path.exists(f"/sys/module/overlay/parameters/{key}"):
            options.append(f"{key}={value}")
    return options


def _overlay_by_descriptors(lower: list[str], mount: Mount, options: list[str], target: str) -> None:
    attributes = 0
    for option in mount.options:
        attributes |= _ATTRIBUTES.get(option, 0)
    context = syscalls.fsopen("overlay")
    try:
        syscalls.fsconfig_string(context, "source", "overlay")
        for directory in lower:
            syscalls.fsconfig_string(context, "lowerdir+", directory)
        if mount.upper:
            # The kernel takes backslashes for escapes in these two, and not in lowerdir+.
            syscalls.fsconfig_string(context, "upperdir", mount.upper.replace("\\", "\\\\"))
            syscalls.fsconfig_string(context, "workdir", mount.work.replace("\\", "\\\\"))
        for option in options:
            key, equals, value = option.partition("=")
            if equals:
                syscalls.fsconfig_string(context, key, value)
            else:
                syscalls.fsconfig_flag(context, key)
        syscalls.fsconfig_create(context)
        made = syscalls.fsmount(context, attributes)
    finally:
        os.close(context)
    try:
        syscalls.move_mount(made, target)
    finally:
        os.close(made)


def _overlay_by_mount(lower: list[str], mount: Mount, options: list[str], target: str) -> None:
    """mount(2), with all paths relative to their common directory, so that more of them fit in a page."""
    parts = [*lower] + ([mount.upper, mount.work] if mount.upper else [])
    common = os.path.commonpath([os.path.abspath(part) for part in parts])
    short = [_escaped(os.path.relpath(os.path.abspath(part), common)) for part in parts]
    data = "lowerdir=" + ":".join(short[: len(lower)])
    if mount.upper:
        data += f",upperdir={short[-2]},workdir={short[-1]}"
    if options:
        data += "," + ",".join(options)
    if len(os.fsencode(data)) >= _DATA_LIMIT_BYTES:
        raise Unsupported(
            f"this kernel cannot stack {len(lower)} layers in one overlay",
            hint="Linux 6.5 and later can. A build that joins layers (fewer instructions) can be run here, too.",
        )
    # Another process's working directory is no one else's: the directory is changed in a child.
    _in_directory(common, lambda: syscalls.mount("overlay", target, "overlay", _flags(mount.options), data))


def _in_directory(directory: str, action: object) -> None:
    assert callable(action)
    syscalls.load()
    child = os.fork()
    if child == 0:
        code = 255
        try:
            os.chdir(directory)
            action()
            code = 0
        except OSError as error:
            code = min(error.errno or 255, 255)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def _escaped(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")
