"""Mounts of another process's mount namespace, brought into this one: a plain bind mount does not reach that far."""

from __future__ import annotations

import os

from cais.errors import CaisError, from_os_error
from cais.host import syscalls


def bind_from(pid: int, path: str, target: str, *, recursive: bool = False) -> None:
    """Mounts at ``target`` what the process ``pid`` sees at ``path``. A link there leads to what it sees, not out.

    ``recursive``: with what is mounted below. Raises Denied, NotFound, Failed.
    """
    flags = syscalls.OPEN_TREE_CLONE | syscalls.OPEN_TREE_CLOEXEC | (syscalls.AT_RECURSIVE if recursive else 0)
    syscalls.load()
    read, write = os.pipe2(os.O_CLOEXEC)
    hold_read, hold = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(hold)
            namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(namespace, syscalls.CLONE_NEWNS)
            tree = syscalls.open_tree(path, flags)
            os.write(write, f"{tree}".encode())
            os.read(hold_read, 1)  # until the parent has it
        except OSError as error:
            os.write(write, f"-{error.errno}".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.close(hold_read)
    tree = -1
    try:
        said = int(os.read(read, 32) or b"-1")
        if said < 0:
            raise OSError(-said, os.strerror(-said))
        process = os.pidfd_open(child)
        try:
            tree = syscalls.pidfd_getfd(process, said)
        finally:
            os.close(process)
        syscalls.move_mount(tree, target)
    except OSError as error:
        raise _refused(error, pid, path)
    finally:
        os.close(read)
        os.close(hold)
        os.waitpid(child, 0)
        if tree >= 0:
            os.close(tree)


def _refused(error: OSError, pid: int, path: str) -> CaisError:
    return from_os_error(error, f"reach {path} of the process {pid}")
