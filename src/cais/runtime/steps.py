"""Build steps: the spec of a RUN instruction, and the run of it without a trace in its layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.errors import Unsupported
from cais.runtime import mount_points, network_files, spec, users
from cais.runtime.runner import Bundle, Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from typing import Any

# A step's whole root is mounted: these are where the runtime mounts on its own.
_OWN_POINTS = ("/proc", "/dev", "/sys")


def step_spec(
    runtime: Runtime,
    args: Sequence[str],
    env: Sequence[str],
    *,
    cwd: str = "/",
    user: str = "",
    network: str = "default",
    rootfs: str,
    directory: str,
    mounts: Sequence[Mapping[str, Any]] = (),
    extra_hosts: Sequence[str] = (),
    shm_bytes: int = spec.SHM_BYTES,
    rlimits: Sequence[tuple[str, int, int]] = (),
    id: str = "",
) -> dict[str, Any]:
    """The OCI spec of one RUN step; ``rootfs`` is mounted already, ``directory`` takes the files of /etc.

    ``network``: ``default`` and ``host`` are the host's, ``none`` has ``lo`` alone. ``mounts`` are the step's own
    (``spec.bind`` makes one). Raises NotFound (the user), Unsupported.
    """
    if network not in ("default", "host", "none"):
        raise Unsupported(f"the network {network!r} of RUN is not in this version", hint="Use default, host or none.")
    kind = "none" if network == "none" else "host"
    host = runtime.host
    person = users.look_up(user, rootfs)
    capabilities = spec.DEFAULT_CAPABILITIES
    files = network_files.write(directory, hostname=spec.BUILD_HOSTNAME, network=kind, extra_hosts=extra_hosts)
    environment = spec.merge_environment((f"PATH={spec.DEFAULT_PATH}",), env)
    if not any(item.startswith("HOME=") for item in environment):
        environment = (*environment, f"HOME={person.home}")
    process = spec.Process(
        tuple(args),
        environment,
        cwd or "/",
        person.user_id,
        person.group_id,
        person.groups,
        capabilities=capabilities,
        rlimits=tuple(rlimits),
    )
    # As with BuildKit, a step knows its host's name, and has neither HOSTNAME nor another /etc/hostname.
    own = [spec.bind(source, target, ("rw",)) for source, target in files.binds() if source != files.hostname]
    return spec.build(
        process,
        host._replace(seccomp=runtime.seccomp(capabilities)),
        rootfs=rootfs,
        network=kind,
        hostname=spec.BUILD_HOSTNAME,
        mounts=[*own, *mounts],
        cgroups_path=f"/cais/{id}" if id else "",
        shm_bytes=shm_bytes,
    )


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
    for mount in step["mounts"]:
        target = mount["destination"]
        if any(target == point or target.startswith(point + "/") for point in _OWN_POINTS):
            continue
        is_file = (
            mount["type"] == "bind"
            and target not in directories
            and os.path.lexists(mount["source"])
            and not os.path.isdir(mount["source"])
        )
        found.append((target, not is_file))
    return found
