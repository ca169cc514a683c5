"""Containers on networks: the command itself on a host of its own (a network namespace), with a neighbour outside."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from container_process import wait_until

from integration.machine import HOST, OUTSIDE, Machine

pytestmark = pytest.mark.root

PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
RELAYED = ("-p", "[::1]:8080:80") if os.access(PROXY, os.X_OK) else ()


@pytest.fixture(scope="module")
def machine(busybox_tar: Path) -> Iterator[Machine]:
    for program in ("nft", "ip", "curl", "crun", "conmon"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    directory = Path(tempfile.mkdtemp(prefix="cais-networks-", dir="/var/tmp"))
    made = Machine(directory)
    try:
        made("import", str(busybox_tar), "box")
        yield made
    finally:
        made.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def host(machine: Machine) -> Iterator[Machine]:
    """The machine; everything a test has made is removed, and then nothing of it may be left."""
    yield machine
    for name in machine("ps", "-aq").split():
        machine("rm", "-f", "-v", name)
    machine("network", "prune", "-f")
    wait_until(machine.nothing_left)


def test_a_published_port_is_reached_from_everywhere(host: Machine) -> None:
    web = host.server("web", "-p", "8080:80", "-p", "127.0.0.1:8081:80")
    assert host.fetch("http://127.0.0.1:8080/hostname") == web
    assert host.fetch(f"http://{HOST}:8080/hostname") == web
    assert host.fetch(f"http://{HOST}:8080/hostname", outside=True) == web
    assert host.fetch("http://127.0.0.1:8081/hostname") == web
    assert host.fetch("http://localhost:8081/hostname") == web
    host.fetch(f"http://{HOST}:8081/hostname", outside=True, code=1)
    # From a neighbour, and from itself, by the host's address.
    script = f"timeout 3 wget -qO- http://{HOST}:8080/hostname"
    assert host("run", "--rm", "box", "sh", "-c", script) == web
    assert host("exec", "web", "sh", "-c", script) == web
    assert host("port", "web").splitlines() == ["80/tcp -> 0.0.0.0:8080", "80/tcp -> 127.0.0.1:8081"]
    assert host("ps", "--format", "{{.Ports}}") == "0.0.0.0:8080->80/tcp, 127.0.0.1:8081->80/tcp"


def awaited(host: Machine, url: str, *, outside: bool = False) -> str:
    """What a URL says: who has just started need not listen yet."""
    wait_until(lambda: host.answers(url, outside=outside))
    return host.fetch(url, outside=outside)


def relays(host: Machine) -> list[int]:
    return [int(pid) for pid, words in host.left()["processes"] if PROXY.encode() in words]


def test_ports_that_the_kernel_does_not_pass_on_are_relayed(host: Machine) -> None:
    if not RELAYED:
        pytest.skip(f"needs {PROXY} (package systemd)")
    web = host.server("web", "-p", "[::1]:8080:80", "-p", "[::]:8081:80", "-p", "8082:80")
    assert awaited(host, "http://[::1]:8080/hostname") == web
    host.fetch("http://[fd77::1]:8080/hostname", outside=True, code=1)
    assert awaited(host, "http://[::1]:8081/hostname") == web
    assert awaited(host, "http://[fd77::1]:8081/hostname", outside=True) == web
    assert set(host("port", "web", "80").splitlines()) == {"[::1]:8080", "[::]:8081", "0.0.0.0:8082"}
    host("restart", "-t", "0", "web")
    assert awaited(host, "http://[::1]:8080/hostname") == web
    os.kill(relays(host)[0], signal.SIGKILL)
    wait_until(lambda: len(relays(host)) == 1)
    assert "does not run" in host("system", "check", "--repair", code=None)
    wait_until(lambda: len(relays(host)) == 2)
    assert awaited(host, "http://[::1]:8080/hostname") == web
    assert awaited(host, "http://[::1]:8081/hostname") == web
    assert "relays carry TCP alone" in host("run", "--rm", "-p", "[::1]:53:53/udp", "box", "true", code=125)
    host("run", "--rm", "-p", "[::1]:8090:80", "box", "/nothing", code=127)
    assert len(relays(host)) == 2


def test_ranges_random_ports_and_udp(host: Machine) -> None:
    host.server("web", "-p", "9000-9002:90-92", "-p", "80", "-p", "5353:53/udp", "--expose", "70-71")
    found = host.inspect("web")["NetworkSettings"]["Ports"]
    assert {target: [item["HostPort"] for item in items or ()] for target, items in found.items()} == {
        "90/tcp": ["9000"], "91/tcp": ["9001"], "92/tcp": ["9002"], "53/udp": ["5353"], "70/tcp": [], "71/tcp": [],
        "80/tcp": [found["80/tcp"][0]["HostPort"]],
    }  # fmt: skip
    assert host.fetch(f"http://127.0.0.1:{found['80/tcp'][0]['HostPort']}/hostname")
    assert host("ps", "-q", "--filter", "publish=9001") and not host("ps", "-q", "--filter", "publish=9003")
    assert host("ps", "-q", "--filter", "expose=70") and not host("ps", "-q", "--filter", "network=none")


ECHO = """import socket
echo = socket.socket(type=socket.SOCK_DGRAM)
echo.bind(("", 53))
while True:
    echo.sendto(*echo.recvfrom(9))
"""
ASK = """import socket, sys
asking = socket.socket(type=socket.SOCK_DGRAM)
asking.settimeout(0.5)
asking.sendto(b"echo", (sys.argv[1], 5354))
print(asking.recv(9).decode())
"""


def test_datagrams(host: Machine) -> None:
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("needs a Python of the system, to be run in a container")
    binds = [word for path in ("/usr", "/lib", "/lib64") for word in ("-v", f"{path}:{path}:ro")]
    host("run", "-d", "-p", "5354:53/udp", *binds, "box", "/usr/bin/python3", "-c", ECHO)

    def answered(pid: int, address: str) -> bool:
        argv = [*host.prefix(pid), sys.executable, "-c", ASK, address]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout == "echo\n"

    wait_until(lambda: answered(host.pids[1], HOST))
    wait_until(lambda: answered(host.pids[0], "127.0.0.1"))


def test_all_exposed_ports_are_published(host: Machine) -> None:
    web = host.server("web", "-P", "--expose", "80-81")
    ports = host.inspect("web")["NetworkSettings"]["Ports"]
    assert sorted(ports) == ["80/tcp", "81/tcp"]
    assert host.fetch(f"http://127.0.0.1:{ports['80/tcp'][0]['HostPort']}/hostname") == web


def test_taken_ports_are_named_with_who_has_them(host: Machine) -> None:
    host.server("web", "-p", "8080:80")
    said = host("run", "--rm", "-p", "8080:80", "box", "true", code=125)
    assert "0.0.0.0:8080 failed: port is already allocated" in said and "web" in said
    argv = [*host.prefix(host.pids[0]), sys.executable, "-c"]
    program = "import socket,sys; s=socket.create_server(('0.0.0.0', 7777)); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([*argv, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as listening:
        assert listening.stdout is not None and listening.stdin is not None
        listening.stdout.readline()
        said = host("run", "--rm", "-p", "7777:80", "box", "true", code=125)
        listening.stdin.close()
    assert "already allocated" in said and str(listening.pid) in said
    assert host("ps", "-aq", "--filter", "name=web") and len(host("ps", "-aq").split()) == 1


ANSWERS = """import socket, sys
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    asked, who = server.recvfrom(512)
    answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\0\\0\\4" + socket.inet_aton(sys.argv[2])
    end = asked.index(b"\\0", 12) + 5
    is_a = asked[end - 3] == 1
    header = asked[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([is_a]) + b"\\0\\0\\0\\0"
    server.sendto(header + asked[12:end] + (answer if is_a else b""), who)
"""


@contextmanager
def answering(host: Machine, answer: str, address: str = OUTSIDE) -> Iterator[None]:
    """A name server in the neighbour, or on the host: whatever is asked is at ``answer``."""
    argv = [*host.prefix(host.pids[address == OUTSIDE]), sys.executable, "-c", ANSWERS, address, answer]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


@contextmanager
def asked_by_the_host(host: Machine, address: str) -> Iterator[None]:
    """The host's own name server is at ``address``."""
    path = host.root.with_name("resolv.conf")
    path.write_text(f"nameserver {address}\n")
    host.run("mount", "--bind", str(path), "/etc/resolv.conf")
    try:
        yield
    finally:
        host.run("umount", "/etc/resolv.conf")


def test_names_and_aliases(host: Machine) -> None:
    if not Path("/usr/lib/podman/aardvark-dns").exists():
        pytest.skip("needs aardvark-dns (package aardvark-dns)")
    host("network", "create", "back")
    host.server("db", "--network", "back", "--network-alias", "store", "-h", "tall")
    address = host("inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", "db")
    for name in ("db", "store", "tall"):
        assert address in host("run", "--rm", "--network", "back", "box", "nslookup", name)
    with answering(host, "192.0.2.78"), asked_by_the_host(host, OUTSIDE):
        assert address not in host("run", "--rm", "box", "nslookup", "-type=a", "db")
    known = host.inspect("db")["NetworkSettings"]["Networks"]["back"]
    assert known["Aliases"] == ["store"] and set(known["DNSNames"]) >= {"db", "store", "tall"}


def test_servers_of_a_containers_own_are_asked_for_what_is_outside(host: Machine) -> None:
    if not Path("/usr/lib/podman/aardvark-dns").exists():
        pytest.skip("needs aardvark-dns (package aardvark-dns)")
    host("network", "create", "back")
    host("network", "create", "--subnet", "10.93.0.0/24", "late")
    ask = ("nslookup", "-type=a", "far.example.org")
    own, hosts = "192.0.2.77", "192.0.2.78"
    with answering(host, own), answering(host, hosts, "127.0.0.53"), asked_by_the_host(host, "127.0.0.53"):
        host.server("db", "--network", "back", "--dns", "127.0.0.1", "--dns", OUTSIDE)
        assert own in host("exec", "db", *ask)
        # The others are not sent there, and it finds them by name as before.
        assert hosts in host("run", "--rm", "--network", "back", "box", *ask)
        assert host("run", "--rm", "--network", "back", "--dns", OUTSIDE, "box", "nslookup", "-type=a", "db")
        # Also in a network that it joins later; what is on its loopback nobody else can ask.
        host("network", "disconnect", "back", "db")
        host("network", "connect", "late", "db")
        assert own in host("exec", "db", *ask)
        assert host.inspect("db")["HostConfig"]["Dns"] == ["127.0.0.1", OUTSIDE]


def test_a_host_where_another_name_server_has_the_port(host: Machine) -> None:
    if not Path("/usr/lib/podman/aardvark-dns").exists():
        pytest.skip("needs aardvark-dns (package aardvark-dns)")
    host("network", "create", "back")
    with answering(host, "192.0.2.77", "0.0.0.0"):
        said = host("run", "--rm", "--network", "back", "box", "echo", "works")
        assert said.endswith("works") and "another program has UDP port 53 of 172." in said, said
    assert host("run", "--rm", "--network", "back", "box", "echo", "works") == "works"


def test_names_are_found_however_they_are_written(host: Machine) -> None:
    if not Path("/usr/lib/podman/aardvark-dns").exists():
        pytest.skip("needs aardvark-dns (package aardvark-dns)")
    host("network", "create", "back")
    host.server("Web", "--network", "back", "--network-alias", "Front")
    address = host("inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", "Web")
    script = "for name in Web web WEB Front front; do nslookup -type=a $name; done"
    assert host("run", "--rm", "--network", "back", "box", "sh", "-c", script).count(address) == 5


def test_networks_are_apart(host: Machine) -> None:
    for words in (("one",), ("two",), ("--internal", "inner")):
        host("network", "create", *words)
    web = host.server("web", "--network", "one", "--network", "inner")
    addresses = {name: item["IPAddress"] for name, item in host.inspect("web")["NetworkSettings"]["Networks"].items()}
    assert set(addresses) == {"one", "inner"}
    for network, address, code in (("one", addresses["one"], 0), ("two", addresses["one"], 1),
                                   ("inner", addresses["inner"], 0), ("bridge", addresses["one"], 1)):  # fmt: skip
        # Not as the first process, which would not be ended by a signal.
        script = f"timeout 2 wget -qO- http://{address}/hostname || exit 1"
        said = host("run", "--rm", "--network", network, "box", "sh", "-c", script, code=code)
        assert (web in said) == (code == 0)
    outside = ("ping", "-c1", "-W2", OUTSIDE)
    host("run", "--rm", "--network", "one", "box", *outside)
    host("run", "--rm", "--network", "inner", "box", *outside, code=1)


def test_static_addresses(host: Machine) -> None:
    host("network", "create", "--subnet", "10.91.0.0/24", "--ipv6", "--subnet", "fd91::/64", "fixed")
    words = ("--network", "fixed", "--ip", "10.91.0.77", "--ip6", "fd91::77", "--mac-address", "02:42:aa:bb:cc:dd")
    web = host.server("web", *words, "-p", "8080:80")
    seen = host("exec", "web", "ip", "address", "show", "eth0")
    assert all(word in seen for word in ("10.91.0.77/24", "fd91::77/64", "02:42:aa:bb:cc:dd"))
    assert host.fetch("http://[fd77::1]:8080/hostname", outside=True) == web
    assert "in use" in host("run", "--rm", "--network", "fixed", "--ip", "10.91.0.77", "box", "true", code=125)
    # From there the kernel passes nothing on: refused at once, so that a program goes on to 127.0.0.1.
    argv = [*host.prefix(host.pids[0]), "curl", "-gs", "--max-time", "3", "http://[::1]:8080/hostname"]
    assert subprocess.run(argv, check=False).returncode == 7
    if RELAYED:
        six = host.server("six", "--network", "fixed", "-p", "[::1]:8090:80")
        assert awaited(host, "http://[::1]:8090/hostname") == six
    host("stop", "-t", "0", "web")
    host("start", "web")
    network = host.inspect("web")["NetworkSettings"]["Networks"]["fixed"]
    assert network["IPAddress"] == "10.91.0.77" and network["GlobalIPv6Address"] == "fd91::77"
    assert network["IPAMConfig"] == {"IPv4Address": "10.91.0.77", "IPv6Address": "fd91::77"}


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_a_container_on_the_hosts_own_network(host: Machine, driver: str) -> None:
    parent = ("-o", "parent=uplink", "--subnet", "198.51.100.0/24", "--gateway", OUTSIDE)
    host("network", "create", "-d", driver, *parent, "own")
    on = ("--network", "own", "--ip", "198.51.100.77", "box")
    said = host("run", "--rm", *on, "ping", "-c1", "-W2", OUTSIDE, code=None)
    if "the kernel of this host has no" in said:
        assert f"modprobe {driver}" in said
        pytest.skip(f"the kernel has no {driver}")
    assert "1 packets received" in said
    web = host("run", "-d", "--name", "web", *on, "httpd", "-f", "-h", "/etc")[:12]
    wait_until(lambda: host.answers("http://198.51.100.77/hostname", outside=True))
    assert host.fetch("http://198.51.100.77/hostname", outside=True) == web
    assert host.inspect("web")["NetworkSettings"]["Networks"]["own"]["IPAddress"] == "198.51.100.77"


def test_another_containers_network(host: Machine) -> None:
    web = host.server("web", "-p", "8080:80", "--add-host", "x:192.0.2.1", "--dns", "192.0.2.53")
    script = "hostname; timeout 3 wget -qO- http://127.0.0.1/hostname; cat /etc/hosts /etc/resolv.conf"
    said = host("run", "--rm", "--network", "container:web", "box", "sh", "-c", script)
    assert said.splitlines()[:2] == [web, web] and "192.0.2.1\tx" in said and "nameserver 192.0.2.53" in said
    host("stop", "-t", "0", "web")
    assert "non running container" in host("run", "--rm", "--network", "container:web", "box", "true", code=125)
    assert "No such container: nobody" in host("run", "--rm", "--network", "container:nobody", "box", "true", code=125)


def test_host_and_none(host: Machine) -> None:
    assert "uplink" in host("run", "--rm", "--network", "host", "box", "ip", "link")
    said = host("run", "--rm", "--network", "host", "-p", "80:80", "box", "hostname")
    assert said.splitlines() == [
        "WARNING: Published ports are discarded when using host network mode", os.uname().nodename
    ]  # fmt: skip
    links = host("run", "--rm", "--network", "none", "box", "ip", "-o", "link").splitlines()
    assert len(links) == 1 and "lo:" in links[0]
    assert host.nothing_left()


def test_hosts_names_and_links(host: Machine) -> None:
    host.server("web")
    words = ("-h", "a", "--domainname", "example.org", "--add-host", "up:host-gateway", "--link", "web:db")
    script = "cat /etc/hosts; hostname -f; timeout 3 wget -qO- http://db/hostname"
    lines = host("run", "--rm", *words, "box", "sh", "-c", script).splitlines()
    web = host.inspect("web")["NetworkSettings"]
    assert f"{web['IPAddress']}\tdb {host.inspect('web')['Id'][:12]} web" in lines
    assert f"{web['Gateway']}\tup" in lines
    assert any(line.endswith("\ta.example.org a") for line in lines)
    assert lines[-2:] == ["a.example.org", host.inspect("web")["Id"][:12]]


def test_variables_of_links(host: Machine) -> None:
    other = host.server("web", "--expose", "80-82", "-e", "COLOUR=red")
    address = host.inspect("web")["NetworkSettings"]["IPAddress"]
    host(
        "run", "-d", "--name", "app", "--link", "web:my-db", "-e", "MY_DB_PORT_81_TCP_PORT=own", "box", "sleep", "1000"
    )
    for words in (("exec", "app", "env"), ("run", "--rm", "--name", "front", "--link", "web:my-db", "box", "env")):
        seen = host(*words).splitlines()
        assert f"MY_DB_PORT=tcp://{address}:80" in seen and "MY_DB_ENV_COLOUR=red" in seen
        assert f"MY_DB_PORT_80_TCP_END=tcp://{address}:82" in seen
        assert f"MY_DB_NAME=/{'app' if words[0] == 'exec' else 'front'}/my-db" in seen
        assert ("MY_DB_PORT_81_TCP_PORT=own" in seen) == (words[0] == "exec")
    host("rm", "-f", other)


def test_connect_and_disconnect_while_it_runs(host: Machine) -> None:
    host("network", "create", "--subnet", "10.92.0.0/24", "late")
    host.server("web")
    host("network", "connect", "--ip", "10.92.0.9", "--alias", "w", "late", "web")
    assert "10.92.0.9/24" in host("exec", "web", "ip", "-o", "address", "show", "eth1")
    assert "10.92.0.9" in host("exec", "web", "cat", "/etc/hosts")
    assert host("run", "--rm", "--network", "late", "box", "wget", "-qO-", "http://10.92.0.9/hostname")
    assert "already exists in network late" in host("network", "connect", "late", "web", code=None)
    host("restart", "-t", "0", "web", code=None)
    host("network", "disconnect", "bridge", "web")
    seen = host("exec", "web", "ip", "-o", "-4", "address")
    assert "10.92.0.9/24" in seen and "172." not in seen
    assert list(host.inspect("web")["NetworkSettings"]["Networks"]) == ["late"]
    host("stop", "-t", "0", "web")
    host("network", "connect", "bridge", "web")
    host("start", "web")
    assert set(host.inspect("web")["NetworkSettings"]["Networks"]) == {"late", "bridge"}


def test_published_ports_follow_a_container_through_its_networks(host: Machine) -> None:
    for name, words in (("one", ()), ("two", ()), ("inner", ("--internal",))):
        host("network", "create", *words, name)
    web = host.server("web", "--network", "one", "-p", "8080:80", *(("-p", "[::1]:8081:80") if RELAYED else ()))
    urls = ["http://127.0.0.1:8080/hostname", *(["http://[::1]:8081/hostname"] if RELAYED else [])]
    assert [awaited(host, url) for url in urls] == [web for _ in urls]
    host("network", "disconnect", "one", "web")
    assert not any(map(host.answers, urls)) and not relays(host) and host("port", "web") == ""
    assert "already allocated" in host("run", "--rm", "-p", "8080:80", "box", "true", code=125)
    for connected, left in (("inner", ""), ("two", "inner"), ("one", "two")):
        host("network", "connect", connected, "web")
        if left:
            host("network", "disconnect", left, "web")
        if connected == "inner":
            assert not any(map(host.answers, urls))
        else:
            assert [awaited(host, url) for url in urls] == [web for _ in urls]
    assert host.inspect("web")["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "8080"
    assert host("system", "check") == "All is well"
    host("rm", "-f", "web")
    web = host.server("web", "--network", "inner", "-p", "8080:80")
    assert host("port", "web") == "" and host.server("thief", "-p", "8080:80")
    assert "already allocated" in host("network", "connect", "one", "web", code=1)
    assert list(host.inspect("web")["NetworkSettings"]["Networks"]) == ["inner"]
    host("rm", "-f", "thief")
    host("network", "connect", "one", "web")
    assert awaited(host, urls[0]) == web


def test_refused_words(host: Machine) -> None:
    for words, message in (
        (("--network", "nowhere"), "network nowhere not found"),
        (("--network", "container:x", "-h", "a"), "conflicting options: hostname and the network mode"),
        (("--ip", "172.17.0.9"), "supported on user defined networks only"),
        (("-p", "99999:1"), "invalid hostPort: 99999"),
    ):
        assert message in host("run", "--rm", *words, "box", "true", code=125)
    assert host("ps", "-aq") == "" and host.nothing_left()


def test_a_container_that_does_not_start_leaves_nothing(host: Machine) -> None:
    host("run", "--rm", "-p", "8080:80", "box", "/nothing", code=127)
    host("run", "-d", "--name", "bad", "-p", "8080:80", "box", "/nothing", code=127)
    wait_until(host.nothing_left)
    host.server("web", "-p", "8080:80")


@pytest.mark.parametrize("killed", ["command", "monitor", "both"])
@pytest.mark.parametrize("how", ["next", "repair"])
def test_nothing_is_left_of_what_was_killed(host: Machine, killed: str, how: str) -> None:
    host("network", "create", "back")
    if killed == "command":
        started = host.start(
            "run", "--rm", "--name", "web", "-p", "8080:80", *RELAYED, "--network", "back", "box", "sleep", "1000"
        )
        wait_until(lambda: host("ps", "-q", "--filter", "name=web"))
        started.kill()
        started.communicate()
    else:
        host.server("web", "-p", "8080:80", *RELAYED, "--network", "back")
        pid = int(host("inspect", "-f", "{{.State.Pid}}", "web"))
        os.kill(int((host.root / "run" / host.inspect("web")["Id"] / "conmon.pid").read_text()), signal.SIGKILL)
        if killed == "both":
            os.kill(pid, signal.SIGKILL)
        else:
            host("kill", "web")
    wait_until(lambda: not host("ps", "-q"))
    if how == "repair":
        host("system", "check", "--repair", code=None)
    else:
        host("create", "--name", "next", "box", "true")
    wait_until(host.nothing_left)
    assert host("system", "check") == "All is well"
