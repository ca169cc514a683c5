"""The system as a whole: what this host can do, what takes the space, whether all is well."""

from __future__ import annotations

import os
import time

from cais.engine.check import Finding
from cais.engine.stores import Stores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from cais.engine.boot import Outcome
    from cais.engine.boot_unit import BootUnit
    from cais.engine.usage import Usage, UsageDetails
    from cais.events.reading import Event


_NO_SWARM = {
    "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False, "Error": "",
    "RemoteManagers": None,
}  # fmt: skip
_NO_COMMIT = {"ID": "", "Expected": ""}


class System:
    """One root directory and its host as a whole: what they can do, what takes the space, what happens, and boot."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def events(
        self,
        since_nanoseconds: int | None = None,
        until_nanoseconds: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[Event]:
        """See ``engine.events.events``."""
        from cais.engine.events import events

        return events(self._stores, since_nanoseconds, until_nanoseconds, filters)

    def info(self) -> dict[str, Any]:
        """Facts of the host and of this root directory, named as in Docker's ``info`` where it has them."""
        from cais import __version__
        from cais.engine.containers import Containers
        from cais.engine.host_facts import host_facts
        from cais.engine.registry_facts import registry_facts
        from cais.spec import timestamp

        stores = self._stores
        states = [row.state for row in Containers(stores).list(all=True)]
        facts = host_facts(stores.settings)
        running, paused = (states.count(state) for state in ("running", "paused"))
        return {
            "ID": _id(stores.root),
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
            "Images": stores.database.row("SELECT count(*) FROM images")[0],
            "Driver": stores.snapshots.driver.name,
            "DriverStatus": [["Backing Filesystem", _file_system(stores.root)]],
            "SystemTime": timestamp.format(time.time()),
            "DockerRootDir": stores.root,
            "Labels": [],
            "ExperimentalBuild": False,
            "ServerVersion": __version__,
            "LiveRestoreEnabled": True,
            "Debug": False,
            "Swarm": _NO_SWARM,
            "GenericResources": None,
            "Isolation": "",
            **dict.fromkeys(("ContainerdCommit", "RuncCommit", "InitCommit"), _NO_COMMIT),
            "NFd": len(os.listdir("/proc/self/fd")),
            "NGoroutines": 0,
            "NEventsListener": 0,
            **registry_facts(stores.registries, stores.environment, facts["Warnings"]),
            **facts,
        }

    def check(self, *, repair: bool = False) -> list[Finding]:
        """Verifies everything kept; empty when all is well. See ``cais.engine.check``."""
        from cais.engine.check import check

        return check(self._stores, repair=repair)

    def start_containers(self) -> Iterator[Outcome]:
        """Starts the containers that run from boot. See ``cais.engine.boot``."""
        from cais.engine.boot import start_all

        return start_all(self._stores)

    def stop_containers(self) -> list[Outcome]:
        """Stops all containers before the host goes down. See ``cais.engine.boot``."""
        from cais.engine.boot import stop_all

        return stop_all(self._stores)

    def boot_unit(self, directory: str = "") -> BootUnit:
        """What starts the containers with the host. ``directory``: of a user's own units; "" is the system's."""
        from cais.engine.boot_unit import SYSTEM_DIRECTORY, BootUnit

        return BootUnit(self._stores, directory or SYSTEM_DIRECTORY, is_user=bool(directory))

    def usage(self) -> list[Usage]:
        """What images, containers, volumes and the build cache take."""
        from cais.engine.usage import usage

        return usage(self._stores)

    def usage_details(self) -> UsageDetails:
        """Each image, container, volume and entry of the build cache with what it takes."""
        from cais.engine.usage import details

        return details(self._stores)

    def collect(self) -> int:
        """Removes what nothing needs; returns the bytes of blobs and layers that were removed."""
        from cais.engine.collect import collect

        return collect(self._stores).size_bytes


def _id(root: str) -> str:
    """The same for one root directory of one host, in the form of a UUID."""
    from hashlib import sha256

    try:
        with open("/etc/machine-id", "rb") as file:
            machine = file.read().strip()
    except OSError:
        machine = os.uname().nodename.encode()
    digits = sha256(machine + b"\0" + os.fsencode(os.path.realpath(root))).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))


def _file_system(path: str) -> str:
    """The kind of the file system at ``path``, as the kernel calls it, or ``unknown``."""
    try:
        number = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                left, _, right = line.partition(" - ")
                if left.split(" ")[2] == f"{os.major(number)}:{os.minor(number)}":
                    return right.split(" ", 1)[0]
    except OSError:
        pass
    return "unknown"
