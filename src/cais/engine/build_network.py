"""The network of a build's steps: each RUN is in a network namespace of its own, as a container on the default network.

A namespace is made when a step first needs one more, and lent to one step after the other; all go after the last step.
Each has a bundle, whose owner is this process: what is left of a killed build is found, and taken away, as that of a
killed container.
"""

from __future__ import annotations

import threading

from cais.errors import Denied, Unavailable, Unsupported, from_os_error
from cais.runtime.runner import Bundle, Runtime
from cais.runtime.steps import HOST_NETWORK, StepNetwork
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.container.connecting import Connection, Connections
    from cais.engine.stores import Stores


class _Made(NamedTuple):
    bundle: Bundle
    connection: Connection


class StepNetworks:
    """Implements ``cais.build.ops.run.Networks``, for many threads. ``close`` it after the last step.

    ``names_host``: steps know the host by a name (``--add-host NAME:host-gateway``). What the host lacks is told to
    ``progress`` once; then steps have the host's own network.
    """

    def __init__(self, stores: Stores, runtime: Runtime, progress: Progress, *, names_host: bool) -> None:
        self._stores = stores
        self._runtime = runtime
        self._progress = progress
        self._names_host = names_host
        self._lock = threading.Lock()
        self._free: list[StepNetwork] = []
        self._spent: list[StepNetwork] = []
        self._made: dict[StepNetwork, _Made] = {}
        # Who is first finds out what the host has, while others wait.
        self._finding_out = threading.Lock()
        self._found_out = self._lacks = False

    def lend(self) -> StepNetwork:
        """Raises Unavailable where a host that could make one cannot make another."""
        with self._lock:
            if self._free:
                return self._free.pop()
        if not self._found_out:
            with self._finding_out:
                if not self._found_out:
                    return self._first()
        return HOST_NETWORK if self._lacks else self._make()

    def _first(self) -> StepNetwork:
        try:
            network = self._make()
        except (Denied, Unavailable, Unsupported) as error:
            self._lacks = True
            network = HOST_NETWORK
            line = f"RUN uses the network of the host: {error.message}. {error.hint}".rstrip(" .") + "."
            self._progress({"event": "warning", "message": line, "line": 0})
        else:
            self._sweep()
        self._found_out = True
        return network

    def take_back(self, network: StepNetwork, *, changed: bool) -> None:
        """It is lent again, unless something of its step is left in it."""
        if network == HOST_NETWORK:
            return
        from cais.network.inside import is_silent

        silent = not changed and is_silent(self._made[network].connection.descriptors[0])
        with self._lock:
            (self._free if silent else self._spent).append(network)

    def close(self) -> None:
        """All that are there go."""
        for network in list(self._made):
            self._remove(network)

    def _make(self) -> StepNetwork:
        bundle = self._runtime.bundle()
        try:
            self._runtime.guard(bundle)
            connection = self._connections.join_default(bundle.id, f"build-{bundle.id}", maps_host=self._names_host)
        except BaseException as error:
            self._connections.leave(bundle.id)
            self._runtime.remove(bundle)
            self._runtime.forget(bundle)
            if isinstance(error, OSError):
                raise from_os_error(error, "make the network of a step")
            raise
        network = StepNetwork(connection.path, connection.gateway)
        self._made[network] = _Made(bundle, connection)
        # Not before there is another one: a bridge that nobody is in would go, and come again.
        with self._lock:
            spent, self._spent = self._spent, []
        for other in spent:
            self._remove(other)
        return network

    def _remove(self, network: StepNetwork) -> None:
        bundle, connection = self._made.pop(network)
        connection.close()
        self._connections.leave(bundle.id, wait=False)
        self._runtime.remove(bundle)
        self._runtime.forget(bundle)

    def _sweep(self) -> None:
        """What killed builds and containers hold on the host's bridges is given back."""
        from cais.host.namespaces import in_user_namespace

        if not in_user_namespace():
            self._connections.sweep()

    @property
    def _connections(self) -> Connections:
        from cais.container.connecting import Connections

        stores = self._stores
        return Connections(stores.root, stores.database, self._runtime, "", stores.holder)
