"""Build steps: the spec of a RUN instruction, and the run of it without a trace in its layer."""

from __future__ import annotations

from cais.errors import Unsupported
from cais.runtime import mount_points, network_files, spec, users
from cais.runtime.runner import Bundle, Runtime
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from typing import Any

# A step's whole root is mounted: these are where the runtime mounts on its own.
_OWN_POINTS = ("/proc", "/dev", "/sys")


class StepNetwork(NamedTuple):
    """Where a step with the network ``default`` is: ``path`` names the namespace, ``gateway`` is the host seen from
    there. Without a path it is the host's own."""

    path: str = ""
    gateway: str = ""


HOST_NETWORK = StepNetwork()


def step_spec(
    runtime: Runtime,
    args: Sequence[str],
    env: Sequence[str],
    *,
    cwd: str = "/",
    user: str = "",
    network: str = "default",
    own_network: StepNetwork = HOST_NETWORK,
    rootfs: str,
    directory: str,
    mounts: Sequence[Mapping[str, Any]] = (),
    hosts: Sequence[tuple[str, str]] = (),
    hostname: str = "",
    shm_bytes: int = spec.SHM_BYTES,
    rlimits: Sequence[tuple[str, int, int]] = (),
    resources: Mapping[str, Any] | None = None,
    cgroup_parent: str = "",
    insecure: bool = False,
    devices: Sequence[Mapping[str, Any]] = (),
    terminal: bool = False,
    id: str = "",
) -> dict[str, Any]:
    """The OCI spec of one RUN step; ``rootfs`` is mounted already, ``directory`` takes the files of /etc.

    ``network``: ``default`` is ``own_network``, ``host`` the host's, ``none`` has ``lo`` alone. ``mounts`` are the
    step's own (``spec.bind`` makes one). ``insecure``: with all that this process may hand on. Raises NotFound (the
    user), Unsupported.
    """
    if network not in ("default", "host", "none"):
        raise Unsupported(f"the network {network!r} of RUN is not in this version", hint="Use default, host or none.")
    own = own_network if network == "default" else HOST_NETWORK
    host = runtime.host
    person = users.look_up(user, rootfs)
    capabilities = spec.ALL_CAPABILITIES if insecure else spec.DEFAULT_CAPABILITIES
    files = network_files.write_for_step(
        directory, hostname=hostname or spec.BUILD_HOSTNAME, hosts=hosts, gateway=own.gateway
    )
    defaults = [f"PATH={spec.DEFAULT_PATH}", "TERM=xterm"] if terminal else [f"PATH={spec.DEFAULT_PATH}"]
    environment = spec.merge_environment(defaults, env)
    if not any(item.startswith("HOME=") for item in environment):
        environment = (*environment, f"HOME={person.home}")
    process = spec.Process(
        tuple(args),
        environment,
        cwd or "/",
        person.user_id,
        person.group_id,
        person.groups,
        terminal,
        capabilities=capabilities,
        rlimits=tuple(rlimits),
    )
    # As with BuildKit, a step knows its host's name, and has neither HOSTNAME nor another /etc/hostname; the others
    # cannot be written, as nothing of it would be kept.
    binds = [spec.bind(source, target, ("ro",)) for source, target in files.binds() if source != files.hostname]
    built = spec.build(
        process,
        host._replace(seccomp=None if insecure else runtime.seccomp(capabilities)),
        rootfs=rootfs,
        network="none" if network == "none" or own.path else "host",
        network_path=own.path,
        hostname=hostname or spec.BUILD_HOSTNAME,
        mounts=binds,
        resources=resources,
        cgroups_path=f"{cgroup_parent or '/cais'}/{id}" if id else "",
        shm_bytes=shm_bytes,
        privileged=insecure,
        devices=[*_insecure_devices(host.user_namespace), *devices] if insecure else devices,
    )
    built["mounts"] = _replaced(built["mounts"], mounts)
    return built


def _replaced(given: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """``given`` and what the step asks for; what it mounts where something is given stands in that one's place."""
    by_target = {mount["destination"]: mount for mount in own}
    replaced = {mount["destination"] for mount in given}
    return [
        *(by_target.get(mount["destination"], mount) for mount in given),
        *(mount for mount in own if mount["destination"] not in replaced),
    ]


# As BuildKit has them in an insecure step: (path, kind, major, minor), by the kernel's list of devices.
_INSECURE_DEVICES = (
    ("/dev/kmsg", "c", 1, 11), ("/dev/cuse", "c", 10, 203), ("/dev/fuse", "c", 10, 229), ("/dev/kvm", "c", 10, 232),
    ("/dev/net/tun", "c", 10, 200), ("/dev/loop-control", "c", 10, 237),
)  # fmt: skip
_LOOP_DEVICES = 8


def _insecure_devices(user_namespace: bool) -> list[dict[str, Any]]:
    """An ordinary user cannot make nodes, and gets none."""
    if user_namespace:
        return []
    loops = ((f"/dev/loop{number}", "b", 7, number) for number in range(_LOOP_DEVICES))
    return [spec.device(*item) for item in (*_INSECURE_DEVICES, *loops)]


def run_step(
    runtime: Runtime,
    step: dict[str, Any],
    bundle: Bundle,
    *,
    stdio: tuple[int, int, int],
    cancelled: threading.Event | None = None,
    directories: frozenset[str] = frozenset(),
) -> int:
    """Runs a step in ``bundle`` and takes the mount points away that the image did not have.

    ``directories``: targets of the step's own mounts that are no files; a bind mount's source tells by itself.
    """
    made = mount_points.prepare(bundle.rootfs, points(step, directories))
    try:
        return runtime.run(step, bundle, stdio=stdio, cancelled=cancelled)
    finally:
        mount_points.remove(bundle.rootfs, made)


def points(step: Mapping[str, Any], directories: frozenset[str] = frozenset()) -> list[tuple[str, bool]]:
    """Where a spec mounts in the root file system itself: ``(path, is a directory)``."""
    import os

    found = [(path, True) for path in _OWN_POINTS]
    targets = {mount["destination"] for mount in step["mounts"]}
    for mount in step["mounts"]:
        target = mount["destination"]
        # What stands in another mount is made in that, by the runtime.
        if target in _OWN_POINTS or any(above in targets or above in _OWN_POINTS for above in _above(target)):
            continue
        is_file = (
            mount["type"] == "bind"
            and target not in directories
            and os.path.lexists(mount["source"])
            and not os.path.isdir(mount["source"])
        )
        found.append((target, not is_file))
    return found


def _above(path: str) -> list[str]:
    """The directories above ``path`` but for the root."""
    parts = path.strip("/").split("/")
    return ["/" + "/".join(parts[:number]) for number in range(1, len(parts))]
