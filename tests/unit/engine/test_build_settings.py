"""What the options of build say about RUN."""

from __future__ import annotations

import pytest

from cais.build.ops.step_settings import default_processes, grant
from cais.engine.build_options import BuildOptions, Limits
from cais.engine.build_settings import hosts, run_settings, step_settings
from cais.errors import Invalid
from cais.runtime.spec import SHM_BYTES, Host


def test_hosts():
    assert hosts(["a:1.2.3.4", "b=1.2.3.5", "c=[::1]", "d:::1", "e:host-gateway"]) == (
        ("a", "1.2.3.4"), ("b", "1.2.3.5"), ("c", "::1"), ("d", "::1"), ("e", "host-gateway"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a", "a:", ":1.2.3.4", "a:b", "a=1.2.3", "a b=1.2.3.4", "a=1.2.3.4\n5.6.7.8 c", "a=\0"]
)
def test_bad_hosts(text):
    with pytest.raises(Invalid, match="invalid host"):
        hosts([text])


def test_entitlements():
    allow = ["network.host", "security.insecure", "device", "device=a.b/c=d"]
    assert run_settings(BuildOptions(allow=allow)).allowed == tuple(allow)
    with pytest.raises(Invalid, match="unknown entitlement foo"):
        run_settings(BuildOptions(allow=["foo"]))


def test_limits():
    wanted = Limits(64 << 20, 0, 512, 1000, 2000, "0", "0", 1 << 20, ("nofile=1:2",), "a/b/")
    made = step_settings(BuildOptions(limits=wanted))
    assert made.resources[:10] == (64 << 20, 128 << 20, 0, 0, 512, "0", 0, "0", 1000, 2000)
    assert (made.shm_bytes, made.rlimits, made.cgroup_parent) == (1 << 20, (("RLIMIT_NOFILE", 1, 2),), "/a/b")
    assert step_settings(BuildOptions()).shm_bytes == SHM_BYTES


@pytest.mark.parametrize(
    "wanted",
    [Limits(memory_bytes=1), Limits(memory_swap_bytes=9 << 20), Limits(cpu_shares=-1), Limits(ulimits=("x=1",)),
     Limits(cgroup_parent="../x"), Limits(shm_bytes=-1), Limits(cpu_quota_microseconds=-2)],
)  # fmt: skip
def test_bad_limits(wanted):
    with pytest.raises(Invalid):
        step_settings(BuildOptions(limits=wanted))


def test_a_step_has_a_limit_of_processes_where_the_host_can_hold_it_to_one():
    settings = step_settings(BuildOptions(limits=Limits(cgroup_parent="x")))
    host = Host(cgroup_mode="unified", cgroups_writable=True, controllers=frozenset(("pids",)))
    assert grant(settings, host).limits.resources == {"pids": {"limit": default_processes()}}
    assert default_processes() >= 4096
    poor = grant(settings, Host())
    assert poor.limits.resources == {}
    assert poor.warnings == ("WARNING: --cgroup-parent is not used: this user may not write control groups.",)
