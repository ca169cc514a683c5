"""An ordinary user's way to the outside, and back in by published ports: pasta, one process for each container.

This user's bridges are in a network namespace of their own and lead to each other alone. pasta is given the container's
namespace mounted on a file of its bundle, and ends with that file.
"""

from __future__ import annotations

import os
import time

from cais.container.networking import DEFAULT, HOST_GATEWAY, Networking
from cais.errors import Unavailable, from_os_error
from cais.host import syscalls
from cais.network import pasta
from cais.network.inside import link_names
from cais.runtime.guardian import NETWORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cais.container.networking import Attachment
    from cais.container.records import ContainerRecord
    from cais.network.records import NetworkRecords, PublishedPort
    from cais.network.wishes import PortWish
    from cais.runtime.runner import Bundle

ADDRESS, GATEWAY = pasta.ADDRESS, pasta.GATEWAY
_END_SECONDS = 10.0
_STEP_SECONDS = 0.002


def is_needed(records: NetworkRecords, networks: Sequence[Attachment]) -> bool:
    """Whether one of these networks leads outside."""
    return any(not records.get(item.network).internal for item in networks)


def is_carried(bundle: Bundle) -> bool:
    """Whether a running container has this way out."""
    return os.path.exists(os.path.join(bundle.directory, NETWORK))


def carry(
    records: NetworkRecords,
    record: ContainerRecord,
    wanted: Networking,
    bundle: Bundle,
    namespace: str,
    ports: Sequence[PortWish] = (),
) -> None:
    """Gives the network namespace at the path ``namespace`` a way out. Raises Unavailable, Conflict (a taken port)."""
    published = pasta.publish(records, record.id, record.name, ports)
    maps_host = any(text.endswith(HOST_GATEWAY) for text in wanted.hosts)
    begin(bundle, namespace, published, interface=interface(wanted.networks), maps_host=maps_host)


def begin(
    bundle: Bundle,
    namespace: str,
    published: Sequence[PublishedPort] = (),
    *,
    interface: str = "eth0",
    maps_host: bool = False,
) -> None:
    """As ``carry``, with ports that are noted. ``maps_host``: the gateway is the host, its loopback, too."""
    path = os.path.join(bundle.directory, NETWORK)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        syscalls.mount(namespace, path, "", syscalls.MS_BIND)
    except OSError as error:
        raise from_os_error(error, "mount a network namespace")
    pasta.start(path, published, interface=interface, maps_host=maps_host)


def interface(networks: Sequence[Attachment]) -> str:
    """What the way out is called inside: it is the default network, where there is no other."""
    return "eth0" if [item.network for item in networks] == [DEFAULT] else "pasta0"


def put_down(records: NetworkRecords, record: ContainerRecord, bundle: Bundle, namespace: int) -> None:
    """Takes the way out away from a running container. Raises Unavailable where pasta does not end."""
    before = link_names(namespace)
    try:
        os.unlink(os.path.join(bundle.directory, NETWORK))
    except FileNotFoundError:
        return
    end = time.monotonic() + _END_SECONDS
    while before & link_names(namespace) == before:
        if time.monotonic() > end:
            raise Unavailable(f"pasta, which carries the network of container {record.name}, does not end")
        time.sleep(_STEP_SECONDS)
    records.forget_ports(record.id)
