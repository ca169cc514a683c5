"""A host of its own for tests that look at what is left on one: a network namespace, and a root directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from container_process import Cais, wait_until

from cais.host.processes import start_ticks

HIERARCHIES = ("/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in sorted(os.listdir("/sys/fs/cgroup"))))


class OwnHost(Cais):
    """The command on a host with no link but its loopback; ``close`` ends that, and says what stayed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._net = f"/proc/{self._holder.pid}/ns/net"
        wait_until(lambda: os.readlink(self._net) != os.readlink("/proc/self/ns/net"))
        self.on_host("ip", "link", "set", "lo", "up")

    def _inside(self, *words: str) -> list[str]:
        return ["nsenter", f"--net={self._net}", *words]

    def command(self, *words: str) -> list[str]:
        return self._inside(*super().command(*words))

    def on_host(self, *words: str) -> str:
        return subprocess.run(self._inside(*words), capture_output=True, text=True, check=True, timeout=60).stdout

    def close(self) -> None:
        """Also after a test that failed: no container goes on running, no monitor goes on writing its log."""
        if self._holder.poll() is None:
            self.end_all()
            self.power_off()

    def power_off(self) -> None:
        """All processes are gone; what stands on the disk stays."""
        own, root = os.readlink(self._net), os.fsencode(self.root)
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/net") == own or root in Path("/proc", name, "cmdline").read_bytes():
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                continue  # it has ended
        self._holder.wait()

    def machine(self) -> dict[str, object]:
        """What commands change beyond the root directory, and must put back."""
        links = [link["ifname"] for link in json.loads(self.on_host("ip", "-j", "link"))]
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(self.root) in line]
        return {
            "links": sorted(links),
            "routes": self.on_host("ip", "route").splitlines(),
            "nft": self.on_host("nft", "list", "ruleset").splitlines(),
            "mounts": mounts,
            "processes": {pid: line for pid, line in self.processes() if pid != self._holder.pid},
        }

    def processes(self) -> Iterator[tuple[int, str]]:
        """(pid, command line) of all that belongs to this host or root directory, and lives."""
        own, root = os.readlink(self._net), os.fsencode(self.root)
        for name in filter(str.isdigit, os.listdir("/proc")):
            directory = Path("/proc", name)
            try:
                line = (directory / "cmdline").read_bytes()
                here = os.readlink(directory / "ns/net") == own or root in line
                if (here or root in (directory / "mountinfo").read_bytes()) and start_ticks(int(name)) is not None:
                    yield int(name), line.replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue  # it has ended

    def alive(self) -> dict[str, set[int]]:
        """The ids of containers that have processes, by their control groups; in one that ends there may be none."""
        found: dict[str, set[int]] = {}
        for pid, _ in self.processes():
            try:
                groups = Path(f"/proc/{pid}/cgroup").read_text()
            except OSError:
                continue
            _, there, rest = groups.partition("/cais/")
            if there:
                found.setdefault(rest.splitlines()[0].partition("/")[0], set()).add(pid)
        return found

    def groups(self, ids: set[str]) -> list[str]:
        """The control groups of these containers."""
        return [path for top in HIERARCHIES for id in ids if os.path.isdir(path := f"{top}/cais/{id}")]
