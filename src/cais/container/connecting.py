"""Connecting a container: its network namespace made and joined with its networks, beside the rest of its start.

What is made here dies with the container, but for addresses, ports and bridges: ``Connections.leave`` gives those back,
called by whoever notes the container's end, and ``sweep`` for containers whose end nobody noted.
"""

from __future__ import annotations

import os

from cais.container import state
from cais.container.networking import DEFAULT, Attachment, Networking, port_wishes, wish
from cais.container.plan import Plan
from cais.container.records import ContainerRecord, ContainerRecords
from cais.errors import CaisError, Conflict, Denied, NotFound, Unavailable, Unsupported, from_os_error
from cais.host import syscalls
from cais.host.database import Database
from cais.runtime.runner import Runtime
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from cais.network.records import Endpoint
    from cais.network.store import Networks
    from cais.network.wishes import PortWish
    from cais.runtime.holder import Holder

    T = TypeVar("T")


_NO_LINKS = (
    "WARNING: --link is not used: an ordinary user's containers do not reach each other on the default network. Use a "
    "network of your own."
)


class Connection(NamedTuple):
    """What a container's start needs of its network.

    ``kind`` is ``host`` or ``none`` (a namespace of its own); ``path`` names one that is there, for the runtime.
    ``files_of``: the id of the container whose hosts, resolv.conf and ``hostname`` it shares, or "". ``addresses`` are
    its own, ``gateway`` is the host seen from inside, ``links`` are (address, names) of other containers.
    ``variables`` are what its links add to its environment.
    ``dns`` are the name servers of its networks, ``asks_host``: they know nothing else, and the host's come after them.
    ``descriptors`` are kept open until it runs; ``reserved`` for as long as it runs.
    """

    kind: str = "none"
    path: str = ""
    files_of: str = ""
    hostname: str = ""
    addresses: tuple[str, ...] = ()
    gateway: str = ""
    dns: tuple[str, ...] = ()
    asks_host: bool = False
    links: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()
    reserved: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def close(self) -> None:
        """This process keeps nothing of it any more."""
        for descriptor in (*self.descriptors, *self.reserved):
            try:
                os.close(descriptor)
            except OSError:
                pass  # closed already


class Connecting:
    """A connection that is being made, in a thread (``beside``) where it takes time."""

    def __init__(self, make: Callable[[], Connection], *, beside: bool) -> None:
        self._begun = beside
        self.result = make
        if beside:
            from cais.host import beside as threads

            self.result = threads.beside(make)

    def whatever(self) -> Connection:
        """What has come of what was begun; nothing where it went wrong."""
        try:
            return self.result() if self._begun else Connection()
        except Exception:  # that was said, or something else went wrong before
            return Connection()


class Connections:
    """The networks of the containers of one root directory; ``directory`` is the parent of the containers' own."""

    def __init__(self, root: str, database: Database, runtime: Runtime, directory: str, holder: Holder) -> None:
        self._root = root
        self._database = database
        self.runtime = runtime
        self.directory = directory
        self._holder = holder
        self._networks: Networks | None = None

    @property
    def networks(self) -> Networks:
        if self._networks is None:
            from cais.network.store import Networks

            self._networks = Networks(self._root, self._database)
        return self._networks

    def begin(self, record: ContainerRecord, plan: Plan, *, join: bool = True) -> Connecting:
        """Starts to connect a container that is about to run. ``leave`` undoes it, whatever came of it.

        Without ``join`` only its namespace is made, and ``join`` has to follow.
        """
        return Connecting(lambda: self._connect(record, plan, join), beside=bool(plan.networking.networks))

    def _connect(self, record: ContainerRecord, plan: Plan, join: bool) -> Connection:
        wanted = plan.networking
        warnings: tuple[str, ...] = ()
        if wanted.mode == "host":
            if wanted.ports or wanted.publish_all:
                warnings = ("WARNING: Published ports are discarded when using host network mode",)
            return Connection("host", warnings=warnings)
        if wanted.shared_with:
            return self._share(wanted.shared_with)
        if not wanted.networks:
            return Connection()
        descriptor = new_namespace()
        made = Connection(path=f"/proc/{os.getpid()}/fd/{descriptor}", descriptors=(descriptor,))
        try:
            return self.join(record, plan, made) if join else made
        except BaseException:
            made.close()
            raise

    def _share(self, other: str) -> Connection:
        """The network of another container, which has to run."""
        records = ContainerRecords(self._database)
        try:
            target = records.get(other)
        except NotFound as error:
            raise NotFound(error.message, exit_code=125)
        found = state.look(target, self.runtime, self.directory)
        if found.process is None:
            raise Conflict(f"cannot join network of a non running container: {target.id}", exit_code=125)
        files_of, plan = target.id, Plan.from_json(target.plan)
        while plan.networking.shared_with:
            files_of = plan.networking.shared_with
            plan = Plan.from_json(records.get(files_of).plan)
        if plan.networking.mode == "host":
            return Connection("host", files_of=files_of, hostname=plan.hostname)
        path = f"/proc/{found.process.pid}/ns/net"
        return Connection(path=path, files_of=files_of, hostname=plan.hostname)

    def join(self, record: ContainerRecord, plan: Plan, made: Connection) -> Connection:
        """``made``, whose namespace is there, in its networks. Raises as the networks do."""
        from cais.host.namespaces import in_user_namespace

        wanted = plan.networking
        is_default = [item.network for item in wanted.networks] == [DEFAULT]
        hostname = "" if plan.hostname == record.id[:12] else plan.hostname
        ports = port_wishes(wanted)
        in_user = in_user_namespace()
        # What an ordinary user's bridges publish, the host does not see; and where the host's servers are, they do not.
        own, dns = ((), ()) if in_user else (ports, wanted.dns)
        wishes = [wish(item, hostname, dns) for item in wanted.networks]
        try:
            if is_default and in_user:
                found = self._carry(record, wanted, made, ports)
                return found._replace(warnings=(_NO_LINKS,)) if wanted.networks[0].links else found
            joined = self.where_bridges_are(
                lambda: self.networks.join(record.id, record.name, wishes, made.descriptors[0], own, routed=not in_user)
            )
        except (Denied, Unavailable, Unsupported) as error:
            if not is_default or ports:
                raise
            # What the host lacks is no reason not to run.
            line = f"WARNING: no network but its own loopback: {error.message}. {error.hint}".rstrip(" .") + "."
            return made._replace(warnings=(line,))
        addresses = tuple(text for item in joined.endpoints for text in (item.ip4, item.ip6) if text)
        gateways = [item.gateway4 or item.gateway6 for item in joined.endpoints]
        links, variables = self._links(record, wanted, joined.endpoints)
        found = made._replace(
            addresses=addresses,
            gateway=next((text for text in gateways if text), ""),
            dns=joined.dns,
            links=links,
            variables=variables,
            reserved=joined.reserved,
        )
        return self._carry_outside(record, wanted, found, ports) if in_user else found

    def _carry_outside(
        self, record: ContainerRecord, wanted: Networking, made: Connection, ports: Sequence[PortWish]
    ) -> Connection:
        """An ordinary user's bridges lead to each other alone: the way out, and in by ports, is one for each."""
        from cais.container import carrying

        if not carrying.is_needed(self.networks.records, wanted.networks):
            return made
        try:
            carried = self._carry(record, wanted, made, ports)
        except (Denied, Unavailable, Unsupported) as error:
            if ports:
                raise
            line = f"WARNING: no network but its own bridges: {error.message}. {error.hint}".rstrip(" .") + "."
            return made._replace(warnings=(line,))
        return made._replace(gateway=carried.gateway, asks_host=True)

    def join_default(self, id: str, name: str, *, maps_host: bool = False) -> Connection:
        """A namespace on the default network, for what is no container and has a bundle ``id``. ``leave`` undoes it.

        ``maps_host``: the gateway is the host, its loopback, too, for an ordinary user. Raises Denied, Unavailable,
        Unsupported: what the host lacks.
        """
        from cais.host.namespaces import in_user_namespace

        descriptor = new_namespace()
        made = Connection(path=f"/proc/{os.getpid()}/fd/{descriptor}", descriptors=(descriptor,))
        try:
            if in_user_namespace():
                from cais.container import carrying

                carrying.begin(self.runtime.opened(id), made.path, maps_host=maps_host)
                return made._replace(gateway=carrying.GATEWAY)
            joined = self.networks.join(id, name, [wish(Attachment(DEFAULT))], descriptor)
            _check_forwarding()
        except BaseException:
            made.close()
            raise
        return made._replace(gateway=joined.endpoints[0].gateway4)

    def _carry(
        self, record: ContainerRecord, wanted: Networking, made: Connection, ports: Sequence[PortWish]
    ) -> Connection:
        from cais.container import carrying

        bundle = self.runtime.opened(record.id)
        carrying.carry(self.networks.records, record, wanted, bundle, made.path, ports)
        return made._replace(addresses=(carrying.ADDRESS,), gateway=carrying.GATEWAY)

    def where_bridges_are(self, action: Callable[[], T]) -> T:
        """root's bridges are the host's; an ordinary user's are in the network namespace that the holder keeps."""
        holder = self._holder.process()
        if holder is None:
            return action()
        from cais.network.inside import within

        try:
            descriptor = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, "open the network namespace of this user's bridges")
        try:
            return within(descriptor, action)
        finally:
            os.close(descriptor)

    def await_names(self, id: str) -> str:
        """Returns when a container finds others by their names in its networks, and they find it; what the user is to
        be told where they never will, or ""."""
        return self.where_bridges_are(lambda: self.networks.await_names(id))

    def _links(
        self, record: ContainerRecord, wanted: Networking, endpoints: Sequence[Endpoint]
    ) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Of what ``--link`` names: (address, names) for /etc/hosts, and on the default network variables."""
        found: list[tuple[str, str]] = []
        told: list[str] = []
        records = ContainerRecords(self._database)
        for attachment in wanted.networks:
            for text in attachment.links:
                name, _, alias = text.partition(":")
                needed = attachment.network == DEFAULT  # a network with names takes links to what comes later
                try:
                    other = records.get(name)
                except NotFound:
                    if needed:
                        raise
                    continue
                if not state.look(other, self.runtime, self.directory).is_up:
                    if not needed:
                        continue
                    raise Conflict(f"Cannot link to a non running container: /{other.name} AS {alias}", exit_code=125)
                mine = {endpoint.network for endpoint in endpoints}
                there = [item for item in self.networks.records.endpoints(container=other.id) if item.network in mine]
                names = " ".join(dict.fromkeys((alias, other.id[:12], other.name)))
                found += [(item.ip4 or item.ip6, names) for item in there]
                if attachment.network == DEFAULT and there:
                    from cais.container.link_variables import variables

                    plan = Plan.from_json(other.plan)
                    address = there[0].ip4 or there[0].ip6
                    told += variables(record.name, alias, address, plan.networking.exposed, plan.env)
        return tuple(found), tuple(told)

    def leave(self, id: str, *, wait: bool = True) -> None:
        """After a container's end, or instead of its start; nothing to leave is no error. ``wait`` as of networks."""
        from cais.network.records import NetworkRecords

        records = NetworkRecords(self._database)
        endpoints, ports = records.endpoints(container=id), records.held(id)
        if ports and not endpoints:
            records.forget_ports(id)
        elif endpoints:
            try:
                self.where_bridges_are(lambda: self.networks.leave(id, wait=wait))
            except CaisError:
                pass  # what is left is swept by a later command

    def sweep(self, owned: frozenset[str] = frozenset()) -> list[str]:
        """Has the containers leave whose end nobody noted; their ids. Those ``owned`` are known to be used."""
        from cais.network.records import NetworkRecords

        gone = []
        for id in sorted(NetworkRecords(self._database).containers()):
            if id not in owned and not self.is_used(id):
                self.leave(id)
                gone.append(id)
        return gone

    def is_used(self, id: str) -> bool:
        """Whether a container runs, or is being started or ended: what it has of its networks is its own."""
        return self.runtime.is_owned(id) or self.runtime.process(self.runtime.opened(id)) is not None


def _check_forwarding() -> None:
    """What is no container's has use for nothing but the way out. Raises Unavailable."""
    with open("/proc/sys/net/ipv4/ip_forward", encoding="ascii") as file:
        if file.read().strip() == "0":
            raise Unavailable(
                "this host forwards nothing, and this process may not change that",
                hint="Switch it on from outside (sysctl net.ipv4.ip_forward=1), or use --network host",
            )


def new_namespace() -> int:
    """A new network namespace with its loopback, as a descriptor. Raises Denied, Unavailable."""
    from cais.host.beside import beside

    def make() -> int:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _loopback_up()
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    try:
        return beside(make)()  # of a thread, so that this one's stays
    except PermissionError:
        raise Denied(
            "this process may not make a network (CAP_NET_ADMIN)",
            hint="Give this container CAP_NET_ADMIN (docker run --cap-add NET_ADMIN), or use --network host.",
            exit_code=125,
        )
    except OSError as error:
        raise from_os_error(error, "make a network namespace")


_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def _loopback_up() -> None:
    """netdevice(7)."""
    import fcntl
    from _socket import AF_INET, SOCK_DGRAM, socket
    from struct import pack

    asking = socket(AF_INET, SOCK_DGRAM)
    try:
        fcntl.ioctl(asking, _SIOCSIFFLAGS, pack("16sH22x", b"lo", _IFF_UP))
    finally:
        asking.close()
