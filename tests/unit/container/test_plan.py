"""What a container runs: Docker's rules for image config and options."""

from __future__ import annotations

import json

import pytest

from cais.container import spec_oci
from cais.container.options import RunOptions
from cais.container.plan import Plan, plan
from cais.errors import CaisError, Invalid
from cais.runtime import limits
from cais.runtime.limits import Resources
from cais.runtime.network_files import NetworkFiles
from cais.runtime.spec import Host
from cais.runtime.users import User

ID = "0123456789abcdef" * 4
IMAGE = {
    "Entrypoint": ["/entry"], "Cmd": ["a", "b"], "Env": ["PATH=/p", "X=1"], "User": "ada", "WorkingDir": "/w",
    "Labels": {"l": "1"}, "Volumes": {"/v": {}, "/w/": {}}, "StopSignal": "SIGINT",
}  # fmt: skip
HOST = Host(cgroup_mode="unified", cgroups_writable=True, controllers=frozenset(("memory", "cpu", "pids", "cpuset")))
FILES = NetworkFiles("/h", "/n", "/r")


@pytest.mark.parametrize(
    ("wanted", "args"),
    [
        (RunOptions("i"), ("/entry", "a", "b")),
        (RunOptions("i", ("c",)), ("/entry", "c")),
        (RunOptions("i", entrypoint="/mine"), ("/mine",)),
        (RunOptions("i", ("c",), entrypoint="/mine"), ("/mine", "c")),
        (RunOptions("i", ("c",), entrypoint=""), ("c",)),
    ],
)
def test_entrypoint_and_command(wanted, args):
    assert plan(IMAGE, wanted, ID).args == args


def test_nothing_to_run():
    with pytest.raises(Invalid, match="no command specified") as error:
        plan({}, RunOptions("i"), ID)
    assert error.value.exit_code == 125
    with pytest.raises(Invalid):
        plan(IMAGE, RunOptions("i", entrypoint=""), ID)


def test_the_image_is_the_default():
    made = plan(IMAGE, RunOptions("i", env=("X=2", "Y=3"), labels=("m=2",)), ID)
    assert made.env == ("X=2", "Y=3", "PATH=/p")
    assert (made.user, made.cwd, made.stop_signal, made.hostname) == ("ada", "/w", "SIGINT", ID[:12])
    assert made.labels == {"l": "1", "m": "2"}
    assert [(point.target, point.anonymous) for point in made.mounts] == [("/v", True), ("/w", True)]


def test_options_win():
    wanted = RunOptions("i", user="0", workdir="/a/../b", hostname="h", volumes=("n:/v",), stop_signal="9")
    made = plan(IMAGE, wanted, ID)
    assert (made.user, made.cwd, made.hostname, made.stop_signal) == ("0", "/b", "h", "9")
    assert [(point.target, point.source) for point in made.mounts] == [("/v", "n"), ("/w", "")]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (RunOptions("i", workdir="w"), "absolute path"),
        (RunOptions("i", hostname="a b"), "invalid hostname"),
        (RunOptions("i", volumes=("a:/x", "b:/x")), "Duplicate mount point: /x"),
        (RunOptions("i", memory="1m"), "Minimum memory limit"),
        (RunOptions("i", memory_swap="1g"), "Memoryswap"),
        (RunOptions("i", memory="1g", memory_swap="1m"), "larger than memory"),
        (RunOptions("i", security_opt=("what",)), "security-opt"),
        (RunOptions("i", sysctls=("x",)), "--sysctl"),
        (RunOptions("i", stop_signal="NO"), "invalid signal"),
        (RunOptions("i", cap_add=("fly",)), "CAP_FLY"),
    ],
)
def test_refusals(wanted, message):
    with pytest.raises(CaisError, match=message):
        plan(IMAGE, wanted, ID)


def test_a_plan_survives_its_json():
    wanted = RunOptions(
        "i", volumes=("n:/v:ro",), tmpfs=("/t:size=1m,exec",), memory="64m", ulimits=("nofile=1:2",), cap_add=("ALL",),
        labels=("a=b",), init=True, security_opt=("no-new-privileges", "seccomp=unconfined"),
    )  # fmt: skip
    made = plan(IMAGE, wanted, ID)
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert Plan().to_json() == {}


def test_limits_that_the_host_cannot_give_are_said_once_each():
    wanted = Resources(64 << 20, 128 << 20, 0, 1_500_000_000, 0, "0", 10)
    given = limits.limits(wanted, HOST)
    assert given.warnings == ()
    assert given.resources == {
        "memory": {"limit": 64 << 20, "swap": 128 << 20},
        "cpu": {"quota": 150_000, "period": 100_000, "cpus": "0"},
        "pids": {"limit": 10},
    }
    assert "swap" not in limits.limits(wanted, HOST, lacking=frozenset(("swap",))).resources["memory"]
    poor = limits.limits(wanted, Host())
    assert poor.resources == {} and len(poor.warnings) == 4
    assert all("is not limited" in line for line in poor.warnings)
    assert "no memory controller" in limits.limits(wanted, HOST._replace(controllers=frozenset())).warnings[0]


def test_the_spec_of_a_plan():
    made = plan(IMAGE, RunOptions("i", tty=True, ulimits=("nofile=100:9999",), read_only=True), ID)
    document = spec_oci.build_spec(
        made, HOST, User(5, 6, (7,), "/home/ada"), FILES, [{"destination": "/etc", "options": []}],
        id=ID, limits=limits.Limits({}), seccomp=None, init="/usr/bin/tini", hard_limits={"RLIMIT_NOFILE": 500},
        console_size=(24, 80),
    )  # fmt: skip
    process = document["process"]
    assert process["args"] == ["/sbin/docker-init", "--", "/entry", "a", "b"]
    assert process["env"] == ["PATH=/p", f"HOSTNAME={ID[:12]}", "TERM=xterm", "X=1", "HOME=/home/ada"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 500}]
    assert process["consoleSize"] == {"height": 24, "width": 80}
    assert document["root"]["readonly"] is True
    targets = [item["destination"] for item in document["mounts"]]
    assert targets.index("/etc") < targets.index("/etc/hosts")
    assert document["linux"]["cgroupsPath"] == f"/cais/{ID}"
