"""/etc/hosts, /etc/hostname, /etc/resolv.conf."""

from __future__ import annotations

from pathlib import Path

import pytest

from cais.runtime import network_files
from cais.runtime.network_files import Resolver


def test_hosts():
    text = network_files.hosts("none", (("db", "10.0.0.1"), ("six", "::1")), "9.9.9.9 elsewhere\n")
    assert "127.0.0.1\tlocalhost\n" in text and "elsewhere" not in text
    assert text.endswith("10.0.0.1\tdb\n::1\tsix\n")
    assert network_files.hosts("host", (), "9.9.9.9 elsewhere") == "9.9.9.9 elsewhere\n"


HOST = "# mine\nnameserver 192.0.2.1\nnameserver 127.0.0.1\nsearch example.org\noptions edns0\n"
REST = "search example.org\noptions edns0\n"


@pytest.mark.parametrize(
    ("network", "resolver", "expected"),
    [
        ("host", Resolver(), "nameserver 192.0.2.1\nnameserver 127.0.0.1\n" + REST),
        ("none", Resolver(), "nameserver 192.0.2.1\n" + REST),
        ("host", Resolver(("192.0.2.9",)), "nameserver 192.0.2.9\n" + REST),
        ("none", Resolver((), ("10.0.0.1",)), "nameserver 10.0.0.1\nsearch example.org\noptions edns0 ndots:0\n"),
        ("none", Resolver(("::2",), (), ("."), ("ndots:3",)), "nameserver ::2\noptions ndots:3\n"),
        (
            "none",
            Resolver((), ("10.0.0.1",), (), (), True),
            "nameserver 10.0.0.1\nnameserver 192.0.2.1\nsearch example.org\noptions edns0 ndots:0\n",
        ),
        (
            "none",
            Resolver(("192.0.2.9",), ("10.0.0.1",), ("x.org",), ("ndots:1",), True),
            "nameserver 10.0.0.1\nnameserver 192.0.2.9\nsearch x.org\noptions ndots:1\n",
        ),
    ],
)
def test_resolv_conf(network, resolver, expected):
    assert network_files.resolv_conf(HOST, network, resolver) == expected


def test_a_server_on_the_loopback_alone_is_replaced():
    public = "nameserver 8.8.8.8\nnameserver 8.8.4.4\n"
    assert network_files.resolv_conf("nameserver 127.0.0.1\n", "none") == public
    both = Resolver((), ("10.0.0.1",), (), ("ndots:0",), True)
    assert network_files.resolv_conf("nameserver ::1\n", "none", both) == (
        f"nameserver 10.0.0.1\n{public}options ndots:0\n"
    )


def test_written_and_mounted(tmp_path):
    files = network_files.write(str(tmp_path), hostname="box", network="none")
    assert (tmp_path / "hostname").read_text() == "box\n"
    assert dict(files.binds())[str(tmp_path / "hosts")] == "/etc/hosts"
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644


def test_own_names(tmp_path):
    files = network_files.write(
        str(tmp_path), hostname="a.b", domainname="c.d", network="none", addresses=("10.0.0.2", "fd00::2"),
        links=[("10.0.0.3", "db 0123")], extra_hosts=[("x", "10.9.9.9")],
    )  # fmt: skip
    text = (tmp_path / "hosts").read_text()
    assert text.endswith("10.0.0.3\tdb 0123\n10.9.9.9\tx\n10.0.0.2\ta.b.c.d a\nfd00::2\ta.b.c.d a\n")
    assert files.hosts == str(tmp_path / "hosts")


def test_a_list_of_the_containers_own_is_left_alone(tmp_path):
    files = network_files.write(str(tmp_path), hostname="web", network="none")
    path = Path(files.hosts)
    path.write_text("10.0.0.1\tx\n" * 10_000)
    before = path.read_text()
    network_files.change_hosts(str(tmp_path), "10.0.0.2\tweb\n", ["10.0.0.1"])
    assert path.read_text() == before
