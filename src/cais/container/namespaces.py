"""Namespaces of a container but for its network's: its own, the host's, or those of another container. Pure."""

from __future__ import annotations

from collections.abc import Callable

from cais.container.isolation import CONTAINER, Namespaces, joined
from cais.container.options import RunOptions
from cais.errors import Conflict, Invalid

_IPC_MODES = frozenset(("", "none", "private", "shareable", "host"))


def namespaces(wanted: RunOptions, find: Callable[[str, str], str]) -> Namespaces:
    """``find(name, kind)`` gives the id of a container whose namespace of a kind may be joined.

    Raises Invalid, Conflict with Docker's words, and NotFound.
    """
    if not (wanted.pid in ("", "host") or joined(wanted.pid)):
        raise Invalid("--pid: invalid PID mode", exit_code=125)
    if not (wanted.ipc in _IPC_MODES or joined(wanted.ipc)):
        raise Invalid(f"invalid IPC mode: {wanted.ipc}", exit_code=125)
    for value, text in ((wanted.uts, "--uts: invalid UTS mode"), (wanted.userns, "--userns: invalid USER mode")):
        if value not in ("", "host"):
            raise Invalid(text, exit_code=125)
    if wanted.cgroupns not in ("", "host", "private"):
        raise Invalid("--cgroupns: invalid CGROUP mode", exit_code=125)
    if wanted.uts == "host" and (wanted.hostname or wanted.domainname):
        what = "hostname" if wanted.hostname else "domainname"
        raise Conflict(f"conflicting options: {what} and the UTS mode", exit_code=125)
    pid, ipc = (
        CONTAINER + find(joined(mode), kind) if joined(mode) else mode
        for kind, mode in (("pid", wanted.pid), ("ipc", wanted.ipc))
    )
    return Namespaces(pid, ipc, wanted.uts, wanted.userns, wanted.cgroupns)


def check_joinable(kind: str, of: Namespaces, id: str) -> None:
    """Whether the namespace ``of`` the container ``id`` may be joined. Raises Conflict with Docker's words."""
    if kind == "ipc" and of.ipc in ("", "private", "none"):
        raise Conflict(
            f"failed to join IPC namespace: container {id}: non-shareable IPC (hint: use IpcMode:shareable for the "
            "donor container)",
            exit_code=125,
        )
