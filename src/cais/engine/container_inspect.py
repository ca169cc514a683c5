"""``container inspect``: Docker's JSON of one container, from its record, its rooms and this host."""

from __future__ import annotations

import os

from cais.container import views
from cais.container.records import ContainerRecord
from cais.container.state import State
from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.spec.digest import Digest
from cais.volume.store import VolumeStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def inspect(
    stores: Stores, runs: ContainerRuns, record: ContainerRecord, state: State, *, size: bool = False
) -> dict[str, Any]:
    """``size`` adds SizeRw and SizeRootFs, in bytes."""
    directory = os.path.join(stores.root, "containers", record.id)
    value = views.inspect(
        record,
        state,
        log_path=os.path.join(directory, "log"),
        directory=directory,
        volume_paths={volume.name: volume.path for volume in VolumeStore(stores.root, stores.database).all()},
        **runs.defaults(),
    )
    value["NetworkSettings"] = _networks(stores, record, state)
    value["GraphDriver"] = _graph(stores, record)
    if "health" in record.plan:
        from cais.container import health, watch

        check = health.HealthCheck.from_json(record.plan["health"])
        found = watch.read(directory)
        if found is not None and not state.lives:
            found = found.ended()  # also where nobody was left to note it
        health.add_to_inspect(value, check, found)
    if state.process is not None:
        from cais.runtime import exec as processes

        value["ExecIDs"] = processes.running(runs.runtime.opened(record.id), state.pid) or None
    if size:
        value["SizeRw"], value["SizeRootFs"] = _sizes(stores, record)
    return value


def command_line(stores: Stores, runs: ContainerRuns, record: ContainerRecord, state: State) -> list[str]:
    """What stands behind ``cais run`` to make the same container. See ``container.command_line``."""
    from cais.container.command_line import arguments
    from cais.container.plan import Plan
    from cais.errors import CaisError

    try:
        image = stores.images.get(record.image_id).config.run
    except CaisError:
        image = {}  # it is gone: nothing is said by it any more
    document = inspect(stores, runs, record, state)
    return arguments(document, Plan.from_json(record.plan).networking, image, **runs.defaults())


def _networks(stores: Stores, record: ContainerRecord, state: State) -> dict[str, Any]:
    from cais.container import network_view
    from cais.container.plan import Plan
    from cais.network.records import NetworkRecords

    plan, records = Plan.from_json(record.plan), NetworkRecords(stores.database)
    return network_view.settings(
        plan.networking,
        records.endpoints(container=record.id),
        records.ports(record.id),
        ids={network.name: network.id for network in records.all()},
        hostname=plan.hostname,
        short_id=record.short_id,
        sandbox=f"/proc/{state.pid}/ns/net" if state.pid else "",
    )


def _below(stores: Stores, record: ContainerRecord) -> list[str]:
    chain = Digest(record.chain) if record.chain else None
    return [os.path.join(path, "fs") for path in stores.snapshots.directories(chain)]


def _graph(stores: Stores, record: ContainerRecord) -> dict[str, Any]:
    """Where the files are; mounted they are in the container's own mount namespace alone."""
    own = os.path.join(stores.snapshots.directory, record.snapshot)
    data = {
        "LowerDir": ":".join(_below(stores, record)),
        "UpperDir": os.path.join(own, "fs"),
        "WorkDir": os.path.join(own, "work"),
    }
    return {"Data": data, "Name": "overlay2"}


def _sizes(stores: Stores, record: ContainerRecord) -> tuple[int, int]:
    from cais.host.files import tree_size_bytes

    own = tree_size_bytes(os.path.join(stores.snapshots.directory, record.snapshot, "fs"))
    return own, own + sum(tree_size_bytes(path) for path in _below(stores, record))
