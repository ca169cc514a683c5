"""What of networks stands on the host or in the records, and has nobody who would take it away: found, and removed.

The host is looked at before the records: whoever makes something notes it first, so that nothing is taken for a
leftover that is just being made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from cais.network import links, relays
from cais.network.netlink import Netlink
from cais.network.programs import run
from cais.network.records import ANY, PublishedPort
from cais.network.store import Networks
from cais.spec.named import NamedTuple

_LASTING_SECONDS = 2.0
_STEP_SECONDS = 0.05


class Leftover(NamedTuple):
    """``subject`` and ``problem`` are for the user; ``done`` says what ``remove`` does."""

    subject: str
    problem: str
    remove: Callable[[], object]
    done: str = "removed"


def find(networks: Networks, is_alive: Callable[[str], bool]) -> Iterator[Leftover]:
    """``is_alive(id)``: whether a container runs, or is being started. What the first ones block comes after them: take
    each away before the next is asked for. Raises Unavailable."""
    records = networks.records
    for container in sorted(records.containers()):
        if not is_alive(container):
            names = [item.network_name for item in records.endpoints(container=container)]
            yield Leftover(
                f"network {', '.join(names)}" if names else "published ports",
                f"{'holds an address' if names else 'are held'} for {container[:12]}, which does not run",
                lambda id=container: networks.leave(id),  # type: ignore[misc]
                "given back",
            )
    for network in networks.bridges.leftovers():
        yield Leftover(
            f"network {network.name}",
            f"its bridge {network.interface} is there, and nobody is in it",
            lambda id=network.id: networks.bridges.release([id]),  # type: ignore[misc]
        )
    for name in _links(networks):
        yield Leftover(f"link {name}", "is of no container", lambda it=name: networks.bridges.unplug([it]))  # type: ignore[misc]
    yield from _relays(networks)
    found = _lasting(lambda: _rules(networks))
    if found:
        yield Leftover("firewall", found, networks.bridges.filter_anew, "made anew")
    found = _lasting(networks.name_server.problem)
    if found:
        yield Leftover("name server", found, networks.name_server.follow, "made anew")


def _lasting(ask: Callable[[], str]) -> str:
    """What is so for longer than it takes another command to go on from its records to the host."""
    end = time.monotonic() + _LASTING_SECONDS
    while (found := ask()) and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)
    return found


def _links(networks: Networks) -> list[str]:
    """Ports of our bridges that no endpoint names."""
    with Netlink() as netlink:
        present = links.all_links(netlink)
    bridges = networks.bridges.numbers(present)
    known = {item.outside for item in networks.records.endpoints()}
    return [
        link.name
        for link in present
        if link.master in bridges and link.name.startswith("veth") and link.name not in known
    ]


def _relays(networks: Networks) -> Iterator[Leftover]:
    """Relays of no container, and those that are missing."""
    root, table = networks.root, networks.bridges.table
    present = relays.running(table)
    wanted = relays.marks(table, networks.records.ports())
    for mark in sorted(present.keys() - wanted.keys()):
        yield Leftover(
            f"relay of {mark.rpartition(' ')[2]}",
            "is of no container",
            lambda pids=present[mark]: relays.end_all(pids),  # type: ignore[misc]
        )
    for mark, port in wanted.items():
        if _lasting(lambda it=mark: "" if it in relays.running(table) else "does not run"):  # type: ignore[misc]
            yield Leftover(
                f"relay of {mark.rpartition(' ')[2]}",
                "does not run",
                lambda it=port: relays.revive(root, table, it),  # type: ignore[misc]
                "made anew",
            )


def _rules(networks: Networks) -> str:
    """What is wrong with our table, or ""."""
    table = networks.bridges.table
    listed = run("nft", "-j", "list", "table", "inet", table)
    with Netlink() as netlink:
        needed = bool(networks.bridges.numbers(links.all_links(netlink)))
    if listed is None or listed.code != 0:
        return f"its table {table} is not there" if needed and listed is not None else ""
    if not needed:
        return f"its table {table} is there, and no bridge"
    known = {_key(port) for port in networks.records.ports()}
    extra = sorted(_published(listed.output) - known)
    if extra:
        host_ip, protocol, number = extra[0]
        return f"publishes {host_ip or '*'}:{number}/{protocol}, which is no container's"
    return ""


def _key(port: PublishedPort) -> tuple[str, str, int]:
    return "" if port.host_ip in ANY else port.host_ip, port.protocol, port.host_port


def _published(text: str) -> set[tuple[str, str, int]]:
    """(address or "", protocol, port) of the elements of the table's maps, from nft's JSON (libnftables-json(5))."""
    found = set()
    for item in json.loads(text)["nftables"]:
        for key, _ in item.get("map", {}).get("elem", ()):
            *address, protocol, number = key["concat"]
            found.add((address[0] if address else "", str(protocol), int(number)))
    return found
