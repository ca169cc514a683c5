"""Containers on networks, on a real kernel: who reaches whom, and that nothing is left."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import pytest

from cais.engine.stores import SCHEMA_VERSION, _schemas
from cais.errors import CaisError
from cais.host.database import Database
from cais.network import leftovers
from cais.network.definition import NetworkOptions
from cais.network.inside import set_sysctl, within
from cais.network.name_server import _answer
from cais.network.store import Networks
from cais.network.wishes import EndpointWish, Joined, PortWish

from .conftest import Host, _run, ask, namespace, needs_kernel, serve

pytestmark = needs_kernel
OnHost = Callable[[Callable[[Host], object]], str]
UDP = socket.SOCK_DGRAM


def join(host: Host, number: int, where: int, *wishes: EndpointWish, ports: list[PortWish] | None = None) -> Joined:
    return host.networks.join(f"{number}" * 64, f"c{number}", wishes or [EndpointWish("bridge")], where, ports or [])


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(CaisError) as caught:
        action()
    return f"{caught.value.message} | {caught.value.hint}"


def test_a_published_port_is_reached_from_everywhere_and_nothing_is_left(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        before = host.state()
        one, two = namespace(), namespace()
        join(host, 1, one, ports=[PortWish(80, host_port=8080), PortWish(53, "udp", host_port=5353)])
        join(host, 2, two)
        serve(one, 80)
        serve(one, 53, UDP)
        assert ask(host.outside, "10.9.0.1", 8080) == "10.9.0.2"
        assert ask(host.outside, "10.9.0.1", 5353, UDP) == "10.9.0.2"
        assert ask(None, "127.0.0.1", 8080) == "172.17.0.1"  # the host's loopback
        assert ask(None, "127.0.0.1", 5353, UDP) == "172.17.0.1"
        assert ask(None, "10.9.0.1", 8080) in ("10.9.0.1", "172.17.0.1")
        assert ask(None, "172.17.0.2", 80) == "172.17.0.1"
        assert ask(two, "172.17.0.2", 80) == "172.17.0.3"
        assert ask(two, "10.9.0.1", 8080) == "172.17.0.1"
        assert ask(one, "10.9.0.1", 8080) == "172.17.0.1"  # itself, by the host's address
        host.networks.leave("2" * 64)
        assert "8080" in host.state()
        host.networks.leave("1" * 64)
        assert host.state() == before
        assert ask(host.outside, "10.9.0.1", 8080) == "ConnectionRefusedError"
        assert host.networks.records.containers() == set()

    on_host(action)


def test_who_goes_on_sending_reaches_the_new_container(on_host: OnHost) -> None:
    """The kernel remembers where the first packet of a UDP sender went, be it to nobody."""

    def action(host: Host) -> None:
        client = within(host.outside, lambda: socket.socket(socket.AF_INET, UDP))
        client.settimeout(20)
        port = PortWish(53, "udp", host_port=5353)
        client.sendto(b"?", ("10.9.0.1", 5353))  # nobody is there yet
        for number in (1, 2):
            space = namespace()
            joined = join(host, number, space, EndpointWish("bridge"), ports=[port])
            serve(space, 53, UDP)
            for _ in range(3):
                client.sendto(b"?", ("10.9.0.1", 5353))
            assert client.recv(100) == b"10.9.0.2"
            if number == 1:
                other = namespace()
                join(host, 3, other)  # the next one gets another address
                os.close(joined.reserved[0])
                host.networks.leave("1" * 64)
                join(host, 4, namespace())

    on_host(action)


def test_many_at_once(on_host: OnHost) -> None:
    """Joining and leaving in eight processes, with ports and without: nothing is given twice, nothing is left."""

    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("n"), 1.0)
        before = host.state()
        children = []
        for number in range(8):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    for turn in range(5):
                        _come_and_go(host, number, turn)
                    code = 0
                except BaseException:
                    import traceback

                    traceback.print_exc()
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 8
        assert host.networks.records.containers() == set()
        assert host.state() == before

    on_host(action)


def _come_and_go(host: Host, number: int, turn: int) -> None:
    space, id = namespace(), f"{number}{turn}" * 32
    wish, ports = EndpointWish("n" if (number + turn) % 3 else "bridge"), [PortWish(80)] if number % 2 else []
    joined = host.networks.join(id, f"c{number}", [wish], space, ports)
    assert joined.endpoints[0].ip4 in within(space, lambda: _run("ip -4 -o addr show eth0"))
    for descriptor in (*joined.reserved, space):
        os.close(descriptor)
    host.networks.leave(id)


@pytest.mark.parametrize("moment", range(12))
def test_killed_at_any_moment(on_host: OnHost, moment: int) -> None:
    """What a killed process leaves is known: afterwards all is as it was."""

    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("n"), 1.0)
        before = host.state()
        child = os.fork()
        if child == 0:
            try:
                for turn in range(9):
                    _come_and_go(host, 1, turn)
            finally:
                os._exit(0)
        time.sleep(0.01 + moment * 0.013)  # a random moment; what it finds half done depends on the machine
        os.kill(child, 9)
        os.waitpid(child, 0)
        host.networks.sweep([])
        for item in leftovers.find(host.networks, lambda id: False):
            item.remove()
        deadline = time.monotonic() + 5
        while host.state() != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert host.state() == before
        assert list(leftovers.find(host.networks, lambda id: False)) == []

    on_host(action)


def test_what_is_not_published_is_not_reached(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        one, two = namespace(), namespace()
        host.networks.create(NetworkOptions("other"), 1.0)
        join(host, 1, one, ports=[PortWish(80, host_ip="127.0.0.1", host_port=8080), PortWish(80, host_port=8081)])
        join(host, 2, two, EndpointWish("other"))
        serve(one, 80)
        serve(one, 81)
        serve(host.outside, 80)
        assert ask(None, "127.0.0.1", 8080) == "172.17.0.1"
        assert ask(host.outside, "10.9.0.1", 8080) == "ConnectionRefusedError"  # published on the loopback only
        within(host.outside, lambda: _run("ip route add 172.17.0.0/16 via 10.9.0.1"))
        assert ask(host.outside, "172.17.0.2", 81, seconds=0.5) == "TimeoutError"
        assert ask(two, "172.17.0.2", 80, seconds=0.5) == "TimeoutError"  # another network
        assert ask(two, "10.9.0.1", 8081, seconds=0.5) == "TimeoutError"  # as with Docker
        assert ask(two, "10.9.0.2", 80) == "10.9.0.1"  # out, by the host's address

    on_host(action)


def test_the_hosts_loopback_is_not_reached_through_a_bridge(on_host: OnHost) -> None:
    """Although answers to it are routed there, for what is published on it."""

    def action(host: Host) -> None:
        one = namespace()
        join(host, 1, one)
        service = socket.socket(socket.AF_INET, UDP)
        service.bind(("127.0.0.1", 9000))
        service.settimeout(0.3)

        def deceive() -> None:
            _run("ip addr del 127.0.0.1/8 dev lo")
            set_sysctl("net/ipv4/conf/all/route_localnet", "1")
            _run("ip route add 127.0.0.0/8 via 172.17.0.1 dev eth0 src 172.17.0.2")
            socket.socket(socket.AF_INET, UDP).sendto(b"?", ("127.0.0.1", 9000))

        within(one, deceive)
        with pytest.raises(TimeoutError):
            service.recv(100)

    on_host(action)


def test_internal_networks_and_isolated_containers(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("inside", internal=True), 1.0)
        host.networks.create(NetworkOptions("apart", options={"com.docker.network.bridge.enable_icc": "false"}), 1.0)
        spaces = [namespace() for _ in range(4)]
        first = join(host, 1, spaces[0], EndpointWish("inside"), ports=[PortWish(80, host_port=8080)])
        join(host, 2, spaces[1], EndpointWish("inside"))
        third = join(host, 3, spaces[2], EndpointWish("apart"))
        join(host, 4, spaces[3], EndpointWish("apart"))
        assert first.ports == ()  # nothing is published of an internal network
        serve(spaces[0], 80)
        serve(spaces[2], 80)
        serve(host.outside, 80)
        assert ask(spaces[1], first.endpoints[0].ip4, 80) == "172.18.0.3"
        assert ask(spaces[1], "10.9.0.2", 80, seconds=0.5) in ("OSError", "TimeoutError")
        assert ask(spaces[3], third.endpoints[0].ip4, 80, seconds=0.5) in ("OSError", "TimeoutError")
        assert ask(spaces[3], "10.9.0.2", 80) == "10.9.0.1"

    on_host(action)


def test_names_are_found_and_the_server_comes_and_goes(on_host: OnHost) -> None:
    if not os.path.exists("/usr/lib/podman/aardvark-dns"):
        pytest.skip("aardvark-dns is not installed")

    def lookup(where: int, server: str, name: str) -> str:
        question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"

        def send() -> str:
            with socket.socket(socket.AF_INET, UDP) as client:
                client.settimeout(0.2)
                for _ in range(25):  # until it has read what it was told to read
                    try:
                        client.sendto(b"\0\7\1\0\0\1\0\0\0\0\0\0" + question, (server, 53))
                        answer = client.recv(512)
                    except OSError:
                        continue
                    if answer[7]:
                        return socket.inet_ntoa(answer[-4:])
                return ""

        return within(where, send)

    def action(host: Host) -> None:
        before = host.state()
        host.networks.create(NetworkOptions("web", subnets=["10.20.0.0/24"]), 1.0)
        one, two = namespace(), namespace()
        assert join(host, 1, one, EndpointWish("web", aliases=("db",), ip4="10.20.0.9")).dns == ("10.20.0.1",)
        join(host, 2, two, EndpointWish("web"))
        assert lookup(two, "10.20.0.1", "c1") == "10.20.0.9"
        assert lookup(two, "10.20.0.1", "db") == "10.20.0.9"
        assert lookup(two, "10.20.0.1", "1" * 12) == "10.20.0.9"
        assert lookup(one, "10.20.0.1", "c2") == "10.20.0.2"
        host.networks.rename("2" * 64, "other")
        assert lookup(one, "10.20.0.1", "other") == "10.20.0.2"
        server = host.networks.name_server.running()
        assert server
        os.kill(server, 9)
        while host.networks.name_server.running():
            pass
        three = namespace()
        join(host, 3, three, EndpointWish("web"))  # the next command starts it again
        assert lookup(three, "10.20.0.1", "c1") == "10.20.0.9"
        assert host.networks.sweep([]) == ["1" * 64, "2" * 64, "3" * 64]
        while host.networks.name_server.running():
            pass
        host.networks.remove(host.networks.records.get("web"))
        assert host.state() == before
        assert os.listdir(host.root / "dns") == []

    on_host(action)


def test_who_is_waited_for_is_known_at_the_first_question(on_host: OnHost) -> None:
    """The name server reads what it is told after it was told; meanwhile it hears nobody."""
    if not os.path.exists("/usr/lib/podman/aardvark-dns"):
        pytest.skip("aardvark-dns is not installed")

    def found(where: int, name: str) -> bytes:
        return within(where, lambda: _answer("10.20.0.1", name, 1, 20)[-4:])

    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("web", subnets=["10.20.0.0/24"]), 1.0)
        host.networks.create(NetworkOptions("six", subnets=["fd20::/64"], ipv4=False, ipv6=True), 1.0)
        spaces = [namespace() for _ in range(6)]
        for number, space in enumerate(spaces, 1):
            join(host, number, space, EndpointWish("web", ip4=f"10.20.0.{number + 10}"))
            host.networks.await_names(f"{number}" * 64)
            for other in range(1, number + 1):
                name = f"new{other}" if other < number else f"c{other}"
                assert found(space, name) == bytes((10, 20, 0, other + 10))
            host.networks.rename(f"{number}" * 64, f"new{number}")
            assert found(spaces[0], f"new{number}") == bytes((10, 20, 0, number + 10))
        seven = namespace()
        join(host, 7, seven, EndpointWish("six", ip6="fd20::7"))
        host.networks.await_names("7" * 64)
        assert within(seven, lambda: _answer("fd20::1", "c7", 28, 20)[-2:]) == b"\0\7"
        host.networks.rename("7" * 64, "with.dots")  # this would be asked of others, and is not waited for

    on_host(action)


def test_capital_letters_are_not_waited_for_in_vain(on_host: OnHost, monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.exists("/usr/lib/podman/aardvark-dns"):
        pytest.skip("aardvark-dns is not installed")
    monkeypatch.setattr("cais.network.name_server._KNOWN_SECONDS", 60.0)

    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("web", subnets=["10.20.0.0/24"]), 1.0)
        space = namespace()
        join(host, 1, space, EndpointWish("web"))
        begun = time.monotonic()
        host.networks.rename("1" * 64, "Tall")
        assert time.monotonic() - begun < 60
        assert within(space, lambda: _answer("10.20.0.1", "TALL", 1, 20)[-4:]) == bytes((10, 20, 0, 2))

    on_host(action)


def test_connect_and_disconnect_while_it_runs(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        one, two = namespace(), namespace()
        more = host.networks.create(NetworkOptions("more", subnets=["10.20.0.0/24"]), 1.0)
        join(host, 1, one)
        join(host, 2, two, EndpointWish("more"))
        serve(two, 80)
        assert ask(one, "10.20.0.2", 80, seconds=0.5) == "TimeoutError"
        endpoint = host.networks.connect("1" * 64, "c1", EndpointWish("more", ip4="10.20.0.77"), one)
        assert (endpoint.interface, endpoint.ip4) == ("eth1", "10.20.0.77")
        assert ask(one, "10.20.0.2", 80) == "10.20.0.77"
        assert "default via 172.17.0.1" in within(one, lambda: _run("ip route"))
        text = refusal(lambda: host.networks.connect("1" * 64, "c1", EndpointWish("more"), one))
        assert text.startswith("endpoint with name c1 already exists in network more")
        host.networks.disconnect("1" * 64, host.networks.records.get("bridge"), one)
        assert "default via 10.20.0.1" in within(one, lambda: _run("ip route"))
        host.networks.disconnect("1" * 64, more, one)
        assert within(one, lambda: _run("ip route")) == ""
        assert "is not connected to network" in refusal(lambda: host.networks.disconnect("1" * 64, more, one))

    on_host(action)


def test_who_has_an_address_or_a_port_is_named(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        host.networks.create(NetworkOptions("n", subnets=["10.20.0.0/29"]), 1.0)
        host.networks.create(NetworkOptions("chosen"), 1.0)
        one, two = namespace(), namespace()
        join(host, 1, one, EndpointWish("n", ip4="10.20.0.4"), ports=[PortWish(80, host_port=8080)])
        for wish, text in (
            (EndpointWish("n", ip4="10.20.0.4"), "Address already in use"),
            (EndpointWish("n", ip4="10.20.0.1"), "Address already in use"),
            (EndpointWish("n", ip4="10.21.0.1"), "invalid config for network n: invalid endpoint settings:"),
            (EndpointWish("chosen", ip4="172.18.0.9"), "invalid config for network chosen: invalid endpoint settings:"),
            (EndpointWish("n", mac="01:00:00:00:00:00"), "invalid MAC address"),
            (EndpointWish("nope"), "network nope not found"),
            (EndpointWish("n", interface="a/b"), "invalid interface name"),
        ):
            assert refusal(lambda wish=wish: join(host, 2, two, wish)).startswith(text), text  # type: ignore[misc]
        taken = refusal(lambda: join(host, 2, two, EndpointWish("n"), ports=[PortWish(80, host_port=8080)]))
        assert "Bind for 0.0.0.0:8080 failed: port is already allocated | The container c1" in taken
        with socket.socket() as mine:
            mine.bind(("127.0.0.1", 8099))
            mine.listen()
            taken = refusal(lambda: join(host, 2, two, EndpointWish("n"), ports=[PortWish(80, host_port=8099)]))
            assert "Bind for 0.0.0.0:8099 failed: port is already allocated" in taken
            assert f"(process {os.getpid()}) listens on it" in taken
            # With a range the first free one is taken.
            wish = PortWish(80, host_port=8099, host_port_last=8105)
            assert join(host, 2, two, EndpointWish("n"), ports=[wish]).ports[0].host_port == 8100
        assert host.networks.records.ports("2" * 64) != []
        host.networks.leave("2" * 64)
        for number in (2, 3, 4, 5):
            join(host, number, namespace(), EndpointWish("n"))
        assert refusal(lambda: join(host, 6, two, EndpointWish("n"))).startswith("no available IPv4 addresses")
        text = refusal(lambda: host.networks.remove(host.networks.records.get("n")))
        assert 'network n has active endpoints (name:"c1" id:"111111111111", name:"c2"' in text

    on_host(action)


def test_a_port_that_is_kept_is_nobody_elses(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        joined = join(host, 1, namespace(), ports=[PortWish(80, host_port=8080)])
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(OSError):
                other.bind(("0.0.0.0", 8080))
        os.close(joined.reserved[0])
        with socket.socket() as other:
            other.bind(("0.0.0.0", 8080))

    on_host(action)


def test_after_a_reboot_the_records_are_true(on_host: OnHost) -> None:
    """The kernel has forgotten everything; what ran is swept, and a start works as the first one did."""

    def action(host: Host) -> None:
        before = host.state()
        host.networks.create(NetworkOptions("n"), 1.0)
        joined = join(host, 1, namespace(), EndpointWish("n"), ports=[PortWish(80, host_port=8080)])
        os.close(joined.reserved[0])
        _run("nft flush ruleset")
        _run(f"ip link delete {host.networks.records.get('n').interface}")
        assert host.networks.sweep([]) == ["1" * 64]
        one = namespace()
        join(host, 1, one, EndpointWish("n"), ports=[PortWish(80, host_port=8080)])
        serve(one, 80)
        assert ask(host.outside, "10.9.0.1", 8080) == "10.9.0.2"
        host.networks.leave("1" * 64)
        assert host.state() == before

    on_host(action)


def test_what_a_killed_join_leaves_is_found_and_mended(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        before = host.state()
        join(host, 1, namespace(), ports=[PortWish(80, host_port=8080)])
        assert list(leftovers.find(host.networks, lambda id: True)) == []
        found = leftovers.find(host.networks, lambda id: False)
        item = next(found)
        assert item[:2] == ("network bridge", "holds an address for 111111111111, which does not run")
        item.remove()
        assert list(found) == [] and host.state() == before

    on_host(action)


def test_who_comes_while_a_bridge_goes_waits_for_its_end_and_has_it_anew(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        before = host.state()
        for _ in range(5):
            joined = join(host, 1, namespace())
            assert joined.endpoints[0].ip4 == "172.17.0.2"  # the route of a bridge that goes is nobody else's
            host.networks.leave("1" * 64, wait=False)
        join(host, 1, one := namespace())
        serve(one, 80)
        assert ask(None, "172.17.0.2", 80, seconds=20) == "172.17.0.1"  # the kernel takes a second to use a new link
        host.networks.leave("1" * 64, wait=False)
        assert list(leftovers.find(host.networks, lambda id: True)) == []  # waits, too
        assert host.state() == before

    on_host(action)


def test_a_bridge_that_is_not_ours_is_left_alone(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        _run("ip link add mine type bridge")
        before = host.state()
        host.networks.create(NetworkOptions("n", options={"com.docker.network.bridge.name": "mine"}), 1.0)
        text = refusal(lambda: join(host, 1, namespace(), EndpointWish("n")))
        assert "the host has an interface mine that is not its bridge" in text
        host.networks.remove(host.networks.records.get("n"))
        assert host.state() == before

    on_host(action)


def test_the_default_network_makes_way_for_the_hosts_routes(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        assert join(host, 1, namespace()).endpoints[0].ip4 == "172.17.0.2"
        host.networks.leave("1" * 64)
        _run("ip route add 172.17.3.0/24 via 10.9.0.2")
        assert join(host, 1, namespace()).endpoints[0].ip4 == "172.18.0.2"

    on_host(action)


@pytest.mark.parametrize("table", ["ip filter FORWARD", "inet guard passage"])
def test_a_firewall_that_drops_lets_ours_pass(on_host: OnHost, table: str) -> None:
    def action(host: Host) -> None:
        family, name, chain = table.split()
        rules = (
            f"table {family} {name} {{ chain {chain} {{ type filter hook forward priority filter; policy drop; "
            "tcp dport 7 accept; }; }"
        )
        (host.root / "rules").write_text(rules)
        _run(f"nft -f {host.root}/rules")
        before = host.state()
        one = namespace()
        join(host, 1, one, ports=[PortWish(80, host_port=8080)])
        serve(one, 80)
        serve(host.outside, 80)
        assert ask(host.outside, "10.9.0.1", 8080) == "10.9.0.2"
        assert ask(one, "10.9.0.2", 80) == "10.9.0.1"
        host.networks.leave("1" * 64)
        assert host.state() == before

    on_host(action)


def test_root_directories_that_begin_at_once_have_subnets_of_their_own(on_host: OnHost) -> None:
    def action(host: Host) -> None:
        count = 5
        places = [host.root / f"root{number}" for number in range(count)]
        others = []
        for place in places:
            place.mkdir()
            database = Database(str(place / "cais.db"), SCHEMA_VERSION, _schemas)
            others.append(Networks(str(place), database))
        together = threading.Barrier(count)
        found: list[str] = []

        def begin(networks: Networks, where: int) -> None:
            networks.default()
            together.wait()  # all have chosen the same one
            joined = networks.join("a" * 64, "a", [EndpointWish("bridge")], where)
            found.append(joined.endpoints[0].gateway4)

        threads = [threading.Thread(target=begin, args=(networks, namespace())) for networks in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [f"172.{number}.0.1" for number in range(17, 17 + count)]
        for networks in others:
            networks.leave("a" * 64)

    on_host(action)
