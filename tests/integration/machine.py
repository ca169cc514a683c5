"""A host of its own: namespaces of network and mounts with a neighbour outside, and the command itself there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from container_process import wait_until

from integration.command import PROJECT

HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"


class Machine:
    """A host with an outside, and a root directory; commands are root's, or those whom ``become`` makes of them."""

    def __init__(
        self,
        directory: Path,
        become: tuple[str, ...] = (),
        python: tuple[str, str] = (sys.executable, str(PROJECT / "src")),
    ) -> None:
        """``python``: an interpreter and a module path that those whom ``become`` makes are able to read."""
        self.root = directory / "root"
        self.become = become
        self.python, path = python
        self.env = {**os.environ, "CAIS_ROOT": str(self.root), "PYTHONPATH": path}
        if become:
            self.env["HOME"] = str(directory)
        holder = ["unshare", "-n", "-m", "--propagation", "private", "sleep", "infinity"]
        self.processes = [subprocess.Popen(holder) for _ in range(2)]
        self.pids = [process.pid for process in self.processes]
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: all(os.readlink(f"/proc/{pid}/ns/net") != own for pid in self.pids))
        wait_until(lambda: all(Path(f"/proc/{pid}/comm").read_text() == "sleep\n" for pid in self.pids))
        for pid in self.pids:
            self._enter(pid, "ip", "link", "set", "lo", "up")
        self.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "inner", "netns", str(self.pids[1]))
        for pid, name, address in ((self.pids[0], "uplink", HOST), (self.pids[1], "inner", OUTSIDE)):
            self._enter(pid, "ip", "address", "add", f"{address}/24", "dev", name)
            self._enter(pid, "ip", "-6", "address", "add", f"fd77::{address[-1]}/64", "dev", name, "nodad")
            self._enter(pid, "ip", "link", "set", name, "up")
        self.run("ip", "route", "add", "default", "via", OUTSIDE)

    def _enter(self, pid: int, *argv: str) -> str:
        done = subprocess.run([*self.prefix(pid), *argv], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    @staticmethod
    def prefix(pid: int) -> list[str]:
        return ["nsenter", f"--net=/proc/{pid}/ns/net", f"--mount=/proc/{pid}/ns/mnt"]

    def run(self, *argv: str) -> str:
        """A program on the host."""
        return self._enter(self.pids[0], *argv)

    def popen(self, *argv: str) -> subprocess.Popen[str]:
        """A program on the host that goes on."""
        return subprocess.Popen(
            [*self.prefix(self.pids[0]), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def options(self, *words: str | Path) -> dict[str, Any]:
        """What makes the command, as options of ``subprocess``'s calls."""
        return {"args": self.command(*words), "env": self.env}

    def command(self, *words: str | Path) -> list[str]:
        return [*self.prefix(self.pids[0]), *self.become, self.python, "-m", "cais", *map(str, words)]

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(**self.options(*words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __call__(self, *words: str | Path, code: int | None = 0) -> str:
        process = self.start(*words)
        said = process.communicate(timeout=60)[0]
        told = f"cais {' '.join(map(str, words))}: {process.returncode}\n{said}"
        assert code is None or process.returncode == code, told
        return said.strip()

    def fetch(self, url: str, *, outside: bool = False, code: int = 0) -> str:
        """What a URL says, on the host or in the neighbour."""
        argv = [*self.prefix(self.pids[1] if outside else self.pids[0]), "curl", "-gs", "--max-time", "3", url]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (code == 0), f"{url}: {done.returncode}"
        return done.stdout.strip()

    def answers(self, url: str, *, outside: bool = False) -> bool:
        """Whether somebody is there, and content, on the host or in the neighbour."""
        argv = [
            *self.prefix(self.pids[1] if outside else self.pids[0]),
            "curl",
            "-gsf",
            "--max-time",
            "3",
            "-o",
            "/dev/null",
            url,
        ]
        return subprocess.run(argv, check=False).returncode == 0

    def inspect(self, name: str) -> Any:
        return json.loads(self("container", "inspect", name))[0]

    def server(self, name: str, *words: str) -> str:
        """A container that serves its /etc by HTTP; its short id, which is what ``/hostname`` says."""
        return self("run", "-d", "--name", name, *words, "box", "httpd", "-f", "-h", "/etc")[:12]

    def left(self) -> dict[str, Any]:
        """What is on the host beside the uplink."""
        links = [link["ifname"] for link in json.loads(self.run("ip", "-j", "link"))]
        inode = os.stat(f"/proc/{self.pids[0]}/ns/net").st_ino
        return {
            "links": sorted(set(links) - {"lo", "uplink"}),
            "rules": self.run("nft", "list", "tables").splitlines(),
            "processes": [
                (pid, Path(f"/proc/{pid}/cmdline").read_bytes()[:40])
                for pid in filter(str.isdigit, os.listdir("/proc"))
                if int(pid) not in self.pids and _is_in(pid, inode)
            ],
        }

    def nothing_left(self) -> bool:
        return not any(self.left().values())

    def close(self) -> None:
        for name in self("ps", "-aq", code=None).split():
            self("rm", "-f", "-v", name, code=None)
        for process in self.processes:
            process.kill()
            process.wait()


def _is_in(pid: str, inode: int) -> bool:
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino == inode
    except OSError:
        return False
