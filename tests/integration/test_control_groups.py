"""Hosts whose control groups are of one version alone: each command finds them mounted as they are there."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.ordinary import Cais, Make, as_user

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("conmon")]

MOUNTS = {
    "1": "umount -l /sys/fs/cgroup/unified",
    "2": "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup",
}
ALONE = ("--network", "none")


@pytest.fixture(scope="module", params=sorted(MOUNTS))
def version(request: pytest.FixtureRequest) -> str:
    if not os.path.exists("/sys/fs/cgroup/unified/cgroup.procs"):
        pytest.skip("needs a host that has both versions")
    return str(request.param)


def on_such_a_host(version: str) -> tuple[str, ...]:
    return ("unshare", "-m", "--propagation", "private", "sh", "-c", f'{MOUNTS[version]} && exec "$@"', "sh")


@pytest.fixture(scope="module", params=["crun", "runc"])
def host(request: pytest.FixtureRequest, version: str, make: Make) -> Cais:
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}")
    made = make(on_such_a_host(version), 0)
    return made._replace(prefix=(*made.prefix, "env", f"CAIS_RUNTIME={request.param}"))


@pytest.fixture(autouse=True)
def _clean(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "host" in request.fixturenames:
        host = request.getfixturevalue("host")
        if left := host("ps", "-aq").split():
            host("rm", "-f", *left)


def limited(host: Cais, version: str) -> bool:
    """Whether crun cannot lock the memory that it needs, which it says in one line."""
    if version == "1" or "runc" in host.prefix[-1] or resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < 0:
        return False
    trial = host.start("run", "--rm", *ALONE, "box", "true")
    said = trial.communicate(timeout=60)[0].decode()
    assert (trial.returncode == 0) == (said == "")
    assert said == "" or ("RLIM_MEMLOCK" in said and "--runtime runc" in said)
    return bool(said)


def test_a_life(host: Cais, version: str) -> None:
    if limited(host, version):
        return
    assert host("info", "-f", "{{.CgroupVersion}}") == f"{version}\n"
    said = host("run", "-d", "--name", "one", *ALONE, "-m", "64m", "--pids-limit", "50", "box", "sleep", "1000")
    *warnings, id = said.splitlines()
    if version == "1":
        assert warnings == []
        limit = host("exec", "one", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
        assert limit == f"{64 << 20}\n"
        host("update", "--memory", "96m", "--memory-swap", "96m", "one")
        assert host("stats", "--no-stream", "--format", "{{.MemUsage}}", "one").endswith("/ 96MiB\n")
    else:  # its controllers are with the other version here
        assert len(warnings) == 2 and all(line.startswith("WARNING: ") and "not limited" in line for line in warnings)
        assert "sleep" in host("exec", "one", "cat", "/proc/1/comm")
        assert host("stats", "--no-stream", "--format", "{{.Name}}", "one") == "one\n"
    assert "sleep 1000" in host("top", "one")
    host("pause", "one")
    assert host.inspect("one")["State"]["Status"] == "paused"
    assert host("ps", "--format", "{{.Status}}").endswith("(Paused)\n")
    host("unpause", "one")
    assert host("exec", "one", "echo", "goes on") == "goes on\n"
    host("pause", "one")
    host("restart", "-t", "0", "one")
    assert host("run", "--rm", *ALONE, "box", "sh", "-c", "exit 7", code=7) == ""
    assert host("run", "--rm", *ALONE, "--cgroupns", "host", "box", "echo", "fine") == "fine\n"
    assert groups(id)
    host("rm", "-f", "one")
    host.assert_nothing_left()
    assert groups(id) == []


def groups(id: str) -> list[Path]:
    """A container's control groups, in all hierarchies of the machine."""
    top = Path("/sys/fs/cgroup")
    return [*top.glob(f"*/cais/{id}"), *top.glob(f"cais/{id}")]


def test_a_build_step(host: Cais, version: str) -> None:
    if limited(host, version):
        return
    host.build("made", "FROM box\nRUN echo made >/made\n")
    assert host("run", "--rm", *ALONE, "made", "cat", "/made") == "made\n"
    host("image", "rm", "made")


def test_an_ordinary_user(make: Make, version: str, ordinary_account: object) -> None:
    user = make((*on_such_a_host(version), *as_user(ordinary_account)), ordinary_account.user_id)  # type: ignore[attr-defined]
    assert user.sh("echo fine") == ["fine"]
    assert json.loads(user("info", "-f", "{{json .CgroupVersion}}")) == version
    user("run", "-d", "--name", "one", *ALONE, "box", "sleep", "1000")
    refused = user("pause", "one", code=1)
    assert "control groups" in refused and len(refused.splitlines()) == 1
    user("rm", "-f", "one")
    user.assert_nothing_left()
