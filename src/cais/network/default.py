"""The network ``bridge``: it has a subnet from its first use on; where the host has taken that since, another one."""

from __future__ import annotations

from cais.host.database import Database
from cais.network.addresses import AF_INET, Address
from cais.network.bridges import Bridges
from cais.network.records import Network, NetworkRecords, Pool
from cais.network.subnets import unused


def settled(database: Database, records: NetworkRecords, bridges: Bridges) -> Network:
    """The network with a subnet that is its own, as long as somebody is in it. Raises Unavailable."""
    network = records.get("bridge")
    if network.pools and (records.is_used(network.id) or not bridges.is_routed_elsewhere(network)):
        return network
    with database.transaction() as change:
        network = records.get("bridge")
        if records.is_used(network.id):
            return network
        subnet = unused([other for other in records.all() if other.id != network.id], AF_INET)
        if network.pools and network.pools[0].subnet == subnet:
            return network
        network = network._replace(
            interface="cais0" if bridges.is_system else f"cais-{network.id[:10]}",
            pools=(Pool(subnet, Address(AF_INET, subnet.number + 1)),),
            chosen=True,
        )
        records.update(change, network)
    return network
