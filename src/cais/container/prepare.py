"""Before the runtime starts: the root file system mounted, volumes filled, mount points made, the spec built."""

from __future__ import annotations

import os

from cais.container import spec_oci
from cais.container.connecting import Connection, Connections
from cais.container.networking import HOST_GATEWAY
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.errors import CaisError, NotFound, Unavailable
from cais.host import mounts
from cais.runtime import limits, mount_points, network_files, spec, steps, users
from cais.runtime.find import find_program
from cais.runtime.runner import Bundle, Runtime
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.events.log import EventLog
    from cais.snapshot.store import SnapshotStore
    from cais.volume.store import VolumeStore

INIT_PROGRAMS = ("docker-init", "tini-static", "catatonit", "tini")
STUBS = "stubs"


class Rooms(NamedTuple):
    """The stores that a container stands on, and its own directory's parent."""

    snapshots: SnapshotStore
    volumes: VolumeStore
    runtime: Runtime
    directory: str
    events: EventLog
    connections: Connections


class Ready(NamedTuple):
    """What can be started. ``made`` are the mount points to be taken away; ``warnings`` are for the user.

    ``joins``: it has networks, which have to be left.
    """

    bundle: Bundle
    spec: dict[str, Any]
    made: tuple[mount_points.Made, ...]
    warnings: tuple[str, ...]
    connection: Connection = Connection()
    joins: bool = False


def container_directory(rooms: Rooms, id: str) -> str:
    return os.path.join(rooms.directory, id)


def prepare(
    rooms: Rooms,
    record: ContainerRecord,
    plan: Plan,
    *,
    console_size: tuple[int, int] | None = None,
    join: bool = True,
) -> Ready:
    """Mounts, and builds the spec. The caller starts ``Ready`` or gives it to ``undo``. Raises what is wrong.

    Without ``join`` its networks are still to be joined (``join``), before the program inside runs.
    """
    runtime = rooms.runtime
    host = runtime.host
    given = _limits(plan, host)
    ceilings, clamped = _ceilings(plan)
    init = _init_program() if plan.init else ""
    bundle = runtime.bundle(record.id, plan.runtime)
    made: tuple[mount_points.Made, ...] = ()
    joins = bool(plan.networking.networks)
    connecting = rooms.connections.begin(record, plan, join=join)
    try:
        # What goes with its container need not outlive a crash of the host.
        parent = Digest(record.chain) if record.chain else None
        prepared = rooms.snapshots.reopen(record.snapshot, parent, volatile=record.auto_remove)
        mounts.realise(prepared.mounts, bundle.rootfs)
        resolved = _resolved(rooms, plan, bundle)
        user = users.look_up(plan.user, bundle.rootfs, plan.group_add)
        if plan.cwd != "/" and not _below_a_mount(plan):
            mount_points.make_directory(bundle.rootfs, plan.cwd)
        connection = connecting.result()
        if connection.hostname:
            plan = plan._replace(hostname=connection.hostname)
        if connection.variables:
            plan = plan._replace(env=spec.merge_environment(connection.variables, plan.env))
        files = network_files_of(rooms, record.id, plan, connection)
        around = _surroundings(runtime, plan, bundle)
        filtered = _seccomp(runtime, plan)
        document = spec_oci.build_spec(
            plan,
            host,
            user,
            files,
            resolved,
            id=record.id,
            limits=given,
            seccomp=filtered,
            init=init,
            network=connection.kind,
            network_path=connection.path,
            hard_limits=ceilings,
            around=around,
            console_size=console_size,
        )
        if plan.mounts:
            _propagate(document, plan)
        directories = frozenset(point.target for point in plan.mounts if point.kind != "bind" and not point.subpath)
        made = mount_points.prepare(bundle.rootfs, steps.points(document, directories))
        note_stubs(container_directory(rooms, record.id), made)
    except BaseException:
        undo(rooms, Ready(bundle, {}, made, (), connecting.whatever(), joins))
        raise
    warnings = (*connection.warnings, *given.warnings, *around.warnings, *clamped, *_unfiltered(plan, filtered))
    if plan.cgroup_parent and not host.cgroups_writable:
        warnings = (*warnings, "WARNING: --cgroup-parent is not used: this user may not write control groups.")
    return Ready(bundle, document, made, warnings, connection, joins)


def join(rooms: Rooms, record: ContainerRecord, plan: Plan, ready: Ready) -> Ready:
    """``ready``, which was prepared without it, in its networks. Raises as these do."""
    connection = rooms.connections.join(record, plan, ready.connection)
    network_files_of(rooms, record.id, plan, connection)  # the same files: they may be mounted already
    return ready._replace(connection=connection, warnings=(*connection.warnings, *ready.warnings))


def network_files_of(rooms: Rooms, id: str, plan: Plan, connection: Connection) -> network_files.NetworkFiles:
    """Written for a container ``id``; those of the container whose network it uses."""
    if connection.files_of:
        return network_files.opened(container_directory(rooms, connection.files_of))
    wanted = plan.networking
    gateway = connection.gateway or network_files.LOCAL_GATEWAY
    extra = []
    if wanted.hosts:
        from cais.container.network_options import split_host

        extra = [split_host(text) for text in wanted.hosts]
    return network_files.write(
        container_directory(rooms, id),
        hostname=plan.hostname,
        network=connection.kind,
        domainname=wanted.domainname,
        extra_hosts=[(name, gateway if address == HOST_GATEWAY else address) for name, address in extra],
        addresses=connection.addresses,
        links=connection.links,
        resolver=network_files.Resolver(
            wanted.dns, connection.dns, wanted.dns_search, wanted.dns_options, connection.asks_host
        ),
    )


def _resolved(rooms: Rooms, plan: Plan, bundle: Bundle) -> list[Mapping[str, Any]]:
    if not plan.mounts:
        return []
    from cais.container.mounting import Mounting

    return Mounting(rooms.snapshots, rooms.volumes, bundle.directory).prepare(plan.mounts, bundle.rootfs)


def _propagate(document: dict[str, Any], plan: Plan) -> None:
    from cais.container.mounting import root_propagation

    wanted = root_propagation(plan.mounts)
    if wanted:
        document["linux"]["rootfsPropagation"] = wanted


def _ceilings(plan: Plan) -> tuple[dict[str, int], list[str]]:
    """This process's hard limits that concern the plan, and a line for each that is smaller than what is asked for."""
    if not plan.rlimits:
        return {}, []
    from cais.runtime import ulimits

    ceilings = ulimits.hard_limits(plan.rlimits)
    return ceilings, ulimits.clamp_warnings(plan.rlimits, ceilings)


def _surroundings(runtime: Runtime, plan: Plan, bundle: Bundle) -> spec_oci.Surroundings:
    if plan.is_plain:
        return spec_oci.Surroundings()
    from cais.container import surroundings

    return surroundings.look(runtime, plan, bundle)


def _limits(plan: Plan, host: spec.Host) -> limits.Limits:
    if plan.resources == limits.Resources():
        return limits.Limits({})
    return limits.limits(plan.resources, host, lacking=limits.lacking(host.cgroup_mode))


def undo(rooms: Rooms, ready: Ready, *, wait: bool = True) -> None:
    """After the end, or instead of a start: mount points, mounts, networks and bundle are gone.

    Without ``wait`` the bridge that nobody needs any more goes a moment later.
    """
    rooms.volumes.let_go()
    if ready.made:
        try:
            mount_points.remove(ready.bundle.rootfs, ready.made)
        except (OSError, CaisError):
            pass  # removed by another command at the same time, with the container
    ready.connection.close()
    if ready.joins:
        rooms.connections.leave(ready.bundle.id, wait=wait)
    rooms.runtime.remove(ready.bundle)


def _below_a_mount(plan: Plan) -> bool:
    """Whether the working directory lies in something that is mounted: then it is not the image's to make."""
    return any(plan.cwd == point.target or plan.cwd.startswith(point.target + "/") for point in plan.mounts)


def _seccomp(runtime: Runtime, plan: Plan) -> dict[str, Any] | None:
    if plan.seccomp == "unconfined":
        return None
    if plan.seccomp == "default":
        return runtime.seccomp(plan.capabilities)
    from cais.runtime import seccomp

    if plan.security.seccomp_profile:
        return seccomp.read(plan.security.seccomp_profile.encode(), plan.capabilities)
    if not os.path.isfile(plan.seccomp):
        raise NotFound(f"opening seccomp profile ({plan.seccomp}) failed: no such file", exit_code=125)
    return seccomp.load(plan.seccomp, plan.capabilities)


def _unfiltered(plan: Plan, profile: dict[str, Any] | None) -> tuple[str, ...]:
    """What the user has to know where nobody asked for it."""
    if plan.seccomp != "default" or profile is not None:
        return ()
    from cais.runtime.seccomp import PATHS

    return (
        f"WARNING: the container's system calls are not filtered: this host has no seccomp profile ({PATHS[-1]}; "
        "Debian: golang-github-containers-common).",
    )


def _init_program() -> str:
    for name in INIT_PROGRAMS:
        path = find_program(name)
        if path:
            return path
    raise Unavailable(
        "--init needs a small init program, and none is installed",
        hint="Install one (Debian: apt-get install tini).",
        exit_code=125,
    )


def note_stubs(directory: str, made: tuple[mount_points.Made, ...]) -> None:
    """Keeps which mount points were made: a commit leaves them out."""
    path = os.path.join(directory, STUBS)
    known = read_stubs(directory)
    new = [item.path for item in made if item.path not in known]
    if new:
        with open(path, "ab") as file:
            file.write(b"".join(os.fsencode(item) + b"\0" for item in new))


def read_stubs(directory: str) -> frozenset[str]:
    """The paths, inside the container, of the mount points that were ever made for it."""
    try:
        with open(os.path.join(directory, STUBS), "rb") as file:
            return frozenset(os.fsdecode(item) for item in file.read().split(b"\0") if item)
    except FileNotFoundError:
        return frozenset()
