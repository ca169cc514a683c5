"""A container that is there joins another network, or leaves one; also while it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.container import carrying, state
from cais.container.connecting import Connections
from cais.container.network_options import check_attachment
from cais.container.networking import Attachment, Networking, port_wishes, wish
from cais.container.plan import Plan
from cais.container.records import ContainerRecord, ContainerRecords
from cais.errors import Conflict, Denied, NotFound, Unavailable, from_os_error
from cais.host.namespaces import in_user_namespace
from cais.runtime import network_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cais.network.records import Network


def connect(
    connections: Connections,
    records: ContainerRecords,
    record: ContainerRecord,
    network: Network,
    wanted: Attachment,
    warn: Callable[[str], None],
) -> None:
    """Raises Conflict (it is in it already), Denied (it cannot be in others), and as a start."""
    plan = Plan.from_json(record.plan)
    check_attachment(wanted)
    _check(plan.networking, network)
    if any(item.network in (network.name, network.id) for item in plan.networking.networks):
        raise Conflict(f"endpoint with name {record.name} already exists in network {network.name}")
    wanted = wanted._replace(network=network.name)
    networking = plan.networking._replace(networks=(*plan.networking.networks, wanted))
    pid = _running(connections, record)
    if pid:
        in_user = in_user_namespace()
        hostname = "" if plan.hostname == record.id[:12] else plan.hostname
        asked = wish(wanted, hostname, () if in_user else networking.dns)
        ports = port_wishes(networking)
        namespace = _namespace(pid)
        try:
            endpoint = connections.where_bridges_are(
                lambda: connections.networks.connect(
                    record.id, record.name, asked, namespace, () if in_user else ports, routed=not in_user
                )
            )
        finally:
            os.close(namespace)
        if in_user and not network.internal:
            _carry(connections, record, networking, pid, warn)
        _tell(connections, record, plan, add=(endpoint.ip4, endpoint.ip6))
    _change(records, record, networking.networks)


def disconnect(connections: Connections, records: ContainerRecords, record: ContainerRecord, network: Network) -> None:
    """Raises NotFound (it is not in it), Denied."""
    plan = Plan.from_json(record.plan)
    if network.driver == "host":
        raise Denied("container cannot be disconnected from host network or connected to host network")
    rest = tuple(item for item in plan.networking.networks if item.network not in (network.name, network.id))
    if len(rest) == len(plan.networking.networks):
        raise NotFound(f"container {record.id} is not connected to network {network.name}")
    pid = _running(connections, record)
    mine = [item for item in connections.networks.records.endpoints(container=record.id) if item.network == network.id]
    gone = [text for item in mine for text in (item.ip4, item.ip6)]
    bundle = connections.runtime.opened(record.id)
    namespace = _namespace(pid) if pid else None
    try:
        if mine:
            connections.where_bridges_are(lambda: connections.networks.disconnect(record.id, network, namespace))
        known = connections.networks.records
        if namespace is not None and carrying.is_carried(bundle) and not carrying.is_needed(known, rest):
            carrying.put_down(known, record, bundle, namespace)
            gone.append(carrying.ADDRESS)
    finally:
        if namespace is not None:
            os.close(namespace)
    _change(records, record, rest)
    if pid and gone:
        _tell(connections, record, plan, remove=gone)


def _carry(
    connections: Connections,
    record: ContainerRecord,
    networking: Networking,
    pid: int,
    warn: Callable[[str], None],
) -> None:
    """The way out of an ordinary user's container that had none so far. Without it it goes on, as after a start."""
    bundle = connections.runtime.opened(record.id)
    if carrying.is_carried(bundle):
        return
    try:
        ports = () if connections.networks.records.held(record.id) else port_wishes(networking)
        carrying.carry(connections.networks.records, record, networking, bundle, f"/proc/{pid}/ns/net", ports)
    except (Denied, Unavailable) as error:
        warn(f"WARNING: no network but its own bridges: {error.message}. {error.hint}".rstrip(" .") + ".")


def _check(networking: Networking, network: Network) -> None:
    if networking.shared_with:
        raise Denied(
            "container sharing network namespace with another container or host cannot be connected to any other "
            "network"
        )
    if networking.mode == "host" or network.driver == "host":
        raise Denied("container cannot be disconnected from host network or connected to host network")
    if networking.mode == "none" or network.driver == "null":
        raise Denied(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode"
        )


def _running(connections: Connections, record: ContainerRecord) -> int:
    found = state.look(record, connections.runtime, connections.directory)
    return found.process.pid if found.process is not None else 0


def _namespace(pid: int) -> int:
    try:
        return os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise from_os_error(error, "open the network namespace of the container")


def _change(records: ContainerRecords, record: ContainerRecord, networks: tuple[Attachment, ...]) -> None:
    """Kept for its next start, too."""

    def changed(plan: dict[str, Any]) -> dict[str, Any]:
        networking = Networking.from_json(plan["networking"])._replace(networks=networks)
        return {**plan, "networking": networking.to_json()}

    records.change_plan(record.id, changed)


def _tell(
    connections: Connections,
    record: ContainerRecord,
    plan: Plan,
    *,
    add: Sequence[str] = (),
    remove: Sequence[str] = (),
) -> None:
    """/etc/hosts and /etc/resolv.conf of the running container say where it is now."""
    directory, wanted = os.path.join(connections.directory, record.id), plan.networking
    own = network_files.own_lines(plan.hostname, wanted.domainname, [text for text in add if text])
    network_files.change_hosts(directory, own, [text for text in remove if text])
    servers = connections.where_bridges_are(lambda: connections.networks.name_servers(record.id))
    is_carried = carrying.is_carried(connections.runtime.opened(record.id))
    resolver = network_files.Resolver(wanted.dns, servers, wanted.dns_search, wanted.dns_options, is_carried)
    network_files.write_resolver(directory, "none", resolver)
    if servers:
        connections.await_names(record.id)
