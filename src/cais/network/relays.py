"""Relays: ports that the kernel cannot pass on to a bridge, from IPv6's own loopback or to a container without IPv6.

For each a small program of systemd's holds the listening socket and connects to the container, as Docker's proxy does.
No file names it: it is known by a variable in its environment, so that nothing untrue is left when it ends.
"""

from __future__ import annotations

import os

from cais.errors import Unavailable, Unsupported
from cais.host.processes import detached, find_program, send_signal, start_ticks, wait_gone
from cais.network import reserve
from cais.network.programs import is_here, outlive
from cais.network.records import PublishedPort

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cais.network.wishes import PortWish

_PROGRAMS = ("/usr/lib/systemd/systemd-socket-proxyd", "/lib/systemd/systemd-socket-proxyd")
_COMMAND_NAME = b"systemd-socket-"  # as far as the kernel keeps it
_MARK = b"CAIS_RELAY="
_LISTENING = 3  # the descriptor where sd_listen_fds(3) begins
_QUEUE, _CONNECTIONS = 4096, 4096
_END_SECONDS = 5.0
_SIGKILL = 9


def check(wish: PortWish, host_ip: str) -> None:
    """Raises Unsupported (only TCP is relayed), Unavailable (the program is not installed)."""
    doing = (
        f"cannot publish the port {wish.container_port}/{wish.protocol} on [{host_ip}], where the kernel passes nothing"
    )
    if wish.protocol != "tcp":
        raise Unsupported(
            f"{doing} on to the container's network, and relays carry TCP alone",
            hint="Publish it on 127.0.0.1, or on another address of the host.",
            exit_code=125,
        )
    if not is_installed():
        raise Unavailable(
            f"{doing} on to the container's network: systemd-socket-proxyd, which relays, is not installed",
            hint="Install it (Debian: apt-get install systemd), or publish the port on 127.0.0.1.",
            exit_code=125,
        )


def take_over(root: str, table: str, ports: Sequence[PublishedPort], sockets: list[int]) -> None:
    """Relays those of ``ports`` that need it. ``sockets`` are theirs: what is a relay's is closed and taken out."""
    for place in reversed(range(len(ports))):
        if ports[place].relayed:
            start(root, table, ports[place], sockets[place])
            os.close(sockets.pop(place))


def start(root: str, table: str, port: PublishedPort, descriptor: int) -> None:
    """Begins to relay. ``descriptor`` is a socket bound to the port; the relay has one of its own.

    ``root``: nothing of what is mounted below it is kept. ``table``: what this root directory is called.
    """
    import _socket

    program = _program()
    listening = _socket.socket(fileno=os.dup(descriptor))
    try:
        # Connections that ended a moment ago keep nobody from the port, if they came with this.
        listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        listening.listen(_QUEUE)
        environment = {"LISTEN_FDS": "1", os.fsdecode(_MARK[:-1]): _mark(table, port)}
        # Without brackets: what is behind the last colon is the port.
        argv = [program, f"--connections-max={_CONNECTIONS}", f"{port.target_ip}:{port.target_port}"]

        def become() -> None:
            import resource

            outlive(root)
            os.dup2(listening.fileno(), _LISTENING)
            os.set_inheritable(_LISTENING, True)
            os.closerange(_LISTENING + 1, 1 << 16)
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            os.execve(program, argv, {**environment, "LISTEN_PID": str(os.getpid())})

        detached(become)
    finally:
        listening.close()


def revive(root: str, table: str, port: PublishedPort) -> None:
    """Relays again what a relay has left. Raises OSError where another program has the port meanwhile."""
    descriptor = reserve.bind(port.protocol, port.host_ip, port.host_port)
    try:
        start(root, table, port, descriptor)
    finally:
        os.close(descriptor)


def running(table: str) -> dict[str, list[int]]:
    """The relays of this root directory in this thread's network namespace: their marks, and their processes."""
    found: dict[str, list[int]] = {}
    ours = os.fsencode(table) + b" "
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            with open(f"/proc/{pid}/comm", "rb") as file:
                if file.read().rstrip(b"\n") != _COMMAND_NAME:
                    continue
            with open(f"/proc/{pid}/environ", "rb") as file:
                variables = file.read().split(b"\0")
        except OSError:
            continue  # it has ended
        for item in variables:
            mark = item.removeprefix(_MARK)
            if mark != item and mark.startswith(ours) and is_here(pid):
                found.setdefault(os.fsdecode(mark), []).append(pid)
    return found


def end(table: str, ports: Iterable[PublishedPort]) -> None:
    """Ends the relays of these ports, as far as there are any, and waits until the ports are free."""
    present = running(table)
    for port in ports:
        end_all(present.get(_mark(table, port), ()))


def end_all(pids: Iterable[int]) -> None:
    """Ends these processes, as ``running`` named them a moment ago."""
    for pid in pids:
        started = start_ticks(pid)
        if started is not None and send_signal(pid, _SIGKILL, started):
            wait_gone(pid, started, _END_SECONDS)


def marks(table: str, ports: Iterable[PublishedPort]) -> dict[str, PublishedPort]:
    """What the relays of these ports are known by."""
    return {_mark(table, port): port for port in ports if port.relayed}


def _mark(table: str, port: PublishedPort) -> str:
    return f"{table} {port.container} [{port.host_ip}]:{port.host_port}"


def is_installed() -> bool:
    return bool(_program())


def _program() -> str:
    return next((path for path in _PROGRAMS if os.access(path, os.X_OK)), "") or find_program("systemd-socket-proxyd")
