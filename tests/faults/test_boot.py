"""A reboot, as the host's containers see it: all processes gone, another boot id, and what is started then."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from container_process import Cais, wait_until
from own_host import OwnHost

from cais.host.processes import start_ticks

pytestmark = pytest.mark.root
SERVER = "trap 'exit' TERM; while :; do nc -l -p 80 < /data/file; done"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def with_boot_id(path: Path, command: list[str]) -> list[str]:
    """A command on a host with another boot id: what it starts has it, too."""
    script = f'mount --make-rprivate / && mount --bind "$0" {BOOT_ID} && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, str(path), *command]


class Rebooted(Cais):
    def __init__(self, root: Path, boot_file: Path) -> None:
        super().__init__(root)
        self.boot_file = boot_file

    def command(self, *words: str) -> list[str]:
        return with_boot_id(self.boot_file, super().command(*words))


class RebootedHost(OwnHost):
    def __init__(self, root: Path, boot_file: Path) -> None:
        super().__init__(root)
        self.boot_file = boot_file

    def command(self, *words: str) -> list[str]:
        return with_boot_id(self.boot_file, super().command(*words))


def kill_all(cais: Cais) -> None:
    """Every process of every container, and before them who watches over one, so that nobody notes an end."""
    containers = [int(path.read_text()) for path in (cais.root / "run").glob("*/pid")]
    wait_until(lambda: not any(killed(pid) for pid in watchers(cais)))
    for pid in containers:
        killed(pid)
    wait_until(lambda: all(start_ticks(pid) is None for pid in containers))


def watchers(cais: Cais) -> list[int]:
    """Monitors, who waits for a restart or a health check, and what these have started."""
    root = os.fsencode(cais.root)
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if root in file.read():
                    found.append(int(name))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has just ended
    return found


def killed(pid: int) -> bool:
    """False where it had ended before."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def run(cais: Cais, name: str, policy: str, *flags: str) -> None:
    words = ("--name", name, "--network", "none", "--stop-timeout", "0", "--restart", policy, *flags)
    cais("run", "-d", *words, "box", "sleep", "1000")


@pytest.fixture
def after_reboot(box, tmp_path) -> Rebooted:
    if not shutil.which("unshare"):
        pytest.skip("needs unshare (package util-linux)")
    path = tmp_path / "boot_id"
    path.write_text(f"{uuid.uuid4()}\n")
    return Rebooted(box.root, path)


def test_after_a_reboot_records_are_true_and_what_is_to_run_runs(box, after_reboot):
    run(box, "always", "always")
    run(box, "always-stopped", "always")
    run(box, "unless", "unless-stopped", "--health-cmd", "true", "--health-interval", "100ms")
    run(box, "unless-stopped", "unless-stopped")
    run(box, "failing", "on-failure")
    run(box, "plain", "no")
    box("create", "--name", "never", "--network", "none", "--restart", "always", "box", "sleep", "1000")
    box("stop", "-t", "0", "always-stopped", "unless-stopped")
    kill_all(box)
    for name in ("always", "unless", "plain", "failing"):
        facts = after_reboot.state(name)
        assert (facts["Status"], facts["ExitCode"], facts["Pid"]) == ("exited", 255, 0)
    started = after_reboot("system", "start").split()
    assert sorted(started) == ["always", "always-stopped", "unless"]
    names = ("always", "always-stopped", "unless", "unless-stopped", "failing", "plain", "never")
    states = {name: after_reboot.state(name)["Status"] for name in names}
    assert sorted(started) == sorted(name for name in names if states[name] == "running")
    assert states["never"] == "created"
    wait_until(lambda: after_reboot.state("unless")["Health"]["Status"] == "healthy")
    assert after_reboot("system", "start") == ""
    after_reboot("rm", "-f", *names)
    assert after_reboot.nothing_left()


def test_a_note_of_another_boot_is_not_believed(box, after_reboot):
    """The pid of before may be anybody's now, even with the same start."""
    run(box, "before", "no")
    pid = box.pid("before")
    assert after_reboot.state("before")["Status"] == "exited"
    assert start_ticks(pid) is not None
    kill_all(box)
    after_reboot("start", "before")
    assert after_reboot.pid("before") != pid
    after_reboot("rm", "-f", "before")


def test_after_a_reboot_networks_and_ports_come_back(box, tmp_path):
    """Another boot id, and a network namespace with nothing in it."""
    path = tmp_path / "boot_id"
    path.write_text(f"{uuid.uuid4()}\n")
    before, after = OwnHost(box.root), RebootedHost(box.root, path)
    try:
        before("network", "create", "--subnet", "10.77.0.0/29", "net")
        on = ("--stop-timeout", "0", "--restart", "always", "--network", "net", "-v", "kept:/data")
        before("run", "-d", "--name", "server", "-p", "18080:80", *on, "box", "sh", "-c", SERVER)
        before("run", "-d", "--name", "second", *on, "box", "sleep", "1000")
        before("run", "-d", "--name", "third", "--network", "net", "box", "sleep", "1000")
        before("exec", "server", "sh", "-c", "echo kept > /data/file")
        for pid in sorted(before.machine()["processes"]):
            with contextlib.suppress(ProcessLookupError):  # it ended with one before it
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not before.alive() and not before.machine()["processes"])
        before.power_off()
        assert {after.state(name)["Status"] for name in ("server", "second", "third")} == {"exited"}
        assert after("ps", "-q") == "" and after("network", "inspect", "-f", "{{len .Containers}}", "net") == "0\n"
        assert after("system", "start").split() == ["server", "second"]
        wait_until(lambda: after.on_host("busybox", "nc", "-w", "5", "127.0.0.1", "18080") == "kept\n")
        assert "10.77.0." in after("exec", "second", "nslookup", "server")
        # All three addresses of the small network are to be had again.
        after("run", "--rm", "--network", "net", "box", "true")
        after("start", "third")
        assert after("system", "check") == "All is well\n"
        after("rm", "-f", "server", "second", "third")
        after("network", "rm", "net")
        after("volume", "rm", "kept")
        assert after.machine()["links"] == ["lo"] and after.machine()["nft"] == [] and after.nothing_left()
    finally:
        before.close()
        after.close()


def test_stopped_with_the_host_is_not_stopped_by_hand(box):
    run(box, "up", "unless-stopped")
    run(box, "by-hand", "unless-stopped")
    box("stop", "-t", "0", "by-hand")
    run(box, "other", "no")
    assert sorted(box("system", "stop").split()) == ["other", "up"]
    assert {box.state(name)["Status"] for name in ("up", "by-hand", "other")} == {"exited"}
    assert box("system", "start").split() == ["up"]
    box("rm", "-f", "up", "by-hand", "other")


def test_the_unit_is_one_that_systemd_understands(box, tmp_path):
    text = box("system", "enable", "--print")
    assert f"--root {box.root} system start" in text
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("needs systemd-analyze (package systemd)")
    path = tmp_path / "cais.service"
    path.write_text(text)
    done = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_enable_writes_one_unit_and_disable_removes_it(box):
    script = (
        "mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/system"
        " && mount -t tmpfs none /etc/systemd/system && "
        '"$@" system enable && "$@" system enable && find /etc/systemd/system -type f -o -type l'
        ' && "$@" --root /elsewhere system enable; "$@" system disable; find /etc/systemd/system -type f -o -type l'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *box.command()],
        env=box.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    unit = "/etc/systemd/system/cais.service"
    link = "/etc/systemd/system/multi-user.target.wants/cais.service"
    lines = done.stdout.split("\n")
    assert lines[:2] == [unit, unit] and sorted(lines[2:4]) == [unit, link]
    assert lines[4:] == [f"removed {unit}", ""]
    assert "starts the containers of another root directory" in done.stderr


def test_without_systemd_it_says_what_to_do_instead(box):
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --make-rprivate / && mount -t tmpfs none /run && exec "$@"', "sh",
         *box.command("system", "enable")],
        env=box.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1 and "cais system start" in done.stderr and "@reboot" in done.stderr
