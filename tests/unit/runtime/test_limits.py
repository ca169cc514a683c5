"""Limits: what is asked for, what the host gives of it, what is said about the rest."""

from __future__ import annotations

import pytest

from cais.errors import Invalid
from cais.runtime import limits, ulimits
from cais.runtime.limits import Resources
from cais.runtime.spec import Host

HOST = Host(cgroup_mode="unified", cgroups_writable=True, controllers=frozenset(("memory", "cpu", "pids", "cpuset")))


def test_periods_and_sets():
    wanted = Resources(cpu_period_microseconds=50_000, cpu_quota_microseconds=-1, cpuset_mems="0", cpuset_cpus="0-1")
    given = limits.limits(wanted, HOST)
    assert given.resources == {"cpu": {"quota": -1, "period": 50_000, "cpus": "0-1", "mems": "0"}}
    assert limits.limits(wanted, Host()).resources == {}
    assert len(limits.limits(wanted, Host()).warnings) == 2


def test_memory_and_swap():
    assert limits.memory_limits(0, 0) == (0, 0)
    assert limits.memory_limits(64 << 20, 0) == (64 << 20, 128 << 20)
    assert limits.memory_limits(64 << 20, -1) == (64 << 20, -1)
    assert limits.memory_limits(64 << 20, 64 << 20) == (64 << 20, 64 << 20)
    for memory, swap in ((1 << 20, 0), (0, 1 << 30), (64 << 20, 1 << 20)):
        with pytest.raises(Invalid):
            limits.memory_limits(memory, swap)


def test_what_is_clamped_is_said():
    wanted = (("RLIMIT_NOFILE", 100, 200), ("RLIMIT_NPROC", -1, -1), ("RLIMIT_CORE", 0, 900))
    ceilings = {"RLIMIT_NOFILE": 500, "RLIMIT_NPROC": -1, "RLIMIT_CORE": 400}
    assert [ulimits.clamped(limit, ceilings) for limit in wanted] == [
        ("RLIMIT_NOFILE", 100, 200), ("RLIMIT_NPROC", (1 << 64) - 1, (1 << 64) - 1), ("RLIMIT_CORE", 0, 400),
    ]  # fmt: skip
    assert ulimits.clamp_warnings(wanted, ceilings) == [
        "WARNING: the limit core is 0:400: this process may not have more."
    ]


def test_version_2_is_given_the_same_and_lacks_what_it_never_had():
    wanted = Resources(
        64 << 20, 128 << 20, 32 << 20, memory_swappiness=10, oom_kill_disable=True, blkio_weight=300,
        cpu_realtime_runtime_microseconds=100, device_read_bps=(("/dev/null", 5),),
    )  # fmt: skip
    host = HOST._replace(controllers=frozenset(("memory", "cpu", "io")))
    given = limits.limits(wanted, host, lacking=limits.lacking("unified"))
    assert given.resources == {
        "memory": {"limit": 64 << 20, "swap": 128 << 20, "reservation": 32 << 20},
        "blockIO": {"weight": 300, "throttleReadBpsDevice": [{"major": 1, "minor": 3, "rate": 5}]},
    }
    assert [line.split("support ")[1].split(" ")[0] for line in given.warnings] == ["memory", "OomKillDisable.", "CPU"]
    assert limits.lacking("unified") < limits.FEATURES
