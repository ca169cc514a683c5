"""/etc/hosts, /etc/hostname, /etc/resolv.conf."""

from __future__ import annotations

import pytest

from cais.errors import Invalid
from cais.runtime import network_files


def test_hosts():
    text = network_files.hosts("box", "none", ("db:10.0.0.1", "six=[::1]"), "9.9.9.9 elsewhere\n")
    assert "127.0.0.1\tlocalhost\n" in text and "elsewhere" not in text
    assert text.endswith("10.0.0.1\tdb\n::1\tsix\n")
    assert network_files.hosts("box", "host", (), "9.9.9.9 elsewhere") == "9.9.9.9 elsewhere\n"


@pytest.mark.parametrize("item", ["db", ":1.2.3.4", "db:", "a b:1.2.3.4"])
def test_bad_hosts(item):
    with pytest.raises(Invalid, match="add-host"):
        network_files.hosts("box", "none", (item,), "")


def test_resolv_conf():
    host = "nameserver 192.0.2.1\nsearch example.org\noptions edns0\n"
    assert network_files.resolv_conf(host, "host", ()) == host
    text = network_files.resolv_conf(host, "host", ("192.0.2.9",))
    assert text == "nameserver 192.0.2.9\nsearch example.org\noptions edns0\n"


def test_written_and_mounted(tmp_path):
    files = network_files.write(str(tmp_path), hostname="box", network="none")
    assert (tmp_path / "hostname").read_text() == "box\n"
    assert dict(files.binds())[str(tmp_path / "hosts")] == "/etc/hosts"
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644
