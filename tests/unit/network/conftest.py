"""A host of one's own: a child process in a new network namespace, with containers that are namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cais.engine.stores import SCHEMA_VERSION, _schemas
from cais.host import syscalls
from cais.host.database import Database
from cais.network.inside import CLONE_NEWNET, set_sysctl, within
from cais.network.store import Networks

needs_kernel = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/usr/sbin/nft"), reason="bridges and nftables need root and nft"
)


class Host:
    """This process is in a network namespace of its own, with an address 10.9.0.1 to the outside (10.9.0.2)."""

    def __init__(self, root: Path) -> None:
        syscalls.unshare(CLONE_NEWNET)
        self.root = root
        self.networks = Networks(str(root), Database(str(root / "cais.db"), SCHEMA_VERSION, _schemas))
        self.outside = namespace()
        _run("ip link set lo up")
        _run("ip link add out type veth peer name eth0")
        _run(f"ip link set eth0 netns /proc/self/fd/{self.outside}", self.outside)
        _run("ip addr add 10.9.0.1/24 dev out")
        _run("ip link set out up")
        within(self.outside, lambda: _run("ip addr add 10.9.0.2/24 dev eth0"))
        within(self.outside, lambda: _run("ip link set eth0 up"))
        within(self.outside, lambda: _run("ip route add default via 10.9.0.1"))
        set_sysctl("net/ipv6/conf/out/disable_ipv6", "1")

    def state(self) -> str:
        """Everything of the kernel that has to be as it was: rules and bridges."""
        rules = _run("nft list ruleset")
        return rules + _run("ip -br link show type bridge") + _run("ip route").replace(" linkdown", "")


def namespace() -> int:
    """A new network namespace with loopback, as a descriptor."""
    made: list[int] = []

    def make() -> None:
        syscalls.unshare(CLONE_NEWNET)
        made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _run(command: str, *keep: int) -> str:
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, pass_fds=keep).stdout


def serve(where: int, port: int, kind: int = socket.SOCK_STREAM) -> None:
    """Answers each connection with the address that it came from."""

    def listen() -> socket.socket:
        found = socket.socket(socket.AF_INET, kind)
        found.bind(("", port))
        if kind == socket.SOCK_STREAM:
            found.listen()
        return found

    server = within(where, listen)

    def answer() -> None:
        while True:
            if kind == socket.SOCK_DGRAM:
                _, who = server.recvfrom(100)
                server.sendto(who[0].encode(), who)
                continue
            connection, who = server.accept()
            connection.sendall(who[0].encode())
            connection.close()

    threading.Thread(target=answer, daemon=True).start()


def ask(where: int | None, address: str, port: int, kind: int = socket.SOCK_STREAM, seconds: float = 20) -> str:
    """Who a server says that we are, or the error. ``seconds``: short where nobody shall be reached."""

    def connect() -> str:
        with socket.socket(socket.AF_INET, kind) as client:
            client.settimeout(seconds)
            try:
                client.connect((address, port))
                if kind == socket.SOCK_DGRAM:
                    client.send(b"?")
                return client.recv(100).decode()
            except OSError as error:
                return type(error).__name__

    return connect() if where is None else within(where, connect)


@pytest.fixture
def on_host(
    in_child: Callable[[Callable[[], object]], str], tmp_path: Path
) -> Callable[[Callable[[Host], object]], str]:
    """Runs a test's action on a host of its own, in a child."""

    def run(action: Callable[[Host], object]) -> object:
        host = Host(tmp_path)
        try:
            return action(host)
        finally:
            host.networks.sweep([])

    return lambda action: in_child(lambda: run(action))
