"""Which port of the host is published, kept for the container; and what is said where it is taken."""

from __future__ import annotations

import errno
import os

from cais.errors import CaisError, Conflict, Denied, Invalid, from_os_error
from cais.network import reserve
from cais.network.addresses import parse_address
from cais.network.records import Endpoint, NetworkRecords, PublishedPort, is_relayed
from cais.network.wishes import PortWish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def choose(
    records: NetworkRecords, endpoint: Endpoint, wish: PortWish, default_ip: str = "", *, with_relays: bool = False
) -> Iterator[tuple[PublishedPort, int]]:
    """For each family of addresses that the container has: the port, and the socket that keeps it.

    Without a host address both families get the same number. ``with_relays``: what the kernel cannot pass on is a
    relay's. Raises Conflict with Docker's words, and who has it; Unsupported and Unavailable of relays.
    """
    targets = _targets(endpoint, wish.host_ip or default_ip, with_relays)
    for host_ip, target in targets:
        if with_relays and is_relayed(host_ip, target):
            from cais.network import relays

            relays.check(wish, host_ip)
    numbers: Iterator[int]
    if wish.host_port:
        numbers = iter(range(wish.host_port, (wish.host_port_last or wish.host_port) + 1))
    else:
        first, last = reserve.ephemeral_range()
        numbers = iter(range(first, last + 1))
    failure: CaisError | None = None
    for number in numbers:
        descriptors: list[int] = []
        try:
            for host_ip, _ in targets:
                descriptors.append(_take(records, endpoint, wish.protocol, host_ip, number))
        except Conflict as error:
            for descriptor in descriptors:
                os.close(descriptor)
            failure = failure or error
            continue
        for (host_ip, target), descriptor in zip(targets, descriptors, strict=True):
            yield (
                PublishedPort(wish.protocol, host_ip, number, endpoint.container, target, wish.container_port),
                descriptor,
            )
        return
    if failure is not None:
        raise failure


def _targets(endpoint: Endpoint, host_ip: str, with_relays: bool) -> list[tuple[str, str]]:
    """(host address, container's address)"""
    if not host_ip:
        both = (("0.0.0.0", endpoint.ip4), ("::", endpoint.ip6))
        return [(any_ip, target) for any_ip, target in both if target]
    try:
        address = parse_address(host_ip)
    except ValueError:
        raise Invalid(f"invalid IP address: {host_ip}", exit_code=125)
    target = endpoint.ip6 if ":" in host_ip else endpoint.ip4
    if with_relays and ":" in host_ip:
        target = target or endpoint.ip4
    if not target:
        raise Invalid(
            f"cannot publish a port on {host_ip}: the container has no address of that family",
            hint="Give its network a subnet of it: cais network create --ipv6.",
            exit_code=125,
        )
    return [(str(address), target)]


def _take(records: NetworkRecords, endpoint: Endpoint, protocol: str, host_ip: str, port: int) -> int:
    holder = records.holder(protocol, host_ip, port)
    if holder is not None:
        owner = next((item.name for item in records.endpoints(container=holder)), holder[:12])
        raise _taken(endpoint, host_ip, port, f"The container {owner} has published it.")
    try:
        return reserve.bind(protocol, host_ip, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            process = reserve.holder(protocol, host_ip, port)
            raise _taken(endpoint, host_ip, port, f"{process} listens on it." if process else "A process has it.")
        if error.errno == errno.EADDRNOTAVAIL:
            raise Invalid(
                f"{_doing(endpoint)}: failed to bind host port for {_shown(host_ip)}:{port}: cannot assign requested "
                "address",
                hint="The host has no such address.",
                exit_code=125,
            )
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Denied(
                f"{_doing(endpoint)}: bind {_shown(host_ip)}:{port}: permission denied",
                hint="Take one from 1024 on, or have root lower the sysctl net.ipv4.ip_unprivileged_port_start.",
                exit_code=125,
            )
        raise from_os_error(error, f"bind {_shown(host_ip)}:{port}")


def _taken(endpoint: Endpoint, host_ip: str, port: int, who: str) -> Conflict:
    return Conflict(
        f"{_doing(endpoint)}: Bind for {_shown(host_ip)}:{port} failed: port is already allocated",
        hint=who,
        exit_code=125,
    )


def _doing(endpoint: Endpoint) -> str:
    return f"driver failed programming external connectivity on endpoint {endpoint.name} ({endpoint.id})"


def _shown(host_ip: str) -> str:
    return f"[{host_ip}]" if ":" in host_ip else host_ip
