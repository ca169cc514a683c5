"""Flags of resources, security, devices and namespaces: what they mean, and Docker's words where they mean nothing."""

from __future__ import annotations

import json

import pytest

from cais.container.devices import cdi_names, parse_device, parse_gpus
from cais.container.isolation import Device, Namespaces, Request
from cais.container.namespaces import check_joinable
from cais.container.options import RunOptions
from cais.container.plan import Plan, plan
from cais.container.resources import check, number_set
from cais.errors import CaisError, Conflict, Invalid
from cais.runtime import spec
from cais.runtime.limits import Resources

IMAGE = {"Cmd": ["true"]}
ID = "0123456789abcdef" * 4


def planned(**flags):
    return plan(IMAGE, RunOptions("i", **flags), ID, "", lambda name, kind: f"id-of-{name}")


# What docker 26 says to the same flags.
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"memory": "1m"}, "Minimum memory limit allowed is 6MB"),
        (
            {"memory": "10m", "memory_swap": "5m"},
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        ({"memory_swap": "50m"}, "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            {"memory": "10m", "memory_reservation": "20m"},
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        ({"memory_reservation": "1m"}, "Minimum memory reservation allowed is 6MB"),
        ({"memory_swappiness": 101}, "invalid value: 101. Valid memory swappiness range is 0-100"),
        ({"cpus": "1", "cpu_period": 10000}, "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
        ({"cpus": "1", "cpu_quota": 10000}, "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
        (
            {"cpu_period": 10},
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ({"cpu_quota": 10}, "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (
            {"cpu_rt_period": 1000, "cpu_rt_runtime": 2000},
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ),
        ({"blkio_weight": 5}, "Range of blkio weight is from 10 to 1000"),
        (
            {"blkio_weight_devices": ["/dev/null:5"]},
            'invalid argument "/dev/null:5" for "--blkio-weight-device" flag: invalid weight for device: /dev/null:5',
        ),
        (
            {"device_read_bps": ["null:1mb"]},
            'invalid argument "null:1mb" for "--device-read-bps" flag: bad format for device path: null:1mb',
        ),
        (
            {"device_read_bps": ["/dev/null"]},
            'invalid argument "/dev/null" for "--device-read-bps" flag: bad format: /dev/null',
        ),
        (
            {"device_read_iops": ["/dev/null:1k"]},
            'invalid argument "/dev/null:1k" for "--device-read-iops" flag: invalid rate for device: /dev/null:1k. '
            "The correct format is <device-path>:<number>. Number must be a positive integer",
        ),
        ({"oom_score_adj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ({"cap_add": ["FOO"]}, 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        ({"cap_drop": ["FOO"]}, 'invalid CapDrop: unknown capability: "CAP_FOO"'),
        ({"security_opt": ["foo"]}, 'Invalid --security-opt: "foo"'),
        ({"security_opt": ["foo=bar"]}, 'invalid --security-opt 2: "foo=bar"'),
        ({"security_opt": ["no-new-privileges:maybe"]}, 'invalid --security-opt 2: "no-new-privileges:maybe"'),
        ({"security_opt": ["systempaths=foo"]}, 'invalid --security-opt 2: "systempaths=foo"'),
        (
            {"sysctls": ["kernel.foo=1"]},
            'invalid argument "kernel.foo=1" for "--sysctl" flag: sysctl \'kernel.foo=1\' is not allowed',
        ),
        (
            {"sysctls": ["net.foo=1"], "networks": ["host"]},
            'sysctl "net.foo" not allowed in host network namespace',
        ),
        (
            {"sysctls": ["kernel.shmmax=1"], "ipc": "host"},
            'sysctl "kernel.shmmax" is not allowed in the hosts ipc namespace',
        ),
        ({"pid": "foo"}, "--pid: invalid PID mode"),
        ({"pid": "container:"}, "--pid: invalid PID mode"),
        ({"ipc": "foo"}, "invalid IPC mode: foo"),
        ({"uts": "foo"}, "--uts: invalid UTS mode"),
        ({"uts": "host", "hostname": "x"}, "conflicting options: hostname and the UTS mode"),
        ({"userns": "keep-id"}, "--userns: invalid USER mode"),
        ({"cgroupns": "foo"}, "--cgroupns: invalid CGROUP mode"),
        ({"isolation": "hyperv"}, "Invalid isolation: \"hyperv\" - linux only supports 'default'"),
        ({"devices": ["/dev/null:/x:zz"]}, "bad mode specified: zz"),
        ({"devices": ["/dev/null:zz"]}, "zz is not an absolute path"),
        ({"devices": ["a:b:c:d"]}, "bad format for path: a:b:c:d"),
        (
            {"device_cgroup_rules": ["c 1:3 rwz"]},
            'invalid argument "c 1:3 rwz" for "--device-cgroup-rule" flag: invalid device cgroup format \'c 1:3 rwz\'',
        ),
        (
            {"gpus": ["foo"]},
            'invalid argument "foo" for "--gpus" flag: count must be an integer: strconv.Atoi: parsing "foo": '
            "invalid syntax",
        ),
        ({"storage_opts": ["foo=1"]}, "Unknown option foo"),
        ({"storage_opts": ["size"]}, "invalid storage option"),
        ({"annotations": ["=foo"]}, "invalid Annotations: the empty string is not permitted as an annotation key"),
        (
            {"ulimits": ["nofile=1:2:3"]},
            'invalid argument "nofile=1:2:3" for "--ulimit" flag: too many limit value arguments - 1:2:3, can only '
            "have up to two, `soft[:hard]`",
        ),
        (
            {"ulimits": ["nofile=a"]},
            'invalid argument "nofile=a" for "--ulimit" flag: strconv.ParseInt: parsing "a": invalid syntax',
        ),
    ],
)  # fmt: skip
def test_what_docker_says(flags, message):
    with pytest.raises(CaisError) as error:
        planned(**flags)
    assert (error.value.message, error.value.exit_code) == (message, 125)


def test_resources():
    made = planned(
        memory="100m", memory_swap="-1", memory_reservation="50m", memory_swappiness=0, cpu_shares=512,
        cpu_rt_period=1000, pids_limit=-1, blkio_weight=300, blkio_weight_devices=["/dev/a:100"],
        device_read_bps=["/dev/a:1mb", "/dev/b:3"], device_write_iops=["/dev/a:7"], oom_kill_disable=True,
    )  # fmt: skip
    assert made.resources == Resources(
        100 << 20, -1, 50 << 20, 0, 512, memory_swappiness=0, oom_kill_disable=True, blkio_weight=300,
        cpu_realtime_period_microseconds=1000, blkio_weight_devices=(("/dev/a", 100),),
        device_read_bps=(("/dev/a", 1 << 20), ("/dev/b", 3)), device_write_iops=(("/dev/a", 7),),
    )  # fmt: skip


def test_what_this_host_has():
    for wanted, message in (
        (Resources(nano_cpus=3_000_000_000), "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available"),
        (Resources(cpuset_cpus="9"), "Requested CPUs are not available - requested 9, available: 0-1"),
        (Resources(cpuset_cpus="x"), "Invalid value x for cpuset cpus: invalid format: x"),
        (Resources(cpuset_mems="9"), "Requested memory nodes are not available - requested 9, available: 0"),
    ):
        with pytest.raises(Invalid) as error:
            check(wanted, cpus=2, online_cpus="0-1", online_mems="0")
        assert error.value.message == message
    check(Resources(cpuset_cpus="0,1", nano_cpus=2_000_000_000), cpus=2, online_cpus="0-1", online_mems="")
    assert number_set("0-2,5") == {0, 1, 2, 5}


def test_security():
    plain = planned()
    assert plain.is_plain and plain.seccomp == "default" and plain.capabilities == spec.DEFAULT_CAPABILITIES
    privileged = planned(privileged=True, cap_drop=["ALL"])
    assert privileged.capabilities == spec.ALL_CAPABILITIES
    assert (privileged.seccomp, privileged.security.unmasked, privileged.security.apparmor) == (
        "unconfined", True, "unconfined",
    )  # fmt: skip
    made = planned(security_opt=["no-new-privileges=true", "label:disable", "apparmor=p", "systempaths=unconfined"])
    assert made.no_new_privileges and made.security.unmasked and not made.security.privileged
    assert (made.security.labels, made.security.apparmor) == (("disable",), "p")
    assert planned(cap_add=["all"], cap_drop=["cap_chown"]).capabilities == spec.ALL_CAPABILITIES[1:]
    assert planned(cap_drop=["ALL"], cap_add=["kill"]).capabilities == ("CAP_KILL",)


def test_a_profile_is_kept_as_it_was(tmp_path):
    file = tmp_path / "profile"
    file.write_text('{ "defaultAction": "SCMP_ACT_ALLOW" }')
    made = planned(security_opt=[f"seccomp={file}"], privileged=True)
    file.unlink()
    assert (made.seccomp, made.security.seccomp_profile) == ("profile", '{"defaultAction":"SCMP_ACT_ALLOW"}')
    # As Docker's API has it, and as `inspect` shows it.
    assert planned(security_opt=made.security.options, privileged=True) == made
    file.write_text("root:x:0")
    with pytest.raises(Invalid, match="compacting json for seccomp profile"):
        planned(security_opt=[f"seccomp={file}"])


def test_devices():
    assert parse_device("/dev/a") == Device("/dev/a", "/dev/a", "rwm")
    assert parse_device("/dev/a:/dev/b") == Device("/dev/a", "/dev/b", "rwm")
    assert parse_device("/dev/a:r") == Device("/dev/a", "/dev/a", "r")
    assert parse_device("/dev/a:/dev/b:rw") == Device("/dev/a", "/dev/b", "rw")
    made = planned(devices=["v.com/c=x", "/dev/a", "v.com/c=y"], gpus=["2"], device_cgroup_rules=["b *:* m"]).devices
    assert made.nodes == (Device("/dev/a", "/dev/a"),)
    assert made.requests == (Request("", 2, (), ("gpu",)), Request("cdi", 0, ("v.com/c=x", "v.com/c=y")))
    assert parse_gpus("all").number == -1
    assert parse_gpus('driver=nvidia,"device=0,1","capabilities=utility",options=a') == Request(
        "nvidia", 0, ("0", "1"), ("utility", "gpu"), ("a",)
    )


def test_gpus_are_cdi_devices():
    known = ["nvidia.com/gpu=0", "nvidia.com/gpu=all", "v.com/c=x"]
    wanted = (parse_gpus("all"), parse_gpus("2"), parse_gpus("device=7"), Request("cdi", 0, ("v.com/c=x",)))
    assert cdi_names(wanted, known) == (
        "nvidia.com/gpu=all", "nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=7", "v.com/c=x",
    )  # fmt: skip
    with pytest.raises(Invalid) as error:
        cdi_names(wanted, ["v.com/c=x"])
    assert error.value.message == 'could not select device driver "" with capabilities: [[gpu]]'


def test_namespaces():
    made = planned(pid="container:a", ipc="shareable", uts="host", userns="host", cgroupns="host").namespaces
    assert made == Namespaces("container:id-of-a", "shareable", "host", "host", "host")
    for mode in ("", "private", "none"):
        with pytest.raises(Conflict, match="non-shareable IPC"):
            check_joinable("ipc", Namespaces(ipc=mode), "x")
        check_joinable("pid", Namespaces(ipc=mode), "x")
    check_joinable("ipc", Namespaces(ipc="shareable"), "x")


def test_it_survives_its_json():
    made = planned(
        privileged=True, devices=["/dev/a", "v.com/c=x"], gpus=["all"], device_cgroup_rules=["c 1:3 r"], pid="host",
        memory="10m", device_read_bps=["/dev/a:1kb"], oom_score_adj=-5, cgroup_parent="/p", runtime="runc",
    )  # fmt: skip
    assert Plan.from_json(json.loads(json.dumps(made.to_json()))) == made
