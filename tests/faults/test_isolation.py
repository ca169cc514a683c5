"""What flags of resources, security, devices and namespaces do to a container, seen from inside; update; inspect."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from container_process import Cais, wait_until

from cais.runtime.find import cgroups

pytestmark = pytest.mark.root

needs_v1 = pytest.mark.skipif(
    not {"memory", "cpu", "pids", "cpuset", "blkio"} <= cgroups().controllers
    or cgroups().mode not in ("legacy", "hybrid"),
    reason="needs all controllers of cgroup v1",
)


@pytest.fixture(scope="module")
def cais(box) -> Cais:
    return box


@pytest.fixture(params=["crun", "runc"])
def runtime(request) -> str:
    if not shutil.which(request.param):
        pytest.skip(f"needs {request.param}")
    return request.param


def run(cais: Cais, *words: str, code: int | None = 0) -> str:
    return cais("run", "--rm", "--network", "none", *words, code=code)


def limits(cais: Cais, id: str, *files: str) -> list[str]:
    """What the control groups of a container say, read inside."""
    return cais("exec", id, "sh", "-c", "cd /sys/fs/cgroup && cat " + " ".join(files)).split()


def a_disk() -> tuple[str, str]:
    """The path and the numbers of a block device."""
    for name in sorted(os.listdir("/dev")):
        status = os.lstat(f"/dev/{name}")
        if stat.S_ISBLK(status.st_mode) and os.path.exists(f"/sys/block/{name}"):
            return f"/dev/{name}", f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    pytest.skip("needs a block device")


@needs_v1
def test_resources(cais, runtime):
    path, numbers = a_disk()
    said = run(
        cais, "--runtime", runtime, "-m", "100m", "--memory-reservation", "50m", "--memory-swappiness", "10",
        "--cpu-period", "50000", "--cpu-quota", "25000", "-c", "512", "--pids-limit", "50", "--cpuset-cpus", "0",
        "--cpuset-mems", "0", "--device-read-bps", f"{path}:1mb", "--device-write-iops", f"{path}:20",
        "--oom-score-adj", "500", "--oom-kill-disable", "--shm-size", "3m", "--ulimit", "nofile=99:100", "box", "sh",
        "-c",
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes "
        "memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us "
        "cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus cpuset/cpuset.mems blkio/blkio.throttle.read_bps_device "
        "blkio/blkio.throttle.write_iops_device /proc/self/oom_score_adj; head -1 memory/memory.oom_control; "
        "ulimit -Sn; ulimit -Hn; df -k /dev/shm | tail -1",
    )  # fmt: skip
    assert said.split()[:21] == [
        "104857600", "209715200", "52428800", "10", "50000", "25000", "512", "50", "0", "0", numbers, "1048576",
        numbers, "20", "500", "oom_kill_disable", "1", "99", "100", "shm", "3072",
    ]  # fmt: skip


def test_what_the_host_lacks_is_said_and_the_rest_goes_on(cais):
    said = run(cais, "--ulimit", "nofile=99999999", "--security-opt", "label=type:x_t", "box", "echo", "done")
    assert "WARNING: the limit nofile is" in said and said.startswith("done\n")
    assert "SELinux" in said or os.path.exists("/sys/fs/selinux/enforce")


def test_privileged(cais, runtime):
    script = "grep -e CapEff -e Seccomp: /proc/self/status; mount; ls -l /dev"
    private = run(cais, "--runtime", runtime, "--privileged", "box", "sh", "-c", script)
    plain = run(cais, "--runtime", runtime, "box", "sh", "-c", script)
    assert "Seccomp:\t0\n" in private
    assert "sysfs on /sys type sysfs (rw" in private and "sysfs on /sys type sysfs (ro" in plain
    assert "/proc/sys" in plain and "/proc/sys" not in private
    path, _ = a_disk()
    assert f" {path.removeprefix('/dev/')}\n" in private and f" {path.removeprefix('/dev/')}\n" not in plain
    bounding = Path("/proc/self/status").read_text().partition("CapBnd:")[2].split()[0]
    assert f"CapEff:\t{bounding}\n" in private


def test_masks_and_privileges(cais):
    said = run(cais, "--security-opt", "systempaths=unconfined", "--security-opt", "no-new-privileges", "box", "sh",
               "-c", "mount | grep /proc/; grep -e NoNew -e CapEff /proc/self/status", code=0)  # fmt: skip
    assert "/proc/" not in said and "NoNewPrivs:\t1" in said and "CapEff:\t00000000a80425fb" in said


def test_a_seccomp_profile_of_ones_own(cais, tmp_path, runtime):
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    profile = tmp_path / "profile.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    cais("create", "--runtime", runtime, "--network", "none", "--name", f"strict-{runtime}", "--security-opt",
         f"seccomp={profile}", "box", "mkdir", "/made")  # fmt: skip
    profile.unlink()  # it is the container's own from now on
    assert "Function not implemented" in cais("start", "-a", f"strict-{runtime}", code=1)
    options = cais.inspect(f"strict-{runtime}")["HostConfig"]["SecurityOpt"]
    assert options == [
        f'seccomp={{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{json.dumps(rule, separators=(",", ":"))}]}}'
    ]


def test_devices(cais, tmp_path, runtime):
    (tmp_path / "many" / "deep").mkdir(parents=True)
    os.mknod(tmp_path / "many" / "a", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(tmp_path / "many" / "deep" / "b", 0o640 | stat.S_IFCHR, os.makedev(1, 5))
    os.mknod(tmp_path / "node", 0o666 | stat.S_IFCHR, os.makedev(10, 237))
    (tmp_path / "link").symlink_to("node")
    said = run(
        cais, "--runtime", runtime, "--device", f"{tmp_path}/many:/dev/many", "--device", f"{tmp_path}/link:/dev/f:r",
        "box", "sh", "-c", "stat -c '%n %t %T %a' /dev/many/a /dev/many/deep/b /dev/f; : > /dev/f",
        code=None,
    )  # fmt: skip
    assert said.splitlines()[:3] == ["/dev/many/a 1 3 600", "/dev/many/deep/b 1 5 640", "/dev/f a ed 644"]
    if "devices" in cgroups().controllers:
        assert "can't create /dev/f: Operation not permitted" in said
    missing = run(cais, "--device", "/dev/nope", "box", "true", code=125)
    assert 'error gathering device information while adding custom device "/dev/nope": no such file' in missing


@pytest.mark.skipif("devices" not in cgroups().controllers, reason="needs the devices controller of cgroup v1")
def test_rules_of_devices(cais):
    probe = "mknod /dev/loop-x c 10 237; exec 3< /dev/loop-x && echo opened"
    assert "opened" not in run(cais, "box", "sh", "-c", probe, code=1)
    rule = "c 10:* rwm"
    said = run(cais, "--device-cgroup-rule", rule, "box", "sh", "-c", probe + "; true", code=0)
    assert "not permitted" not in said


def test_namespaces_of_the_host(cais, runtime):
    script = "hostname; for n in pid ipc uts; do readlink /proc/self/ns/$n; done; ls -d /proc/" + str(os.getpid())
    said = run(cais, "--runtime", runtime, "--pid", "host", "--ipc", "host", "--uts", "host", "box", "sh", "-c", script)
    assert said.split() == [
        os.uname().nodename, *(os.readlink(f"/proc/self/ns/{kind}") for kind in ("pid", "ipc", "uts")),
        f"/proc/{os.getpid()}",
    ]  # fmt: skip


def test_namespaces_of_another_container(cais, runtime):
    name = f"donor-{runtime}"
    cais("run", "-d", "--network", "none", "--name", name, "--ipc", "shareable", "box", "sh", "-c",
         "echo shared > /dev/shm/file; exec sleep 1000")  # fmt: skip
    try:
        joined = ("--runtime", runtime, "--pid", f"container:{name}", "--ipc", f"container:{name}")
        assert "shared" in run(cais, *joined, "box", "cat", "/dev/shm/file")
        assert "sleep 1000" in run(cais, *joined, "box", "ps")
        run(cais, *joined, "box", "touch", "/dev/shm/new")
        assert set(cais("exec", name, "ls", "/dev/shm").split()) == {"file", "new"}
        id = cais.inspect(name)["Id"]
        made = cais("create", "--network", "none", "--pid", f"container:{name}", "box", "true").strip()
        assert cais.inspect(made)["HostConfig"]["PidMode"] == f"container:{id}"
    finally:
        cais("rm", "-f", name)
    said = cais("start", "-a", made, code=None)
    assert f"failed to join PID namespace: container {id} is not running" in said
    assert "non-shareable IPC" in run(cais, "--ipc", f"container:{made}", "box", "true", code=125)
    assert "No such container: nope" in run(cais, "--pid", "container:nope", "box", "true", code=125)


def test_the_runtime_of_a_container_is_its_own(cais, runtime):
    id = cais("run", "-d", "--network", "none", "--runtime", runtime, "box", "sleep", "1000").strip()
    note = "state.json" if runtime == "runc" else "status"
    assert note in os.listdir(cais.root / "run" / ".state" / id)
    assert cais.inspect(id)["HostConfig"]["Runtime"] == runtime
    assert cais("exec", id, "echo", "inside") == "inside\n"
    cais("rm", "-f", id)
    wait_until(cais.nothing_left)
    assert "unknown or invalid runtime name: foo" in run(cais, "--runtime", "foo", "box", "true", code=125)


@needs_v1
def test_update(cais, runtime):
    id = cais("run", "-d", "--network", "none", "--runtime", runtime, "box", "sleep", "1000").strip()
    files = ("memory/memory.limit_in_bytes", "memory/memory.memsw.limit_in_bytes", "pids/pids.max", "cpu/cpu.shares")
    try:
        assert cais("update", "-m", "20m", "--pids-limit", "9", "-c", "77", id) == id + "\n"
        assert limits(cais, id, *files) == ["20971520", "41943040", "9", "77"]
        # Both grow: neither order of writing them may fail.
        cais("update", "-m", "200m", "--memory-swap", "300m", "--restart", "always", id)
        assert limits(cais, id, *files) == ["209715200", "314572800", "9", "77"]
        cais("update", "-m", "20m", "--memory-swap", "20m", "--pids-limit", "-1", id)
        assert limits(cais, id, *files) in (
            ["20971520", "20971520", "max", "77"],
            ["20971520", "20971520", "4194304", "77"],
        )
        said = cais("update", "-m", "500m", id, "nobody", code=1)
        assert f"Cannot update container {id}: Memory limit should be smaller than already set memoryswap" in said
        assert "No such container: nobody" in said
        assert limits(cais, id, files[0]) == ["20971520"]
        config = cais.inspect(id)["HostConfig"]
        assert (config["Memory"], config["MemorySwap"], config["PidsLimit"], config["CpuShares"]) == (
            20971520, 20971520, None, 77,
        )  # fmt: skip
        assert config["RestartPolicy"]["Name"] == "always"
    finally:
        cais("rm", "-f", id)


def test_update_of_what_does_not_run(cais):
    cais("create", "--network", "none", "--name", "later", "-m", "50m", "box", "true")
    cais("update", "--cpus", "0.5", "--memory-swap", "1g", "later")
    config = cais.inspect("later")["HostConfig"]
    assert (config["NanoCpus"], config["Memory"], config["MemorySwap"]) == (500_000_000, 50 << 20, 1 << 30)
    assert "CPU Quota cannot be updated as NanoCPUs has already been set" in cais(
        "update", "--cpu-quota", "5000", "later", code=1
    )
    assert cais("update", "later", code=1) == "you must provide one or more flags when using this command\n"
    assert cais("update", "-m", "1m", "later", code=1).startswith("Error: Minimum memory limit allowed is 6MB")
    cais("rm", "later")


def test_info_counts_what_is_and_says_what_the_host_has(cais, runtime):
    facts = json.loads(cais("info", "-f", "json"))
    id = cais("run", "-d", "--network", "none", "box", "sleep", "1000").strip()
    try:
        now = json.loads(cais("info", "-f", "json"))
        assert now["ContainersRunning"] == facts["ContainersRunning"] + 1
        assert now["Containers"] == now["ContainersRunning"] + now["ContainersPaused"] + now["ContainersStopped"]
        assert now["ID"] == facts["ID"] and len(now["ID"]) == 36
        assert now["Runtimes"][runtime] == {"path": shutil.which(runtime)}
        text = cais("info")
        assert text.startswith("Client:\n Version:") and f"\nServer:\n Containers: {now['Containers']}\n" in text
        assert f"\n  Running: {now['ContainersRunning']}\n" in text and "\n Security Options:\n" in text
    finally:
        cais("rm", "-f", id)


def test_says_where_system_calls_are_not_filtered(cais):
    hidden = 'for d in /etc/containers /usr/share/containers; do [ ! -d $d ] || mount -t tmpfs t $d; done; exec "$@"'
    words = ("run", "--rm", "--network", "none", "box", "grep", "Seccomp:", "/proc/self/status")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hidden, "sh", *cais.command(*words)], env=cais.env, check=True, timeout=60,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["Seccomp:", "0"]
    assert "WARNING: the container's system calls are not filtered" in done.stderr
    assert "WARNING" not in cais(*words)
