"""The tables of networks: what there is, who is in it with which addresses, and which ports are published."""

from __future__ import annotations

from cais.errors import Invalid, NotFound
from cais.host.database import Database, Transaction
from cais.network.addresses import Address, Subnet, parse_address, parse_subnet
from cais.spec.encoding import decode, encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

# The three of Docker exist without being created.
SCHEMA = (
    """CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        created REAL NOT NULL,
        spec TEXT NOT NULL DEFAULT '{}'
    ) WITHOUT ROWID;
    INSERT INTO networks (id, name, driver, created) VALUES
        (lower(hex(randomblob(32))), 'bridge', 'bridge', (julianday('now') - 2440587.5) * 86400.0),
        (lower(hex(randomblob(32))), 'host', 'host', (julianday('now') - 2440587.5) * 86400.0),
        (lower(hex(randomblob(32))), 'none', 'null', (julianday('now') - 2440587.5) * 86400.0);
    CREATE TABLE network_endpoints (
        container TEXT NOT NULL,
        network TEXT NOT NULL REFERENCES networks (id),
        ip4 TEXT,
        ip6 TEXT,
        spec TEXT NOT NULL,
        PRIMARY KEY (container, network)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX network_endpoints_by_ip4 ON network_endpoints (network, ip4) WHERE ip4 NOTNULL;
    CREATE UNIQUE INDEX network_endpoints_by_ip6 ON network_endpoints (network, ip6) WHERE ip6 NOTNULL;
    CREATE INDEX network_endpoints_by_network ON network_endpoints (network);
    CREATE TABLE network_ports (
        protocol TEXT NOT NULL,
        host_ip TEXT NOT NULL,
        host_port INTEGER NOT NULL,
        container TEXT NOT NULL,
        target_ip TEXT NOT NULL,
        target_port INTEGER NOT NULL,
        PRIMARY KEY (protocol, host_port, host_ip)
    ) WITHOUT ROWID;
    CREATE INDEX network_ports_by_container ON network_ports (container)""",
)

PREDEFINED = ("bridge", "host", "none")


class Pool(NamedTuple):
    """``within``: addresses are taken from there. ``reserved``: by name, addresses that nobody is given."""

    subnet: Subnet
    gateway: Address | None
    within: Subnet | None = None
    reserved: Mapping[str, Address] = {}


class Network(NamedTuple):
    """``created`` is in seconds since 1970. ``chosen``: its subnets were chosen for it, and no address may be asked
    for. ``interface``: of its bridge, or the parent of a macvlan, "" where it has none; ``made_parent``: that was made
    for it."""

    id: str
    name: str
    driver: str
    created: float
    interface: str = ""
    pools: tuple[Pool, ...] = ()
    chosen: bool = False
    internal: bool = False
    ipv4: bool = True
    ipv6: bool = False
    attachable: bool = False
    config_only: bool = False
    config_from: str = ""
    options: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    ipam_options: Mapping[str, str] = {}
    made_parent: bool = False

    @property
    def is_predefined(self) -> bool:
        return self.name in PREDEFINED

    @property
    def has_names(self) -> bool:
        """Whether its containers find each other by name: not in the default network, as in Docker."""
        return self.driver == "bridge" and not self.is_predefined

    def pool(self, family: int) -> Pool | None:
        """The first of its pools of a family."""
        return next((pool for pool in self.pools if pool.subnet.family == family), None)


class Endpoint(NamedTuple):
    """A container's place in a network. ``interface`` is the link inside, ``outside`` its other end on the host or "".

    ``prefix4`` and ``prefix6`` are lengths; addresses are text, "" where it has none. ``name`` is the container's;
    ``names`` are all that DNS knows it by, ``dns`` the servers that are asked for what is no name of these networks
    ("" the host's). ``default4``, ``default6``: the default route goes this way.
    """

    id: str
    network: str
    network_name: str
    container: str
    name: str
    interface: str
    outside: str = ""
    mac: str = ""
    ip4: str = ""
    prefix4: int = 0
    gateway4: str = ""
    ip6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    default4: bool = False
    default6: bool = False
    dns: tuple[str, ...] = ()


class PublishedPort(NamedTuple):
    """``host_ip`` 0.0.0.0 or :: is every address of the host of that family; ``target_ip`` is the container's, "" where
    it is the container's and goes nowhere just now."""

    protocol: str
    host_ip: str
    host_port: int
    container: str
    target_ip: str
    target_port: int

    @property
    def relayed(self) -> bool:
        """Whether the kernel cannot pass it on: from IPv6's own loopback, and from IPv6 to a container without it."""
        return is_relayed(self.host_ip, self.target_ip)


class NetworkRecords:
    """What is in the tables; nothing here touches the kernel."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def all(self) -> list[Network]:
        """Ordered by name."""
        return self._networks("ORDER BY name")

    def get(self, id_or_name: str) -> Network:
        """By full id, name, or the start of an id. Raises NotFound, Invalid with Docker's words."""
        for clause in ("WHERE id = ?", "WHERE name = ?"):
            found = self._networks(clause, (id_or_name,))
            if found:
                return found[0]
        if id_or_name and set(id_or_name) <= set("0123456789abcdef"):
            found = self._networks("WHERE id >= ? AND id < ? LIMIT 2", (id_or_name, id_or_name + "g"))
            if len(found) > 1:
                raise Invalid(f"network {id_or_name} is ambiguous ({len(found)} matches found based on ID prefix)")
            if found:
                return found[0]
        raise NotFound(f"network {id_or_name} not found")

    def find(self, id: str) -> list[Network]:
        """The network with this full id, if it is there still."""
        return self._networks("WHERE id = ?", (id,))

    def _networks(self, clause: str, parameters: Sequence[Any] = ()) -> list[Network]:
        rows = self.database.rows(f"SELECT id, name, driver, created, spec FROM networks {clause}", parameters)
        return [Network(*row[:4], **_network_from(decode(row[4]))) for row in rows]

    def add(self, change: Transaction, network: Network) -> None:
        change.execute(
            "INSERT INTO networks (id, name, driver, created, spec) VALUES (?, ?, ?, ?, ?)",
            (network.id, network.name, network.driver, network.created, _network_json(network)),
        )

    def remove(self, change: Transaction, id: str) -> None:
        change.execute("DELETE FROM networks WHERE id = ?", (id,))

    def update(self, change: Transaction, network: Network) -> None:
        change.execute("UPDATE networks SET spec = ? WHERE id = ?", (_network_json(network), network.id))

    def endpoints(self, *, network: str = "", container: str = "") -> list[Endpoint]:
        """Of a network, of a container (in the order of its interfaces), or all."""
        clause, parameters = "", ()  # type: tuple[str, tuple[str, ...]]
        if network:
            clause, parameters = "WHERE network = ?", (network,)
        elif container:
            clause, parameters = "WHERE container = ?", (container,)
        rows = self.database.rows(f"SELECT spec FROM network_endpoints {clause}", parameters)
        found = [_endpoint(decode(row[0])) for row in rows]
        found.sort(key=lambda item: (item.container, len(item.interface), item.interface))
        return found

    def is_used(self, network: str) -> bool:
        """Whether anybody is in a network."""
        return self.database.row("SELECT 1 FROM network_endpoints WHERE network = ? LIMIT 1", (network,)) is not None

    def add_endpoint(self, change: Transaction, endpoint: Endpoint) -> None:
        change.execute(
            "INSERT INTO network_endpoints (container, network, ip4, ip6, spec) VALUES (?, ?, ?, ?, ?)",
            (endpoint.container, endpoint.network, endpoint.ip4 or None, endpoint.ip6 or None, _json(endpoint)),
        )

    def update_endpoint(self, change: Transaction, endpoint: Endpoint) -> None:
        change.execute(
            "UPDATE network_endpoints SET spec = ? WHERE container = ? AND network = ?",
            (_json(endpoint), endpoint.container, endpoint.network),
        )

    def taken(self, network: str) -> set[str]:
        """The addresses of those who are in a network."""
        rows = self.database.rows("SELECT ip4, ip6 FROM network_endpoints WHERE network = ?", (network,))
        return {text for row in rows for text in row if text}

    def ports(self, container: str = "") -> list[PublishedPort]:
        """What is passed on to a container, or to all; ordered by port."""
        return [port for port in self.held(container) if port.target_ip]

    def held(self, container: str = "") -> list[PublishedPort]:
        """As ``ports``, with what goes nowhere just now."""
        clause = "WHERE container = ?" if container else ""
        rows = self.database.rows(
            "SELECT protocol, host_ip, host_port, container, target_ip, target_port FROM network_ports "
            f"{clause} ORDER BY host_port, protocol, host_ip",
            (container,) if container else (),
        )
        return [PublishedPort(*row) for row in rows]

    def add_port(self, change: Transaction, port: PublishedPort) -> None:
        change.execute(
            """INSERT INTO network_ports (protocol, host_ip, host_port, container, target_ip, target_port)
               VALUES (?, ?, ?, ?, ?, ?)""",
            port,
        )

    def set_targets(self, ports: Iterable[PublishedPort]) -> None:
        with self.database.transaction() as change:
            for port in ports:
                change.execute(
                    """UPDATE network_ports SET target_ip = ?
                       WHERE protocol = ? AND host_ip = ? AND host_port = ? AND container = ?""",
                    (port.target_ip, *port[:4]),
                )

    def forget_ports(self, container: str) -> None:
        with self.database.transaction() as change:
            change.execute("DELETE FROM network_ports WHERE container = ?", (container,))

    def holder(self, protocol: str, host_ip: str, host_port: int) -> str | None:
        """The container that has published a port on this address, on all of them, or (asked for all) on any."""
        rows = self.database.rows(
            "SELECT container, host_ip FROM network_ports WHERE protocol = ? AND host_port = ?", (protocol, host_port)
        )
        for container, other in rows:
            same_family = (":" in other) == (":" in host_ip)
            if same_family and (other == host_ip or other in ANY or host_ip in ANY):
                return str(container)
        return None

    def containers(self) -> set[str]:
        """The ids of all that are in any network, or have ports."""
        rows = self.database.rows("SELECT container FROM network_endpoints UNION SELECT container FROM network_ports")
        return {row[0] for row in rows}


ANY = ("0.0.0.0", "::")
LOOPBACK_6 = "::1"


def is_relayed(host_ip: str, target_ip: str) -> bool:
    """Of a published port: the host's address, and the container's. What pasta serves has its own loopback for that."""
    if ":" not in host_ip or target_ip in ("", LOOPBACK_6):
        return False
    return host_ip == LOOPBACK_6 or ":" not in target_ip


def _json(endpoint: Endpoint) -> str:
    value = {key: item for key, item in endpoint._asdict().items() if item != Endpoint._field_defaults.get(key)}
    return encode(value).decode()


def _endpoint(value: Mapping[str, Any]) -> Endpoint:
    known = {key: item for key, item in value.items() if key in Endpoint._fields}
    for key in ("names", "aliases", "dns"):
        known[key] = tuple(known.get(key, ()))
    return Endpoint(**known)


def _network_json(network: Network) -> str:
    value = {
        key: item
        for key, item in network._asdict().items()
        if key not in ("id", "name", "driver", "created") and item != Network._field_defaults[key]
    }
    if network.pools:
        value["pools"] = [
            {
                "subnet": str(pool.subnet),
                "gateway": str(pool.gateway) if pool.gateway else "",
                "within": str(pool.within) if pool.within else "",
                "reserved": {name: str(address) for name, address in pool.reserved.items()},
            }
            for pool in network.pools
        ]
    return encode(value).decode()


def _network_from(value: dict[str, Any]) -> dict[str, Any]:
    known = {key: item for key, item in value.items() if key in Network._fields}
    known["pools"] = tuple(
        Pool(
            parse_subnet(pool["subnet"]),
            parse_address(pool["gateway"]) if pool["gateway"] else None,
            parse_subnet(pool["within"]) if pool["within"] else None,
            {name: parse_address(text) for name, text in pool["reserved"].items()},
        )
        for pool in value.get("pools", ())
    )
    return known
