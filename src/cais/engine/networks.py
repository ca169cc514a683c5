"""Networks: create, list, inspect, remove, prune, connect, disconnect."""

from __future__ import annotations

import time

from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import Conflict, Denied, Invalid, NotFound
from cais.network.definition import NetworkOptions
from cais.network.records import Network
from cais.network.store import Networks as Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from cais.container.networking import Attachment
    from cais.network.records import Endpoint

    Names = list[str]
    Found = list[Network]
    Endpoints = list[Endpoint]
    Findings = list[tuple[str, str, str]]

__all__ = ["NetworkOptions", "Networks"]

_LIST_KEYS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))
_PRUNE_KEYS = frozenset(("until", "label", "label!"))


class Networks:
    """The networks of one root directory."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._store = Store(stores.root, stores.database)

    def create(self, options: NetworkOptions) -> Network:
        """A new network; nothing of it is on the host before a container is in it.

        Raises Invalid, Conflict (name, subnet), Denied (predefined), NotFound (driver), Unsupported (swarm).
        """
        network = self._store.create(options, time.time())
        self._note("create", network)
        return network

    def get(self, name: str) -> Network:
        """By id, the start of one, or name. Raises NotFound, Invalid (ambiguous)."""
        return self._store.records.get(name)

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Found:
        """Ordered by name. Filters: ``dangling``, ``driver``, ``id``, ``label``, ``name``, ``scope``, ``type``.

        Raises Invalid for others.
        """
        from cais.spec.name_filter import matches

        filters = dict(filters or {})
        for key, values in filters.items():
            if key not in _LIST_KEYS:
                raise Invalid(f"invalid filter '{key}'")
            for value in values:
                if key == "type" and value not in ("builtin", "custom"):
                    raise Invalid(f"invalid filter: 'type'='{value}'")
                if key == "dangling" and value.lower() not in ("1", "t", "true", "0", "f", "false"):
                    raise Invalid(f"invalid filter 'dangling={value}'")
        found = self._store.records.all()
        used = {item.network for item in self._endpoints()} if "dangling" in filters else set()

        def fits(network: Network) -> bool:
            tests: dict[str, Callable[[str], bool]] = {
                "driver": lambda value: network.driver == value,
                "id": lambda value: matches(value, network.id),
                "name": lambda value: matches(value, network.name),
                "scope": lambda value: value == "local",
                "type": lambda value: (value == "builtin") == network.is_predefined,
                "dangling": lambda value: (
                    (value.lower() in ("1", "t", "true")) == (network.id not in used and not network.is_predefined)
                ),
            }
            return all(
                all(_has_label(network, value) for value in values)
                if key == "label"
                else any(tests[key](value) for value in values)
                for key, values in filters.items()
            )

        return [network for network in found if fits(network)]

    def inspect(self, name: str) -> dict[str, Any]:
        """Docker's JSON. Raises NotFound, Invalid."""
        from cais.network.views import inspect

        network = self._store.records.get(name)
        if network.name == "bridge":
            network = self._store.default()
        return inspect(network, self._endpoints(network.id))

    def _endpoints(self, network: str = "") -> Endpoints:
        """Of containers that run: what a killed one has left is swept by who starts or removes something."""
        found = self._store.records.endpoints(network=network)
        if not found:
            return found
        connections = ContainerRuns(self._stores).store.rooms.connections
        return [item for item in found if connections.is_used(item.container)]

    def remove(self, name: str, force: bool = False) -> bool:
        """Whether it was there; with ``force`` it need not have been.

        Raises NotFound, Denied (predefined), Conflict (in use).
        """
        try:
            network = self._store.records.get(name)
        except NotFound:
            if force:
                return False
            raise
        self._sweep()
        self._store.remove(network)
        self._note("destroy", network)
        return True

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Names:
        """Removes the networks that no running container is in; their names. Filters: ``until``, ``label``, ``label!``.

        Raises Invalid.
        """
        from cais.image.filters import moment

        filters = dict(filters or {})
        for key in filters:
            if key not in _PRUNE_KEYS:
                raise Invalid(f"invalid filter '{key}'")
        limit = min((moment(text, time.time()) for text in filters.get("until", ())), default=None)
        removed: Names = []
        self._sweep()
        for network in self._store.records.all():
            if network.is_predefined or network.config_only or (limit is not None and network.created >= limit):
                continue
            if any(not _has_label(network, text) for text in filters.get("label", ())):
                continue
            if any(_has_label(network, text) for text in filters.get("label!", ())):
                continue
            try:
                self._store.remove(network)
            except (NotFound, Conflict, Denied):
                continue  # it is in use, or another command has removed it
            self._note("destroy", network)
            removed.append(network.name)
        self._stores.events.write("network", "prune", "", {"reclaimed": "0"})
        return removed

    def connect(
        self,
        name: str,
        container: str,
        wanted: Attachment | None = None,
        warn: Callable[[str], None] = print,
    ) -> None:
        """Puts a container into one more network, now where it runs, and at its starts. ``warn``: lines for the user.

        Raises NotFound, Conflict (it is in it already, an address is taken), Invalid, Denied.
        """
        from cais.container.networking import Attachment
        from cais.container.rejoining import connect

        network = self.get(name)
        runs = ContainerRuns(self._stores)
        record = runs.records.get(container)
        runs.reach_processes(record)
        with runs.store.locked(record) as record:
            wanted = wanted or Attachment(network.name)
            connect(runs.store.rooms.connections, runs.records, record, network, wanted, warn)
        self._note("connect", network, container=record.id)

    def disconnect(self, name: str, container: str, force: bool = False) -> None:
        """Takes a container out of a network. Raises NotFound, Denied.

        ``force``: it need not be there any more.
        """
        from cais.container.rejoining import disconnect

        network = self.get(name)
        runs = ContainerRuns(self._stores)
        try:
            record = runs.records.get(container)
        except NotFound:
            if force:
                raise NotFound(f"endpoint {container} not found")  # what is left of it is swept
            raise
        runs.reach_processes(record)
        with runs.store.locked(record) as record:
            disconnect(runs.store.rooms.connections, runs.records, record, network)
        self._note("disconnect", network, container=record.id)

    def check(self, repair: bool = False) -> Findings:
        """What is wrong with networks: (subject, problem, what was done)."""
        from cais.network import leftovers

        connections = ContainerRuns(self._stores).store.rooms.connections

        def look() -> Findings:
            findings = []
            for item in leftovers.find(self._store, connections.is_used):
                if repair:
                    item.remove()
                findings.append((item.subject, item.problem, item.done if repair else ""))
            return findings

        return connections.where_bridges_are(look)

    def _sweep(self) -> None:
        """Nobody is kept from removing a network by a container that was killed."""
        if self._store.records.endpoints():
            ContainerRuns(self._stores).store.rooms.connections.sweep()

    def _note(self, action: str, network: Network, **more: str) -> None:
        known = {**more, "name": network.name, "type": network.driver}
        self._stores.events.write("network", action, network.id, known)


def _has_label(network: Network, text: str) -> bool:
    key, equals, value = text.partition("=")
    return key in network.labels and (not equals or network.labels[key] == value)


def attachment(
    network: str, *, aliases: Sequence[str] = (), options: Sequence[str] = (), priority: int = 0, ip: str = "",
    ip6: str = "", links: Sequence[str] = (), link_local: Sequence[str] = (),
) -> Attachment:  # fmt: skip
    """What ``connect`` is given. Raises Invalid."""
    from cais.container.network_options import parse_link
    from cais.container.networking import Attachment

    for text in options:
        if not text.partition("=")[0] or "=" not in text:
            raise Invalid("invalid key/value pair format in driver options")
    return Attachment(
        network, tuple(aliases), ip, ip6, "", tuple(link_local), tuple(map(parse_link, links)), tuple(options), priority
    )
