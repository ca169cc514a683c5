"""pasta: a network for an ordinary user, who may make no links on the host. It carries connections, one by one.

One process for each network namespace, which is mounted on a file; it ends when the file is removed.
https://passt.top
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from cais.errors import Unavailable
from cais.network.programs import run
from cais.network.publishing import choose
from cais.network.records import Endpoint, NetworkRecords, PublishedPort
from cais.network.wishes import PortWish

# Inside, as podman and slirp4netns have it: not the host's own, so that the host is reached by its address.
ADDRESS, _PREFIX, GATEWAY = "10.0.2.100", "24", "10.0.2.2"
_TUN = "/dev/net/tun"
_PROTOCOLS = {"tcp": "-t", "udp": "-u"}


def publish(records: NetworkRecords, container: str, name: str, wishes: Sequence[PortWish]) -> list[PublishedPort]:
    """Notes the ports of the host that a container gets. Raises Conflict (taken), Unavailable (sctp)."""
    # What pasta has inside is the namespace's own loopback.
    inside = Endpoint("pasta", "", "", container, name, "", ip4="127.0.0.1", ip6="::1")
    ports = []
    for wish in wishes:
        if wish.protocol not in _PROTOCOLS:
            raise Unavailable(f"pasta cannot publish {wish.protocol} ports", exit_code=125)
        with records.database.transaction() as change:
            for port, descriptor in choose(records, inside, wish._replace(host_ip=wish.host_ip or "0.0.0.0")):
                records.add_port(change, port)
                ports.append(port)
                os.close(descriptor)
    return ports


def start(namespace: str, ports: Iterable[PublishedPort], *, interface: str = "eth0", maps_host: bool = False) -> None:
    """Connects the network namespace that is mounted at ``namespace`` with the host's network, until that is removed.

    ``maps_host``: the gateway's address is the host's loopback. Raises Unavailable with what the host lacks.
    """
    if not os.access(_TUN, os.R_OK | os.W_OK):
        raise Unavailable(
            f"{_TUN} cannot be opened by this user",
            hint=f"Allow it (chmod 0666 {_TUN}), or use --network none or host.",
            exit_code=125,
        )
    arguments = ["--config-net", "--quiet", "--no-dhcp", "--no-dhcpv6", "-T", "none", "-U", "none"]
    arguments += ["-I", interface, "-a", ADDRESS, "-n", _PREFIX, "-g", GATEWAY]
    if not maps_host:
        arguments.append("--no-map-gw")
    given: dict[str, list[str]] = {flag: [] for flag in _PROTOCOLS.values()}
    for port in ports:
        given[_PROTOCOLS[port.protocol]].append(f"{port.host_ip}/{port.host_port}:{port.target_port}")
    for flag, values in given.items():
        arguments += [part for value in values or ["none"] for part in (flag, value)]
    ended = run("pasta", *arguments, "--netns", namespace)
    if ended is None:
        raise Unavailable("pasta is not installed", hint="Install it (Debian: apt-get install passt).", exit_code=125)
    if ended.code != 0:
        said = [line for line in ended.errors.splitlines() if line and "syslog" not in line]
        raise Unavailable(f"pasta: {said[-1] if said else f'it failed with {ended.code}'}", exit_code=125)
