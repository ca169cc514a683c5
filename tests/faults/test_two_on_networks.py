"""Two commands at once on a container, its networks, volumes and limits: each says what it did, or why not."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from container_process import wait_until
from own_host import OwnHost

pytestmark = pytest.mark.root

# More find more, and take longer.
TURNS = int(os.environ.get("CAIS_TURNS", "1"))


@pytest.fixture(autouse=True)
def clean(host: OwnHost) -> Iterator[None]:
    before = host.machine()
    host("network", "create", "net")
    yield
    for id in host("ps", "-aq").split():
        host("rm", "-f", id)
    host("network", "rm", "-f", "net")
    host("volume", "prune", "-af")
    wait_until(lambda: host.machine() == before)
    assert host.nothing_left() and os.listdir(host.root / "containers") == []
    assert host("system", "check") == "All is well\n"


def both(host: OwnHost, *commands: tuple[str, ...]) -> list[tuple[int, str]]:
    """(exit code, what was said) of each; nobody says more than a line about what went wrong."""
    started = [host.start(*words, stderr=subprocess.STDOUT) for words in commands]
    ended = [(process.communicate(timeout=60)[0].decode(), process.returncode) for process in started]
    for words, (said, code) in zip(commands, ended, strict=True):
        assert "Traceback" not in said and "internal error" not in said, (words, said)
        assert code == 0 or said.count("Error") == 1, (words, said)
    return [(code, said) for said, code in ended]


def networks_of(host: OwnHost, name: str) -> set[str]:
    return set(host.inspect(name)["NetworkSettings"]["Networks"])


def links_inside(host: OwnHost, name: str) -> set[str]:
    return set(host("exec", name, "ls", "/sys/class/net").split()) - {"lo"}


def test_connect_and_stop(host):
    for _ in range(TURNS):
        host("run", "-d", "--name", "one", "--stop-timeout", "0", "box", "sleep", "1000")
        connect, stop = both(host, ("network", "connect", "net", "one"), ("stop", "one"))
        assert stop[0] == 0
        assert host.state("one")["Status"] == "exited"
        host("start", "one")
        assert networks_of(host, "one") == ({"bridge", "net"} if connect[0] == 0 else {"bridge"})
        assert len(links_inside(host, "one")) == len(networks_of(host, "one"))
        host("rm", "-f", "one")


def test_connect_and_start(host):
    for _ in range(TURNS):
        host("create", "--name", "one", "box", "sleep", "1000")
        connect, start = both(host, ("network", "connect", "net", "one"), ("start", "one"))
        assert (connect[0], start[0]) == (0, 0)
        assert networks_of(host, "one") == {"bridge", "net"} and len(links_inside(host, "one")) == 2
        host("rm", "-f", "one")


def test_connect_and_connect_and_disconnect(host):
    for _ in range(TURNS):
        host("run", "-d", "--name", "one", "box", "sleep", "1000")
        codes = [code for code, _ in both(host, *[("network", "connect", "net", "one")] * 2)]
        assert sorted(codes) == [0, 1]
        codes = [code for code, _ in both(host, *[("network", "disconnect", "net", "one")] * 2)]
        assert sorted(codes) == [0, 1]
        assert networks_of(host, "one") == {"bridge"} and len(links_inside(host, "one")) == 1
        host("rm", "-f", "one")


def test_connect_and_remove(host):
    for _ in range(TURNS):
        host("run", "-d", "--name", "one", "box", "sleep", "1000")
        _, remove = both(host, ("network", "connect", "net", "one"), ("rm", "-f", "one"))
        assert remove[0] == 0
        assert host("network", "inspect", "-f", "{{len .Containers}}", "net") == "0\n"


def test_a_network_is_removed_while_it_is_joined(host):
    for _ in range(TURNS):
        run, remove = both(
            host, ("run", "-d", "--name", "one", "--network", "net", "box", "sleep", "1000"), ("network", "rm", "net")
        )
        assert (run[0] == 0) != (remove[0] == 0), (run, remove)
        host("rm", "-f", "one", code=None)
        host("network", "create", "net", code=None)


def test_a_volume_is_removed_while_it_is_taken(host):
    for _ in range(TURNS):
        host("volume", "create", "data")
        run, _ = both(
            host, ("run", "-d", "--name", "one", "-v", "data:/data", "box", "sleep", "1000"), ("volume", "rm", "data")
        )
        assert run[0] == 0
        assert host("volume", "ls", "-q") == "data\n"  # kept, or made anew
        host("exec", "one", "touch", "/data/file")
        host("rm", "-f", "one")
        host("volume", "rm", "data")


def test_update_and_start_and_rename(host):
    for _ in range(TURNS):
        host("create", "--name", "one", "box", "sleep", "1000")
        results = both(host, ("update", "--memory", "64m", "--memory-swap", "64m", "one"), ("start", "one"),
                       ("update", "--restart", "always", "one"))  # fmt: skip
        assert [code for code, _ in results] == [0, 0, 0], results
        settings = host.inspect("one")["HostConfig"]
        assert settings["Memory"] == 64 << 20 and settings["RestartPolicy"]["Name"] == "always"
        path = f"/sys/fs/cgroup/memory/cais/{host.inspect('one')['Id']}/memory.limit_in_bytes"
        if os.path.exists(path):
            with open(path) as file:
                assert int(file.read()) == 64 << 20
        host("rm", "-f", "one")


def test_one_port_for_two(host):
    for _ in range(TURNS):
        run = ("-p", "18080:80", "box", "sleep", "1000")
        results = both(host, ("run", "-d", "--name", "first", *run), ("run", "-d", "--name", "second", *run))
        assert sorted(code for code, _ in results) == [0, 125]
        loser = next(said for code, said in results if code)
        assert "18080" in loser and (
            "container first" in loser or "container second" in loser or "already allocated" in loser
        )
        host("rm", "-f", "first", "second")


def test_one_name_for_two(host):
    for _ in range(TURNS):
        run = ("run", "-d", "--name", "one", "--network", "net", "box", "sleep", "1000")
        assert sorted(code for code, _ in both(host, run, run, run)) == [0, 125, 125]
        assert len(host("ps", "-aq").split()) == 1
        host("rm", "-f", "one")
