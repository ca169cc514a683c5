"""Devices of this host, as they are given to a container: nodes that the runtime makes, or binds of the host's own.

Nobody makes nodes in a user namespace: there the host's are bound, and their owner and mode decide who may use them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable

from cais.errors import NotFound
from cais.runtime import spec
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Directories of /dev that every container has of its own, and names that it is given anyhow.
_OWN_DIRECTORIES = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))
_OWN_NODES = frozenset(("console", "null", "zero", "full", "random", "urandom", "tty", "ptmx"))


class Node(NamedTuple):
    """``source`` is a device of this host, ``target`` its path inside."""

    source: str
    target: str
    kind: str
    major: int
    minor: int
    mode: int
    user_id: int
    group_id: int
    access: str


class Given(NamedTuple):
    """For ``spec.build``: its ``devices``, ``device_rules`` and ``mounts``."""

    devices: tuple[dict[str, Any], ...] = ()
    rules: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()


def find(source: str, target: str, access: str) -> list[Node]:
    """The device at ``source``, or those in that directory; links are followed. Raises NotFound with Docker's words."""
    path = os.path.realpath(source)
    try:
        node = _node(path, target, access)
        reason = "not a device node"
    except OSError as error:
        node, reason = None, (error.strerror or str(error)).lower()
    if node is not None:
        return [node]
    found = list(_below(path, target, access)) if os.path.isdir(path) else []
    if not found:
        raise NotFound(
            f'error gathering device information while adding custom device "{source}": {reason}', exit_code=125
        )
    return found


def every() -> list[Node]:
    """All devices below /dev that this process may open, but those that each container has of its own."""
    found: list[Node] = []
    for name in sorted(os.listdir("/dev")):
        path = "/dev/" + name
        if name in _OWN_DIRECTORIES or name in _OWN_NODES or os.path.islink(path):
            continue
        if os.path.isdir(path):
            found += _below(path, path, "rwm")
            continue
        node = _try(path, path, "rwm")
        if node is not None:
            found.append(node)
    return [node for node in found if os.access(node.source, os.R_OK) or os.access(node.source, os.W_OK)]


def give(nodes: Iterable[Node], *, user_namespace: bool) -> Given:
    """The last of those with one target holds."""
    by_target = {node.target: node for node in nodes}
    devices, rules, mounts = [], [], []
    for node in by_target.values():
        if user_namespace:
            mode = "rw" if "w" in node.access else "ro"
            mounts.append(spec.bind(node.source, node.target, ("bind", mode, "nosuid", "noexec")))
            rules.append(_rule(node))
        else:
            owner = {"fileMode": node.mode, "uid": node.user_id, "gid": node.group_id}
            devices.append(spec.device(node.target, node.kind, node.major, node.minor, node.access, **owner))
    return Given(tuple(devices), tuple(rules), tuple(mounts))


def _rule(node: Node) -> dict[str, Any]:
    return {"allow": True, "type": node.kind, "major": node.major, "minor": node.minor, "access": node.access}


def _below(directory: str, target: str, access: str) -> Iterable[Node]:
    for path, _, names in os.walk(directory):
        for name in sorted(names):
            source = os.path.join(path, name)
            node = _try(source, os.path.join(target, os.path.relpath(source, directory)), access)
            if node is not None:
                yield node


def _try(path: str, target: str, access: str) -> Node | None:
    try:
        return _node(path, target, access)
    except OSError:
        return None


def _node(path: str, target: str, access: str) -> Node | None:
    status = os.lstat(path)
    kind = "c" if stat.S_ISCHR(status.st_mode) else "b" if stat.S_ISBLK(status.st_mode) else ""
    if not kind:
        return None
    number = status.st_rdev
    mode = stat.S_IMODE(status.st_mode)
    return Node(path, target, kind, os.major(number), os.minor(number), mode, status.st_uid, status.st_gid, access)
