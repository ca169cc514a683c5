"""Debugging a container: a process with tools of its own beside those of the container, in their namespaces.

Its root is the file system of another image, and the container's is at ``/target``, with all that is mounted there; so
it needs nothing of the container, and leaves nothing in it. In a container that does not run there are no other
processes, and the file system alone is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.runtime import spec
from cais.runtime.spec import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TARGET = "/target"
_JOINED = ("pid", "ipc", "uts")
_NETWORK_FILES = frozenset(("/etc/resolv.conf", "/etc/hosts", "/etc/hostname"))


def build_spec(
    host: Host, args: Sequence[str], given: Mapping[str, Any] | None, pid: int, *, id: str, terminal: bool
) -> dict[str, Any]:
    """Of a process that runs ``args`` as root, with no more rights than the container has.

    ``given`` is the container's own spec, and ``pid`` its first process; None and 0 where it does not run.
    """
    environment = [f"PATH={spec.DEFAULT_PATH}", "HOME=/root", *(("TERM=xterm",) if terminal else ())]
    process = spec.Process(tuple(args), tuple(environment), TARGET, terminal=terminal)
    if given is None:
        return spec.build(process, host, cgroups_path=f"/cais/{id}")
    own = given["process"]
    process = process._replace(
        capabilities=tuple(own.get("capabilities", {}).get("bounding", ())),
        no_new_privileges=bool(own.get("noNewPrivileges")),
        apparmor=own.get("apparmorProfile", ""),
        selinux=own.get("selinuxLabel", ""),
    )
    return spec.build(
        process,
        host._replace(seccomp=given["linux"].get("seccomp")),
        # Joined by its path, also where it is the host's: nothing is set in a network that is another's.
        network="host",
        network_path=f"/proc/{pid}/ns/net",
        shared={kind: f"/proc/{pid}/ns/{kind}" for kind in _JOINED},
        mounts=[mount for mount in given["mounts"] if mount["destination"] in _NETWORK_FILES],
        cgroups_path=f"/cais/{id}",
    )
