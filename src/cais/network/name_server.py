"""DNS in networks that users have made: aardvark-dns, which reads a file for each network and is told of changes.

One process serves all networks of a root directory. It runs while any of them has a container; one that has died is
started again by the next change. Its files follow from the records, and are written whole under a lock.

    <root>/dns/<id of the network>    addresses to listen at; for each container: id, IPv4, IPv6, names, own servers
    <root>/dns/aardvark.pid           its own
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from cais.host.files import random_name, write_all
from cais.host.locks import FileLock
from cais.host.processes import find_program, wait
from cais.network.addresses import AF_INET, parse_address
from cais.network.programs import is_here, outlive
from cais.network.records import Endpoint, Network, NetworkRecords

_PROGRAMS = ("/usr/lib/podman/aardvark-dns", "/usr/libexec/podman/aardvark-dns")
_SIGHUP, _SIGTERM = 1, 15
_PID_FILE = "aardvark.pid"
_KNOWN_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5
_STEP_SECONDS, _ANSWER_SECONDS = 0.002, 0.1
_PORT = 53
_A, _AAAA = 1, 28


def text(network: Network, endpoints: Sequence[Endpoint]) -> str:
    """aardvark-dns's file of a network. Pure."""
    lines = [",".join(str(pool.gateway) for pool in network.pools if pool.gateway is not None)]
    for item in endpoints:
        names = [name for name in item.names if name and not set(name) & set(" ,\t\n\r")]
        own = f" {','.join(item.dns)}" if item.dns else ""
        lines.append(f"{item.container} {item.ip4} {item.ip6} {','.join(names)}{own}")
    return "\n".join(lines) + "\n"


def await_known(endpoint: Endpoint, name: str) -> bool:
    """Returns when the name server of a network says this place's address to a ``name``: it reads what it is told some
    time later, and hears nobody meanwhile. Or when it has not done so for seconds. False where it never will, as
    another program has its port.
    """
    if "." in name or len(name) > 63:
        return True  # this it would ask others for, as long as it does not know it
    server, address = endpoint.gateway4 or endpoint.gateway6, parse_address(endpoint.ip4 or endpoint.ip6)
    begun = time.monotonic()
    while (waited := time.monotonic() - begun) < _KNOWN_SECONDS:
        # It keeps all names in small letters, and compares only a container's questions with them as it should.
        if address.packed in _answer(server, name.lower(), _A if address.family == AF_INET else _AAAA):
            return True
        if waited > _PATIENCE_SECONDS and _is_taken(server):
            return False
        time.sleep(_STEP_SECONDS)
    return True


def _is_taken(server: str) -> bool:
    """Whether another program listens at all addresses of this host, so that nobody can at this one."""
    address = parse_address(server)
    words = [address.packed[start : start + 4] for start in range(0, len(address.packed), 4)]
    own = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    listening: set[str] = set()
    for name in ("udp", "udp6"):
        try:
            with open(f"/proc/thread-self/net/{name}", encoding="ascii") as lines:
                listening.update(line.split()[1] for line in lines)
        except FileNotFoundError:
            continue  # a kernel without IPv6
    wildcards = {f"{zeros}:{_PORT:04X}" for zeros in ("0" * len(own), "0" * 32)}
    return f"{own}:{_PORT:04X}" not in listening and not listening.isdisjoint(wildcards)


def _answer(server: str, name: str, kind: int, seconds: float = _ANSWER_SECONDS) -> bytes:
    """What a server says to a question (RFC 1035, 4.1) for records of a ``kind``, behind the question; or nothing, in
    ``seconds``."""
    import _socket

    question = b"\0\1\1\0\0\1\0\0\0\0\0\0" + bytes((len(name),)) + name.encode() + bytes((0, 0, kind, 0, 1))
    family = _socket.AF_INET6 if ":" in server else _socket.AF_INET
    asking = _socket.socket(family, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        asking.settimeout(seconds)
        asking.connect((server, _PORT))
        asking.send(question)
        return asking.recv(512)[len(question) :]
    except OSError:
        return b""  # nobody listens just now, or what was asked is lost
    finally:
        asking.close()


class NameServer:
    """The name server of one root directory's networks: started, told of changes, ended, all by ``follow``."""

    def __init__(self, root: str, records: NetworkRecords) -> None:
        self.directory = os.path.join(root, "dns")
        self._root = root
        self._records = records

    def problem(self) -> str:
        """What is wrong with it, or ""."""
        with FileLock(os.path.join(self._root, "dns.lock")):
            wanted = self._wanted()
            if bool(self.running()) != bool(wanted) and (self._program() or not wanted):
                return "does not run" if wanted else "runs, and nobody needs it"
            try:
                known = set(os.listdir(self.directory)) - {_PID_FILE}
            except FileNotFoundError:
                known = set()
            return "knows networks that nobody is in" if known - wanted.keys() else ""

    def _wanted(self) -> dict[str, bytes]:
        """What the records say that it should know: its files."""
        wanted = {}
        for network in self._records.all():
            endpoints = self._records.endpoints(network=network.id) if network.has_names else []
            if endpoints:
                wanted[network.id] = text(network, endpoints).encode()
        return wanted

    def follow(self) -> bool:
        """Makes it know what the records say now. False where there should be one, and it is not installed."""
        with FileLock(os.path.join(self._root, "dns.lock")):
            wanted = self._wanted()
            program = self._program() if wanted else ""
            pid = self.running()
            if pid and wanted and not is_here(pid):
                _send(pid, _SIGTERM)  # of bridges that went with their holder
                pid = 0
            if not wanted or not program:
                if pid:
                    _send(pid, _SIGTERM)
                self._write({})
                return not wanted
            changed = self._write(wanted)
            if not pid:
                self._start(program)
            elif changed:
                _send(pid, _SIGHUP)
            return True

    def running(self) -> int:
        """The process that serves this root directory, or 0."""
        try:
            with open(os.path.join(self.directory, _PID_FILE), encoding="utf-8") as file:
                pid = int(file.read().strip())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                return pid if os.fsencode(self.directory) in file.read().split(b"\0") else 0
        except (OSError, ValueError):
            return 0

    def _program(self) -> str:
        return next((path for path in _PROGRAMS if os.access(path, os.X_OK)), "") or find_program("aardvark-dns")

    def _write(self, wanted: dict[str, bytes]) -> bool:
        """Whether anything has changed. Each file is made elsewhere: whatever lies in the directory is read."""
        try:
            present = set(os.listdir(self.directory))
        except FileNotFoundError:
            if not wanted:
                return False
            os.mkdir(self.directory, 0o700)
            present = set()
        changed = False
        for name in present - wanted.keys() - ({_PID_FILE} if wanted else set()):
            os.unlink(os.path.join(self.directory, name))
            changed = True
        for name, content in wanted.items():
            path = os.path.join(self.directory, name)
            if name in present:
                with open(path, "rb") as file:
                    if file.read() == content:
                        continue
            temporary = os.path.join(self._root, f".dns.{random_name(6)}")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, content)
            finally:
                os.close(descriptor)
            os.rename(temporary, path)
            changed = True
        return changed

    def _start(self, program: str) -> None:
        """It goes into the background by itself, and keeps none of the mounts of containers: it outlives them."""
        child = os.fork()
        if child:
            wait(child)
            return
        try:
            outlive(self._root)
            arguments = [program, "--config", self.directory, "--port", str(_PORT), "run"]
            os.execve(program, arguments, {"PATH": "/usr/sbin:/usr/bin"})
        finally:
            os._exit(127)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
