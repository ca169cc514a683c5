"""Other programs: run with a text as their input, to their end (nft, iptables); or left to outlive this command."""

from __future__ import annotations

import os

from cais.host.files import write_all
from cais.host.processes import find_program, wait
from cais.spec.named import NamedTuple

_SIGPIPE = 13  # the module signal costs a short command more than its own work
_LIMIT_BYTES = 1 << 20


class Ended(NamedTuple):
    code: int
    output: str
    errors: str


def run(program: str, *arguments: str, given: str = "") -> Ended | None:
    """None where the program is not installed."""
    path = find_program(program)
    if not path:
        return None
    # Files in memory, not pipes: whatever is written, nobody waits for anybody.
    files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("input", "output", "errors")]
    try:
        write_all(files[0], given.encode())
        os.lseek(files[0], 0, os.SEEK_SET)
        child = os.posix_spawn(
            path,
            [path, *arguments],
            {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            file_actions=[(os.POSIX_SPAWN_DUP2, file, place) for place, file in enumerate(files)],
            setsigdef=(_SIGPIPE,),
        )
        code = wait(child)
        return Ended(code, *(_text(file) for file in files[1:]))
    finally:
        for file in files:
            os.close(file)


def _text(file: int) -> str:
    return os.pread(file, _LIMIT_BYTES, 0).decode("utf-8", "replace")


def outlive(root: str) -> None:
    """In a child that is about to become a program which outlives this command, and containers: it keeps no terminal,
    and none of the mounts below ``root``."""
    from cais.host import syscalls

    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    with open("/proc/self/mountinfo", "rb") as lines:
        below = [line.split()[4] for line in lines if line.split()[4].startswith(os.fsencode(root) + b"/")]
    for path in reversed(below):
        try:
            syscalls.umount(os.fsdecode(path), syscalls.MNT_DETACH)
        except OSError:
            continue  # it went with the one that it was on
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    for place in (0, 1, 2):
        os.dup2(null, place)
    os.chdir("/")


def is_here(pid: int) -> bool:
    """Whether a process is in this thread's network namespace."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/thread-self/ns/net")
    except OSError:
        return False
