"""The network of RUN: builds on a host of their own (a network namespace), with a neighbour outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from container_process import wait_until

from integration.machine import HOST, OUTSIDE, Machine
from integration.ordinary import as_user
from integration.programs import give_tun

pytestmark = pytest.mark.root

SERVER = """import socket, sys
server = socket.create_server((sys.argv[1], 0))
print(server.getsockname()[1], flush=True)
while True:
    connection, who = server.accept()
    with connection:
        connection.sendall(who[0].encode())
"""


class Builds(Machine):
    """A host, and builds there."""

    def write(self, text: str) -> Path:
        context = self.root.parent / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(text)
        return context

    def build(self, text: str, *words: str, code: int = 0) -> str:
        """What it said."""
        return self("build", "--progress=plain", "--no-cache", *words, self.write(text), code=code)

    def said(self, script: str, *words: str, flags: str = "") -> list[str]:
        """The lines that one RUN says."""
        out = self.root.parent / "out"
        text = f"FROM box AS run\nRUN {flags} ({script}) >/said\nFROM scratch\nCOPY --from=run /said /\n"
        self.build(text, "-o", str(out), *words)
        return (out / "said").read_text().splitlines()

    @contextlib.contextmanager
    def server(self, address: str, *, outside: bool = False) -> Iterator[int]:
        """Somebody who tells callers where they come from, on the host or in its neighbour; the port."""
        argv = [*self.prefix(self.pids[1] if outside else self.pids[0]), sys.executable, "-c", SERVER, address]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                yield int(process.stdout.readline())
            finally:
                process.kill()

    def begin(self, text: str) -> subprocess.Popen[str]:
        """A build that is in a step which has said "ready"."""
        process = self.start("build", "--progress=plain", "--no-cache", self.write(text))
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith(" ready\n") and "RUN" not in line:
                return process
        raise AssertionError("the build ended before its step was ready")


@contextlib.contextmanager
def made(busybox_tar: Path, programs: tuple[str, ...], **options: Any) -> Iterator[Builds]:
    for program in ("ip", "nft", "crun", *programs):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    directory = Path(tempfile.mkdtemp(prefix="cais-builds-", dir="/var/tmp"))
    directory.chmod(0o755)
    machine = Builds(directory, **options)
    try:
        if machine.become:
            account = options["become"][1].partition("=")[2]
            os.chown(directory, int(account), int(account))
            give_tun(machine, directory)
        machine("import", str(shutil.copy(busybox_tar, directory)), "box")
        yield machine
    finally:
        machine.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def as_root(busybox_tar: Path) -> Iterator[Builds]:
    with made(busybox_tar, ()) as machine:
        yield machine


@pytest.fixture(scope="module")
def as_ordinary(busybox_tar: Path, ordinary_account: Any, python: tuple[str, str]) -> Iterator[Builds]:
    with made(busybox_tar, ("pasta", "setpriv"), become=as_user(ordinary_account), python=python) as machine:
        yield machine


@pytest.fixture
def host(as_root: Builds) -> Iterator[Builds]:
    """The machine; after a test nothing of a build may be left on it."""
    yield as_root
    wait_until(as_root.nothing_left)


@pytest.fixture(params=["as_root", "as_ordinary"])
def anybody(request: pytest.FixtureRequest) -> Iterator[Builds]:
    machine: Builds = request.getfixturevalue(request.param)
    yield machine
    wait_until(machine.nothing_left)


def ask(address: str, port: int) -> str:
    """A script that says who a server says that it is."""
    # Its input does not end: the pasta of Debian 12 forgets connections that are half closed.
    return f"[ -p /f ] || mkfifo /f; echo $(nc -w 3 {address} {port} <>/f 2>&- || echo nobody)"


def test_the_loopback_of_the_host_is_out_of_reach(anybody: Builds) -> None:
    with anybody.server("127.0.0.1") as port:
        assert anybody.said(ask("127.0.0.1", port)) == ["nobody"]
        assert anybody.said(ask("127.0.0.1", port), "--network", "host") == ["127.0.0.1"]
        step = f"FROM box\nRUN --network=host test $({ask('127.0.0.1', port)}) = 127.0.0.1\n"
        assert "network.host is not allowed" in anybody.build(step, code=1)
        anybody.build(step, "--allow", "network.host")


def test_the_outside_and_the_host_are_reached(anybody: Builds) -> None:
    with anybody.server(OUTSIDE, outside=True) as far, anybody.server(HOST) as near, anybody.server("") as any_address:
        script = f"{ask(OUTSIDE, far)}; {ask(HOST, near)}; {ask('host', any_address)}; ip route"
        first, second, third, route, *_ = anybody.said(script, "--add-host", "host:host-gateway")
    assert first == HOST  # the addresses of steps do not leave the host
    assert "nobody" not in (second, third) and route.startswith("default via ")


def test_no_network_is_none(anybody: Builds) -> None:
    assert anybody.said("ls /sys/class/net", flags="--network=none") == ["lo"]
    assert anybody.said("ls /sys/class/net", "--network", "none") == ["lo"]
    assert anybody.said("ls /sys/class/net") == ["eth0", "lo"]


def test_steps_side_by_side_bind_the_same_port(anybody: Builds) -> None:
    """Each is there as long as the other, and is answered by itself."""
    step = (
        "RUN --mount=type=cache,target=/words echo {0} | nc -l -p 7000 >/asked & : >/words/{0}; n=0; "
        "until [ -e /words/{1} ]; do sleep 0.01; n=$((n+1)); [ $n -lt 2000 ] || exit 9; done; "
        "mkfifo /f; until nc 127.0.0.1 7000 <>/f >/said; do n=$((n+1)); [ $n -lt 2000 ] || exit 9; done\n"
    )
    out = anybody.root.parent / "both"
    anybody.build(
        "FROM box AS one\n" + step.format("one", "two") + "FROM box AS two\n" + step.format("two", "one")
        + "FROM scratch\nCOPY --from=one /said /one\nCOPY --from=two /said /two\n",
        "-o", str(out),
    )  # fmt: skip
    assert [(out / name).read_text() for name in ("one", "two")] == ["one\n", "two\n"]


def places(host: Builds, steps: list[str], *words: str) -> list[str]:
    """Where steps are that follow one another: the number of the link on the host, which none has again."""
    say = "cat /sys/class/net/eth0/iflink >>/said 2>&- || echo host >>/said"
    lines = [f"RUN {step.format(say=say)}" for step in steps]
    out = host.root.parent / "out"
    text = "\n".join(["FROM box AS run", *lines, "FROM scratch", "COPY --from=run /said /\n"])
    host.build(text, "-o", str(out), *words)
    return (out / "said").read_text().splitlines()


def test_a_namespace_is_used_again_unless_something_is_left_in_it(host: Builds) -> None:
    found = places(
        host,
        [
            "{say}", "{say}", "--network=host {say}", "{say}; sleep 1000 &", "{say}",
            # It changes what it may change; who comes next does not find it.
            "--security=insecure {say}; ip address add 10.7.7.7/32 dev lo",
            "{say}; ! ip address | grep 10.7.7.7",
            # Who closes a connection first keeps its port for a minute.
            "{say}; nc -l -p 7000 </dev/null & until nc 127.0.0.1 7000 >/dev/null </dev/null; do :; done; wait",
            "{say}; echo 2 | nc -l -p 7000 & mkfifo /f; until nc 127.0.0.1 7000 <>/f >/got; do :; done; grep 2 /got",
        ],
        "--allow", "network.host,security.insecure",
    )  # fmt: skip
    one, other = found[0], found[6]
    assert found == [one, one, "host", one, one, one, other, other, found[8]]
    assert len({one, other, found[8]}) == 3


def test_names_are_asked_of_servers_that_can_be_reached(anybody: Builds) -> None:
    conf = anybody.root.parent / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nnameserver 198.51.100.2\nsearch example.com\n")
    anybody.run("mount", "--bind", str(conf), os.path.realpath("/etc/resolv.conf"))
    try:
        assert anybody.said("cat /etc/resolv.conf") == ["nameserver 198.51.100.2", "search example.com"]
        assert anybody.said("cat /etc/resolv.conf", "--network=host") == conf.read_text().splitlines()
    finally:
        anybody.run("umount", os.path.realpath("/etc/resolv.conf"))


def test_what_the_host_lacks_is_said_once_and_steps_have_its_own_network(as_root: Builds, as_ordinary: Builds) -> None:
    text = "FROM box AS one\nRUN readlink /proc/self/ns/net\nFROM box\nRUN readlink /proc/self/ns/net && true\n"
    text += "COPY --from=one /etc/group /\n"
    for machine, hidden, lacking in (
        (as_root, shutil.which("nft"), "nft is not installed"),
        (as_ordinary, shutil.which("pasta"), "pasta is not installed"),
        (as_ordinary, "/dev/net/tun", "/dev/net/tun cannot be opened by this user"),
    ):
        own = os.readlink(f"/proc/{machine.pids[0]}/ns/net")
        empty = machine.root.parent / "empty"
        empty.touch(0o600)
        machine.run("mount", "--bind", str(empty), str(hidden))
        try:
            said = machine.build(text)
            assert said.count("RUN uses the network of the host: ") == 1 and lacking in said, said
            assert said.count(own) == 2, said
            # Nobody looks for what nobody needs: where the user wants it so, and where nothing runs.
            assert "RUN uses" not in machine.build(text, "--network", "host")
            machine("build", "-q", machine.write(text))
            assert "RUN uses" not in machine("build", "--progress=plain", machine.write(text))
        finally:
            machine.run("umount", str(hidden))
        wait_until(machine.nothing_left)


def test_without_the_right_to_make_networks_steps_have_the_hosts(host: Builds) -> None:
    argv = host.command("build", "--progress=plain", "--no-cache", host.write("FROM box\nRUN ls /sys/class/net\n"))
    position = argv.index(host.python)
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    argv[position:position] = drop
    done = subprocess.run(argv, env=host.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " uplink\n" in done.stderr, done.stderr
    assert done.stderr.count("RUN uses the network of the host: this process may not make a network") == 1


def test_a_failed_step_leaves_nothing(anybody: Builds) -> None:
    assert "exit code: 7" in anybody.build("FROM box\nRUN exit 7\n", code=1)


def test_an_interrupted_build_leaves_nothing(anybody: Builds) -> None:
    process = anybody.begin("FROM box\nRUN echo ready; sleep 1000\n")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130


TWO = "FROM box AS one\nRUN : >/one; sleep 1000\nFROM box\nRUN echo ready; sleep 1000\nCOPY --from=one /one /\n"


@pytest.mark.parametrize("mend", ["check", "build"])
def test_nothing_is_left_of_a_killed_build(anybody: Builds, mend: str) -> None:
    process = anybody.begin(TWO)
    process.kill()
    process.communicate(timeout=60)
    if mend == "check":
        # What the build has started ends by itself.
        wait_until(lambda: not anybody.left()["processes"])
        anybody("system", "check", "--repair", code=None)
        wait_until(anybody.nothing_left)
        assert anybody("system", "check") == "All is well"
    else:
        anybody.build("FROM box\nRUN true\n")


def test_a_shell_of_a_step_is_on_its_network(anybody: Builds) -> None:
    anybody.build("FROM box\nRUN true\n")
    with anybody.server("127.0.0.1") as port:
        script = f"{ask('127.0.0.1', port)}; ls /sys/class/net"
        assert anybody("builder", "debug", "2", "--command", script).split() == ["nobody", "eth0", "lo"]


def test_targets_of_bake_have_networks(host: Builds) -> None:
    context = host.write("FROM box AS first\nRUN ip route >/one\nFROM first AS second\nRUN ip route | grep default\n")
    bake = context / "docker-bake.json"
    targets = {name: {"context": str(context), "target": name} for name in ("first", "second")}
    bake.write_text(json.dumps({"group": {"default": {"targets": list(targets)}}, "target": targets}))
    host("builder", "bake", "--allow=fs=*", "-f", bake)
