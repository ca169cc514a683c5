"""Containers, volumes and networks of an ordinary user whose machine has what they need: the commands, one by one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from integration.ordinary import Cais, Make, as_user, wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("conmon")]

ALONE = ("--network", "none")


@pytest.fixture(scope="module")
def user(networked: Cais) -> Cais:
    return networked


@pytest.fixture(autouse=True)
def _clean(user: Cais) -> Iterator[None]:
    """A container that a test has left does not run on without its root directory."""
    yield
    if left := user("ps", "-aq").split():
        user("rm", "-f", *left)


@pytest.fixture
def names() -> None:
    if not os.path.exists("/usr/lib/podman/aardvark-dns"):
        pytest.skip("needs aardvark-dns")


def resolved(user: Cais, name: str, network: str) -> bool:
    """Whether a container of a network finds ``name``."""
    return user.start("run", "--rm", "--network", network, "box", "nslookup", name).wait(60) == 0


def of_this(user: Cais) -> list[str]:
    """The processes that have to do with the user's root directory, and the holder."""
    found = subprocess.run(["pgrep", "-f", str(user.root)], capture_output=True, text=True).stdout.split()
    return found + (user.root / "run" / ".holder").read_text().split()


def test_commands_on_one_that_runs(user: Cais, ordinary_account: Any) -> None:
    user("run", "-d", "--name", "one", "--stop-timeout", "0", *ALONE, "box", "sh", "-c", "echo up; exec sleep 1000")
    assert user("exec", "-u", "33:44", "one", "id", "-u") == "33\n"
    user("exec", "one", "sh", "-c", "echo inside >/made; chown 1000:1000 /made")
    user("cp", "one:/made", "out")
    out = user.root.parent / "out"
    assert out.read_text() == "inside\n" and out.stat().st_uid == ordinary_account.user_id
    user("cp", "out", "one:/back")
    assert user("exec", "one", "stat", "-c", "%u", "/back", "/made") == "0\n1000\n"
    assert {"A /made", "A /back"} <= set(user("diff", "one").splitlines())
    user("export", "-o", "one.tar", "one")
    listing = subprocess.run(
        ["tar", "--numeric-owner", "-tvf", user.root.parent / "one.tar", "made"], capture_output=True, text=True
    ).stdout
    assert "1000/1000" in listing
    assert "sleep 1000" in user("top", "one")
    assert "one" in user("stats", "--no-stream", "one")
    user("container", "edit", "-e", "LEVEL=2", "one")
    assert user("exec", "one", "sh", "-c", "echo $LEVEL; cat /made") == "2\ninside\n"
    assert "sleep 1000" in user("container", "debug", "--image", "box", "one", "ps")
    user("rename", "one", "other")
    assert "--network" in user("container", "inspect", "--format", "run", "other")
    user("restart", "-t", "0", "other")
    assert user("logs", "other") == "up\nup\nup\n"
    said = user("events", "--since", "1h", "--until", "0s")
    assert all(f"container {action} " in said for action in ("start", "die", "restart", "rename", "export"))
    user("rm", "-f", "other")
    user.assert_nothing_left()


def test_limits_are_said_and_a_pause_is_refused(user: Cais) -> None:
    """Where this user may write control groups both are done."""
    said = user("run", "-d", "--name", "limited", *ALONE, "-m", "64m", "box", "sleep", "1000").splitlines()
    if len(said) == 1:
        user("pause", "limited")
        return
    assert said[0].startswith("WARNING: memory is not limited") and len(said) == 2
    refused = user("pause", "limited", code=1)
    assert "control groups" in refused and len(refused.splitlines()) == 1


def test_restarts_and_health(user: Cais) -> None:
    user("run", "-d", "--name", "again", "--restart", "on-failure:2", *ALONE, "box", "sh", "-c", "echo run; exit 3")
    flags = ("--health-cmd", "test -e /ok", "--health-interval", "100ms", "--health-retries", "1")
    user("run", "-d", "--name", "checked", *flags, *ALONE, "box", "sh", "-c", "touch /ok; exec sleep 1000")
    wait_until(lambda: "(healthy)" in user("ps"))
    user("exec", "checked", "rm", "/ok")
    wait_until(lambda: "(unhealthy)" in user("ps"))
    wait_until(lambda: user("logs", "again") == "run\n" * 3)
    user("rm", "-f", "again", "checked")
    user.assert_nothing_left()


def test_volumes_keep_owners(user: Cais) -> None:
    show = "stat -c '%u:%g %a' /v/dir /v/file"
    expected = ["33:44 2750", "1000:1000 644"]
    make = "mkdir /v/dir; echo x >/v/file; chown 33:44 /v/dir; chmod 2750 /v/dir; chown 1000:1000 /v/file"
    user.sh(make, "-v", "first:/v")
    user("volume", "clone", "first", "copied")
    user("volume", "snapshot", "first", "before")
    user.sh("rm -r /v/dir /v/file", "-v", "first:/v")
    user("volume", "restore", "first", "before")
    user("volume", "export", "-o", "first.tar", "first")
    user("volume", "import", "read", "first.tar")
    for name in ("copied", "first", "read"):
        assert user.sh(show, "-v", f"{name}:/v") == expected
    user("volume", "cp", "first:/file", "file")
    assert (user.root.parent / "file").read_text() == "x\n"
    user("volume", "create", "--uid", "1000", "--mode", "750", "owned")
    assert user.sh("stat -c '%u %a' /v", "-v", "owned:/v") == ["1000 750"]
    assert "no such ids" in user("volume", "create", "--uid", "99999999", "far", code=1)
    user("volume", "rm", "first@before")
    user("volume", "prune", "-af")
    assert user("volume", "ls", "-q") == "" and list((user.root / "volumes").iterdir()) == []


def test_names_follow_a_rename_and_check_looks_where_the_bridges_are(user: Cais, names: None) -> None:
    user("network", "create", "back")
    user("run", "-d", "--name", "web", "--network", "back", "box", "sleep", "1000")
    assert resolved(user, "web", "back") and not resolved(user, "site", "back")
    user("rename", "web", "site")
    assert resolved(user, "site", "back")
    assert user("system", "check", "--repair") == "All is well\n"
    assert resolved(user, "site", "back")
    user("rm", "-f", "site")
    user("network", "rm", "back")
    user.assert_nothing_left()


def test_internal_and_shared_networks(user: Cais) -> None:
    user("network", "create", "--internal", "inner")
    id = user("run", "-d", "--name", "web", "--network", "inner", "box", "httpd", "-f", "-h", "/etc")[:12]
    address = user("inspect", "-f", "{{.NetworkSettings.Networks.inner.IPAddress}}", "web").strip()
    holder = (user.root / "run" / ".holder").read_text().split()[0]
    flags = subprocess.run(
        ["nsenter", f"--net=/proc/{holder}/ns/net", "ip", "link", "show", "lo"], capture_output=True, text=True
    )
    assert "UP" in flags.stdout, "the name server at the bridge's own address is not heard, and each start waits for it"
    ask = "printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | nc"
    wait_until(lambda: id in user.sh(f"{ask} {address} 80; true", "--network", "inner"))
    assert id in user.sh(f"{ask} 127.0.0.1 80", "--network", "container:web")
    assert not any("default" in line for line in user.sh("ip route", "--network", "inner"))
    user("network", "create", "two")
    user("network", "connect", "two", "web")
    assert links(user, "web") >= {"eth0", "eth1", "lo"}
    user("network", "disconnect", "two", "web")
    assert links(user, "web") == {"eth0", "lo"}
    user("network", "create", "-d", "macvlan", "-o", "parent=eth0", "outer")
    assert "An ordinary user" in user("run", "--rm", "--network", "outer", "box", "true", code=125)
    user("rm", "-f", "web")
    user("network", "prune", "-f")
    user.assert_nothing_left()


def servers(user: Cais, name: str) -> list[str]:
    """What a container asks for names."""
    lines = user("exec", name, "cat", "/etc/resolv.conf").splitlines()
    return [line.split()[1] for line in lines if line.startswith("nameserver")]


def way_out(user: Cais, name: str) -> list[str]:
    """The links that a container's default routes go by."""
    return re.findall(r"^default .*dev (\S+)", user("exec", name, "ip", "route"), re.MULTILINE)


def links(user: Cais, name: str) -> set[str]:
    return set(user("exec", name, "ls", "/sys/class/net").split())


def test_the_way_out_stays_what_it_is_while_networks_come_and_go(user: Cais, names: None) -> None:
    for network in ("one", "two"):
        user("network", "create", network)
    user("run", "-d", "--name", "first", "box", "sleep", "1000")
    hosts = servers(user, "first")
    user("network", "connect", "one", "first")
    assert links(user, "first") == {"lo", "eth0", "eth1"} and way_out(user, "first") == ["eth0"]
    gateway = user("inspect", "-f", "{{.NetworkSettings.Networks.one.Gateway}}", "first").strip()
    assert servers(user, "first") == [gateway, *hosts]
    user("network", "disconnect", "one", "first")
    assert links(user, "first") == {"lo", "eth0"} and servers(user, "first") == hosts
    user("network", "disconnect", "bridge", "first")
    assert links(user, "first") == {"lo"} and way_out(user, "first") == []

    user("run", "-d", "--name", "second", "--network", "one", "--network", "two", "box", "sleep", "1000")
    assert way_out(user, "second") == ["pasta0"] and servers(user, "second")[2:] == hosts
    user("network", "disconnect", "one", "second")
    assert way_out(user, "second") == ["pasta0"] and servers(user, "second")[1:] == hosts
    user("network", "connect", "one", "second")
    assert way_out(user, "second") == ["pasta0"] and servers(user, "second")[2:] == hosts
    assert resolved(user, "second", "one")

    user("run", "-d", "--name", "third", "box", "sleep", "1000")
    user("network", "connect", "two", "third")
    user("restart", "-t", "0", "third")
    assert links(user, "third") == {"lo", "eth0", "eth1", "pasta0"} and way_out(user, "third") == ["pasta0"]
    assert resolved(user, "third", "two")
    user("rm", "-f", "first", "second", "third")
    user("network", "rm", "one", "two")
    user.assert_nothing_left()


def test_out_of_an_internal_network_by_another_one_and_back(user: Cais, names: None) -> None:
    user("network", "create", "--internal", "inner")
    user("network", "create", "outer")
    user("run", "-d", "--name", "web", "--network", "inner", "box", "sleep", "1000")
    inner = servers(user, "web")
    assert links(user, "web") == {"lo", "eth0"} and len(inner) == 1
    user("network", "connect", "outer", "web")
    assert links(user, "web") == {"lo", "eth0", "eth1", "pasta0"} and way_out(user, "web") == ["pasta0"]
    assert len(servers(user, "web")) > 2
    user("network", "disconnect", "outer", "web")
    assert links(user, "web") == {"lo", "eth0"} and way_out(user, "web") == [] and servers(user, "web") == inner
    user("rm", "-f", "web")
    user("network", "prune", "-f")
    user.assert_nothing_left()


def test_a_killed_holder_is_replaced(user: Cais, names: None) -> None:
    user("network", "create", "kept")
    user("run", "-d", "--name", "old", "--network", "kept", "box", "sleep", "1000")
    os.kill(int((user.root / "run" / ".holder").read_text().split()[0]), signal.SIGKILL)
    assert user("exec", "old", "echo", "here") == "here\n"
    user("restart", "-t", "0", "old")
    assert resolved(user, "old", "kept")
    user("rm", "-f", "old")
    user("network", "rm", "kept")
    user.assert_nothing_left()
    wait_until(lambda: not of_this(user))


def test_two_users_side_by_side(user: Cais, make: Make, ordinary_account: Any) -> None:
    """The second one has a single id."""
    prefix = as_user(ordinary_account._replace(user_id=54321, group_id=54321))
    other = make((*user.prefix[: -len(prefix)], *prefix), 54321)
    for each in (user, other):
        each("network", "create", "same")
        each("run", "-d", "--name", "same", "--network", "same", "box", "sleep", "1000")
    user("run", "-d", "--name", "web", "-p", "28474:80", "box", "sleep", "1000")
    assert "already allocated" in other("run", "--rm", "-p", "28474:80", "box", "true", code=125)
    assert "ip_unprivileged_port_start" in other("run", "--rm", "-p", "80:80", "box", "true", code=125)
    assert "1 id" in other("run", "--rm", *ALONE, "-u", "33", "box", "true", code=125)
    assert "no such ids" in other("volume", "create", "--uid", "33", code=1)
    other("rm", "-f", "same")
    other.assert_nothing_left()
    wait_until(lambda: not of_this(other))
    assert user("exec", "same", "id", "-u") == "0\n"
    user("rm", "-f", "same", "web")
    user("system", "prune", "-f")
    user.assert_nothing_left()
    wait_until(lambda: not of_this(user))


def test_root_that_may_make_no_network(make: Make) -> None:
    if not shutil.which("crun"):
        pytest.skip("needs crun")
    poor = make(("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"), 0)
    for network in ("bridge", "none"):
        said = poor("run", "--rm", "--network", network, "box", "true", code=125)
        assert "CAP_NET_ADMIN" in said and "--network host" in said and "Traceback" not in said
    assert poor.sh("echo fine", "--network", "host") == ["fine"]
    poor.assert_nothing_left()
