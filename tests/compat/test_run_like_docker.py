"""`run` does what Docker's does: the same output and exit code, for Cais and for a real Docker where there is one.

Where the two may differ, the case says how; everything else is one expectation for both.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.root
CHANGES = ("CMD default", "ENTRYPOINT echo entry", "ENV GREETING=hello", "WORKDIR /made/here", "VOLUME /data")


class Case(NamedTuple):
    """``flags`` and ``words`` of `run --rm --network none <flags> <image> <words>`; what must come out."""

    flags: tuple[str, ...]
    words: tuple[str, ...]
    stdout: str
    code: int = 0
    image: str = "plain"
    stdin: str = ""


def sh(script: str, stdout: str, *flags: str, code: int = 0, image: str = "plain", stdin: str = "") -> Case:
    return Case(flags, ("sh", "-c", script), stdout, code, image, stdin)


CASES = {
    "exit code": sh("exit 42", "", code=42),
    "killed inside": sh("sh -c 'kill -9 $$'; echo $?", "137\n"),
    "not found": Case((), ("nosuch",), "", 127),
    "not found by path": Case((), ("/no/such",), "", 127),
    "a directory": Case((), ("/etc",), "", 126),
    "not executable": Case((), ("/etc/passwd",), "", 126),
    "no such user": Case(("-u", "nosuch"), ("true",), "", 125),
    "no such group": Case(("-u", "ada:nosuch"), ("true",), "", 125),
    "bad volume": Case(("-v", "a:b"), ("true",), "", 125),
    "bind of nothing": Case(("--mount", "type=bind,src=/no/such,dst=/x"), ("true",), "", 125),
    "duplicate mount": Case(("-v", "aa:/x", "-v", "bb:/x"), ("true",), "", 125),
    "unknown capability": Case(("--cap-add", "fly"), ("true",), "", 125),
    "too little memory": Case(("-m", "1m"), ("true",), "", 125),
    "bad name": Case(("--name", "-x"), ("true",), "", 125),
    "no such image": Case((), ("true",), "", 125, image="sha256:" + "0" * 64),
    "user by name": sh("id -u; id -g; id -G; echo $HOME", "1000\n1000\n1000 10\n/home/ada\n", "-u", "ada"),
    "user by number": sh("id -u; id -g; echo $HOME", "4242\n0\n/\n", "-u", "4242"),
    "user and group": sh("id -u; id -g; id -G", "1000\n10\n10\n", "-u", "ada:wheel"),
    "additional group": sh("id -G", "0 10 77\n", "--group-add", "77"),
    "environment": sh(
        "env | grep -E '^(PATH|HOSTNAME|A|B|HOME)=' | sort",
        "A=1\nB=\nHOME=/root\nHOSTNAME=box\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n",
        "-e", "A=1", "-e", "B=", "-h", "box",
    ),
    "working directory is made": sh("pwd; stat -c '%a %u' /q /q/w", "/q/w\n755 0\n755 0\n", "-w", "/q/w"),
    "relative working directory": Case(("-w", "q"), ("true",), "", 125),
    "standard input": sh("cat; echo end", "one\ntwo\nend\n", "-i", stdin="one\ntwo\n"),
    "no standard input": sh("cat; echo end", "end\n", stdin="one\n"),
    "read-only root": sh("touch /x || touch /tmp/x || touch /dev/shm/x && echo shm", "shm\n", "--read-only"),
    "tmpfs": sh("touch /t/x && grep -c ' /t tmpfs rw,nosuid,nodev,noexec' /proc/mounts", "1\n",
                "--read-only", "--tmpfs", "/t"),
    "a volume is filled": sh("cat /data/seed; stat -c '%u %a' /data", "from the image\n33 750\n", "-v", "new:/data"),
    "nocopy": sh("ls /data", "", "-v", "empty:/data:nocopy"),
    "a read-only volume": sh("touch /data/x || echo no", "no\n", "-v", "new:/data:ro"),
    "anonymous volume": sh("cat /data/seed; grep -c ' /data ' /proc/mounts", "from the image\n1\n", "-v", "/data"),
    "hosts": sh("grep -c localhost /etc/hosts; grep one /etc/hosts; cat /etc/hostname", "2\n10.0.0.1\tone\nbox\n",
                "--add-host", "one:10.0.0.1", "-h", "box"),
    "capabilities": sh("grep CapEff /proc/self/status", "CapEff:\t00000000a80425fb\n"),
    "capabilities of a user": sh("grep -E 'Cap(Eff|Bnd)' /proc/self/status",
                                 "CapEff:\t0000000000000000\nCapBnd:\t00000000a80425fb\n", "-u", "1000"),
    "no capability but one": sh("grep CapEff /proc/self/status", "CapEff:\t0000000000000001\n",
                                "--cap-drop", "ALL", "--cap-add", "CHOWN"),
    "no new privileges": sh("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1\n",
                            "--security-opt", "no-new-privileges"),
    "seccomp": sh("grep -E '^Seccomp:' /proc/self/status", "Seccomp:\t2\n"),
    "no seccomp": sh("grep -E '^Seccomp:' /proc/self/status", "Seccomp:\t0\n",
                     "--security-opt", "seccomp=unconfined"),
    "devices": sh("ls /dev | grep -v core | sort | tr '\\n' ' '",
                  "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero "),
    "a device of the host": sh("mknod /tmp/d b 254 0 && head -c 1 /tmp/d >/dev/null 2>&1 || echo no", "no\n"),
    "kernel settings": sh("echo 1 > /proc/sys/kernel/printk || touch /sys/x || echo no", "no\n"),
    "masked files": sh("wc -c < /proc/timer_list; ls /sys/firmware | wc -l", "0\n0\n"),
    "shared memory": sh("df -k /dev/shm | tail -1 | awk '{print $2}'", "65536\n"),
    "only lo": sh("ls /sys/class/net; cat /sys/class/net/lo/operstate", "lo\nunknown\n"),
    "limits": sh("ulimit -n; ulimit -c", "77\n0\n", "--ulimit", "nofile=77:99", "--ulimit", "core=0"),
    "memory limit": sh("cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null; true", "67108864\n",
                       "-m", "64m"),
    "process limit": sh("cd /sys/fs/cgroup; cat pids/pids.max pids.max 2>/dev/null; true", "20\n",
                        "--pids-limit", "20"),
    "the image's own": Case((), (), "entry default\n", image="full"),
    "command replaced": Case((), ("mine",), "entry mine\n", image="full"),
    "entrypoint replaced": Case(("--entrypoint", "pwd"), (), "/made/here\n", image="full"),
    "entrypoint taken away": Case(("--entrypoint", ""), ("sh", "-c", "echo $GREETING"), "hello\n", image="full"),
    "nothing to run": Case(("--entrypoint", ""), (), "", 125, image="full"),
    "the image's volume": Case(("--entrypoint", "grep"), ("-c", " /data ", "/proc/mounts"), "1\n", image="full"),
}  # fmt: skip


class Engine:
    """A command that speaks Docker's language."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.command = command
        self.env = {**os.environ, **env}

    def __call__(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self.command, *words], env=self.env, input=stdin, capture_output=True, timeout=60)

    def prepare(self, archive: Path) -> None:
        full = [word for change in CHANGES for word in ("--change", change)]
        # Form without a shell: the image's own words.
        full = [re.sub(r"^(CMD|ENTRYPOINT) (.*)$", _as_list, word) for word in full]
        for name, changes in (("plain", []), ("full", full)):
            done = self("import", *changes, str(archive), name)
            assert done.returncode == 0, done.stderr.decode()


def _as_list(match: re.Match[str]) -> str:
    words = ", ".join(f'"{word}"' for word in match[2].split())
    return f"{match[1]} [{words}]"


@pytest.fixture(scope="module")
def archive(busybox_tar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """busybox with a directory for a volume that has an owner and a mode."""
    directory = tmp_path_factory.mktemp("archive")
    root = directory / "root"
    root.mkdir(mode=0o755)
    subprocess.run(["tar", "-C", str(root), "-xpf", str(busybox_tar)], check=True)
    os.chown(root / "data", 33, 33)
    (root / "data").chmod(0o750)
    made = directory / "image.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(made), "."], check=True)
    return made


@pytest.fixture(scope="module")
def cais(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    engine = Engine([sys.executable, "-m", "cais"], {"CAIS_ROOT": str(tmp_path_factory.mktemp("root"))})
    engine.prepare(archive)
    return engine


@pytest.fixture(scope="module")
def docker(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    client = shutil.which("docker")
    if not client or not shutil.which("dockerd"):
        pytest.skip("needs docker and dockerd (package docker.io)")
    directory = tmp_path_factory.mktemp("dockerd")
    host = f"unix://{directory}/sock"
    with open(directory / "log", "wb") as log:
        daemon = subprocess.Popen(
            ["dockerd", "--data-root", directory / "root", "--exec-root", directory / "exec", "-p", directory / "pid",
             "-H", host, "--iptables=false", "--bridge=none"],
            stdout=log, stderr=log,
        )  # fmt: skip
    deadline = time.monotonic() + 30
    engine = Engine([client, "-H", host], {"DOCKER_CONFIG": str(directory / "config")})
    try:
        while engine("version").returncode != 0:
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.skip("dockerd does not start here: " + (directory / "log").read_text()[-500:])
        engine.prepare(archive)
        yield engine
    finally:
        daemon.terminate()
        daemon.wait(30)


def run(engine: Engine, case: Case) -> tuple[str, int]:
    words = ("run", "--rm", "--network", "none", *case.flags, case.image, *case.words)
    done = engine(*words, stdin=case.stdin.encode())
    if case.code in (125, 126, 127):
        assert done.stderr, "an error that says nothing"
    return done.stdout.decode(), done.returncode


@pytest.mark.parametrize("name", CASES)
def test_cais(name: str, cais: Engine) -> None:
    case = CASES[name]
    assert run(cais, case) == (case.stdout, case.code)


# What this Docker (20.10) or this machine does otherwise, and why it is no expectation.
ELSEWHERE = {
    "bad volume": "what is no path is given to the daemon as a name, and version 20.10 takes it",
}


@pytest.mark.peer
@pytest.mark.parametrize("name", CASES)
def test_docker(name: str, docker: Engine) -> None:
    case = CASES[name]
    if name in ELSEWHERE:
        pytest.skip(ELSEWHERE[name])
    assert run(docker, case) == (case.stdout, case.code)


def test_nothing_is_left(cais: Engine) -> None:
    assert cais("ps", "-aq").stdout == b""
    assert cais("volume", "prune", "-af").returncode == 0
    assert b"0B" in cais("volume", "prune", "-af").stdout
    done = cais("system", "check")
    assert done.returncode == 0, done.stdout
