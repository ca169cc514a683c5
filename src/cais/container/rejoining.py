"""A container that is there joins another network, or leaves one; also while it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.container import state
from cais.container.connecting import Connections, wish
from cais.container.network_options import check_attachment
from cais.container.networking import Attachment, Networking
from cais.container.plan import Plan
from cais.container.records import ContainerRecord, ContainerRecords
from cais.errors import Conflict, Denied, NotFound, from_os_error
from cais.runtime import network_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.network.records import Network


def connect(
    connections: Connections, records: ContainerRecords, record: ContainerRecord, network: Network, wanted: Attachment
) -> None:
    """Raises Conflict (it is in it already), Denied (it cannot be in others), and as a start."""
    plan = Plan.from_json(record.plan)
    check_attachment(wanted)
    _check(plan.networking, network)
    if any(item.network in (network.name, network.id) for item in plan.networking.networks):
        raise Conflict(f"endpoint with name {record.name} already exists in network {network.name}")
    wanted = wanted._replace(network=network.name)
    pid = _running(connections, record)
    if pid:
        namespace = _namespace(pid)
        try:
            hostname = "" if plan.hostname == record.id[:12] else plan.hostname
            endpoint = connections.where_bridges_are(
                lambda: connections.networks.connect(record.id, record.name, wish(wanted, hostname), namespace)
            )
        finally:
            os.close(namespace)
        _tell(connections, record, plan, add=(endpoint.ip4, endpoint.ip6))
    _change(records, record, (*plan.networking.networks, wanted))


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
    if mine:
        namespace = _namespace(pid) if pid else None
        try:
            connections.where_bridges_are(lambda: connections.networks.disconnect(record.id, network, namespace))
        finally:
            if namespace is not None:
                os.close(namespace)
    _change(records, record, rest)
    if pid and mine:
        _tell(connections, record, plan, remove=(mine[0].ip4, mine[0].ip6))


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
    resolver = network_files.Resolver(wanted.dns, servers, wanted.dns_search, wanted.dns_options)
    network_files.write_resolver(directory, "none", resolver)
