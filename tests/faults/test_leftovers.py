"""`system check` finds each kind of thing that killed commands may leave on the host, and --repair takes it away."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_process import wait_until
from own_host import HIERARCHIES, OwnHost

pytestmark = pytest.mark.root

ID = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def clean(host: OwnHost) -> Iterator[None]:
    before = host.machine()
    yield
    for id in host("ps", "-aq").split():
        host("rm", "-f", id)
    host("network", "prune", "-f")
    wait_until(lambda: host.machine() == before)
    assert host("system", "check") == "All is well\n"


def found_and_mended(host: OwnHost, problem: str) -> None:
    assert problem in host("system", "check", code=1)
    assert problem in host("system", "check", "--repair")
    assert host("system", "check") == "All is well\n"


def make_old(path: Path | str) -> None:
    os.utime(path, (1e9, 1e9))


def test_a_bundle(host):
    bundle = host.root / "run" / ID
    (bundle / "rootfs").mkdir(parents=True)
    make_old(bundle)
    found_and_mended(host, f"bundle {ID}: is of nothing that runs")
    assert not bundle.exists()


def test_a_directory_of_no_container(host):
    path = host.root / "containers" / ID
    path.mkdir(parents=True)
    assert host("system", "check") == "All is well\n"  # somebody may be making it
    make_old(path)
    found_and_mended(host, f"directory {path}: is of no container")
    assert not path.exists()


def test_control_groups_that_nobody_is_in(host):
    """Whose they were cannot be seen, if not of this root directory: they go without a word."""
    host("run", "--rm", "--network", "none", "box", "true")
    for parent in [f"{top}/cais" for top in HIERARCHIES if os.path.isdir(f"{top}/cais")]:
        os.makedirs(f"{parent}/{ID}/inside")
    there = host.groups({ID})
    assert host("system", "check", "--repair") == "All is well\n"
    assert host.groups({ID}) == there  # somebody may be about to enter
    for path in there:
        make_old(path)
    assert host("system", "check", "--repair") == "All is well\n"
    assert host.groups({ID}) == []


def test_processes_of_a_container_that_is_forgotten(host):
    """Its file system says that they are ours."""
    id = host("run", "-d", "box", "sleep", "1000").strip()
    kill_conmon(host, id)
    (pid,) = host.alive()[id]
    shutil.rmtree(host.root / "run" / id)
    shutil.rmtree(host.root / "run" / ".state" / id)
    found_and_mended(host, f"control group {id}: is of nothing that runs")
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"))
    assert host.state(id)["Status"] == "exited"


def test_a_note_of_the_runtime(host):
    id = host("run", "-d", "--network", "none", "box", "sleep", "1000").strip()
    kept = host.root / "kept"
    shutil.copytree(host.root / "run" / ".state" / id, kept)
    host("rm", "-f", id)
    kept.rename(host.root / "run" / ".state" / id)
    found_and_mended(host, f"note of the OCI runtime on {id}: is of nothing that runs")
    assert host.nothing_left()


def kill_conmon(host: OwnHost, id: str) -> None:
    pid = int((host.root / "run" / id / "conmon.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"))


def test_a_link_a_rule_and_an_address(host):
    id = host("run", "-d", "-p", "8080:80", "box", "sleep", "1000").strip()
    bridge = next(name for name in host.machine()["links"] if name.startswith("cais"))
    host.on_host("ip", "link", "add", "vethlost", "type", "veth", "peer", "name", "peer")
    host.on_host("ip", "link", "set", "vethlost", "master", bridge)
    found_and_mended(host, "link vethlost: is of no container")
    table = next(line.split()[2] for line in host.on_host("nft", "list", "tables").splitlines() if "cais" in line)
    host.on_host("nft", "add", "element", "inet", table, "any4", "{ tcp . 99 : 10.0.0.9 . 99 }")
    found_and_mended(host, "firewall: publishes *:99/tcp, which is no container's")
    host.on_host("nft", "delete", "table", "inet", table)
    found_and_mended(host, f"firewall: its table {table} is not there")
    assert "8080" in host.on_host("nft", "list", "table", "inet", table)
    pid = host.pid(id)
    kill_conmon(host, id)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"))
    assert "which does not run" in host("system", "check", code=1)
    host("system", "check", "--repair")
    assert host.machine()["links"] == ["lo"] and "cais" not in host.on_host("nft", "list", "ruleset")


def test_nobody_is_kept_from_a_network_by_a_killed_container(host):
    host("network", "create", "net")
    id = host("run", "-d", "--network", "net", "box", "sleep", "1000").strip()
    pid = host.pid(id)
    kill_conmon(host, id)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"))
    assert host("network", "inspect", "-f", "{{len .Containers}}", "net") == "0\n"
    assert host("network", "ls", "-q", "--filter", "dangling=true").split()
    host("network", "rm", "net")


def test_a_table_without_a_bridge(host):
    host("run", "-d", "--name", "there", "box", "sleep", "1000")
    listed = host.on_host("nft", "list", "ruleset")
    host("rm", "-f", "there")
    path = host.root / "rules"
    path.write_text("\n".join(line for line in listed.splitlines() if "iifname" not in line or "@" in line))
    host.on_host("nft", "-f", str(path))
    found_and_mended(host, "is there, and no bridge")


def test_a_name_server(host):
    if not os.path.exists("/usr/lib/podman/aardvark-dns"):
        pytest.skip("needs aardvark-dns")
    host("network", "create", "named")
    host("run", "-d", "--name", "one", "--network", "named", "box", "sleep", "1000")
    pid = int((host.root / "dns" / "aardvark.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    found_and_mended(host, "name server: does not run")
    assert "Address" in host("exec", "one", "nslookup", "one")
