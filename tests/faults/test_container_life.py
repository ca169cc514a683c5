"""Containers of real processes: terminals, signals, detaching, and every kind of sudden end."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from container_process import Cais, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def cais(box) -> Cais:
    return box


def test_a_terminal_is_followed_and_restored(cais):
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    before = termios.tcgetattr(slave)
    script = "stty size; trap 'stty size' WINCH; echo up; read x; tty; read y; exit 5"
    process = subprocess.Popen(
        cais.command("run", "-it", "--rm", "box", "sh", "-c", script),
        env=cais.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    said = b""

    def read_until(text: bytes) -> None:
        nonlocal said
        while text not in said:
            assert select.select([master], [], [], 20)[0], said
            said += os.read(master, 4096)

    read_until(b"up")
    assert b"33 77" in said
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process.send_signal(signal.SIGWINCH)
    read_until(b"40 100")
    os.write(master, b"\n")
    read_until(b"/dev/pts/0")
    os.write(master, b"\n")
    assert process.wait(20) == 5
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    assert cais.nothing_left()


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGTERM, "TERM"), (signal.SIGINT, "INT"), (signal.SIGUSR1, "USR1")]
)
def test_signals_are_passed_on(cais, number, name):
    script = f"trap 'echo got {name}; exit 9' {name}; echo up; while :; do sleep 0.05; done"
    process = cais.start("run", "--rm", "box", "sh", "-c", script)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.communicate(timeout=20)[0] == f"got {name}\n".encode()
    assert process.returncode == 9


def test_the_third_interrupt_kills(cais):
    process = cais.start("run", "--rm", "box", "sh", "-c", "trap 'echo int' INT; echo up; while :; do sleep 0.05; done")
    assert process.stdout.readline() == b"up\n"
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"int\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 137
    assert cais.nothing_left()


def test_nobody_reads_any_more(cais):
    process = cais.start("run", "--rm", "box", "yes", stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    process.wait(20)
    assert cais.nothing_left()


def test_much_input_and_output(cais):
    process = cais.start("run", "-i", "--rm", "box", "cat", stdin=subprocess.PIPE)
    data = os.urandom(1 << 20) * 8
    assert process.communicate(data, timeout=60)[0] == data


def test_a_killed_command_leaves_its_container_running(cais):
    process = cais.start(
        "run",
        "--name",
        "victim",
        "box",
        "sh",
        "-c",
        "trap 'echo on; exit 4' USR1; echo up; while :; do sleep 0.05; done",
    )
    assert process.stdout.readline() == b"up\n"
    pid = cais.pid("victim")
    process.kill()
    process.wait()
    assert cais.state("victim")["Pid"] == pid
    cais("kill", "-s", "USR1", "victim")
    assert cais("wait", "victim") == "4\n"
    assert cais("logs", "victim") == "up\non\n"
    cais("rm", "victim")
    assert cais.nothing_left()


def test_a_killed_command_takes_along_what_is_removed_with_its_end(cais):
    process = cais.start("run", "--rm", "--name", "victim", "-v", "/data", "box", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    pid = cais.pid("victim")
    process.kill()
    process.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe") and cais.nothing_left())
    state = cais.state("victim")
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    cais("run", "--rm", "box", "true")
    cais("container", "inspect", "victim", code=1)
    assert cais("ps", "-aq") == "" and cais("volume", "ls", "-q") == ""
    cais("system", "check")


def test_a_killed_guardian_is_made_up_for(cais):
    """Both are killed at once: the next command sees it and cleans up."""
    process = cais.start("run", "--rm", "--name", "victim", "box", "sh", "-c", "echo up; sleep 1000")
    assert process.stdout.readline() == b"up\n"
    pid = cais.pid("victim")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        if "cais" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.wait()
    assert cais.state("victim")["Status"] == "running"  # it does run, and that is what is said
    cais("rm", "-f", "victim")
    wait_until(lambda: not os.path.exists(f"/proc/{pid}/exe"))
    assert cais.nothing_left()


def test_detached_from_start_to_end(cais):
    cais("run", "-d", "--name", "free", "box", "sh", "-c", "echo one; echo two >&2; sleep 1000")
    assert cais.state("free")["Status"] == "running"
    assert "free" in cais("ps")
    wait_until(lambda: "two" in cais("logs", "free"))
    assert cais("logs", "--tail", "1", "free") == "two\n"
    cais("rm", "free", code=1)
    cais("run", "--name", "free", "box", "true", code=125)
    cais("stop", "-t", "0", "free")
    assert cais.state("free")["ExitCode"] == 137
    cais("start", "free")
    assert cais.state("free")["Status"] == "running"
    cais("kill", "free")
    assert cais("wait", "free") == "137\n"
    cais("rm", "free")
    wait_until(lambda: cais.nothing_left())


def test_detached_and_removed_with_its_end(cais):
    cais("run", "-d", "--rm", "-v", "/data", "--name", "brief", "box", "sleep", "0.2")
    wait_until(lambda: cais("ps", "-aq") == "" and cais("volume", "ls", "-q") == "" and cais.nothing_left())


def test_detached_and_not_startable(cais):
    said = cais("run", "-d", "--name", "none", "box", "nosuch", code=127)
    assert "not found" in said
    state = cais.state("none")
    assert cais.inspect("none")["Id"] == said.splitlines()[0]  # as with Docker its id is known all the same
    assert state["Status"] == "created" and "nosuch" in state["Error"]
    cais("rm", "none")
    assert cais.nothing_left()


def test_a_detached_container_whose_conmon_is_killed(cais):
    cais("run", "-d", "--name", "orphan", "box", "sleep", "1000")
    (bundle,) = (path for path in (cais.root / "run").iterdir() if not path.name.startswith("."))
    os.kill(int((bundle / "conmon.pid").read_text()), signal.SIGKILL)
    assert cais.state("orphan")["Status"] == "running"
    os.kill(cais.pid("orphan"), signal.SIGKILL)
    wait_until(lambda: cais.state("orphan")["Status"] == "exited")
    cais("start", "orphan")
    cais("rm", "-f", "orphan")
    wait_until(lambda: cais.nothing_left())


def test_the_exit_code_of_a_detached_container_is_waited_for(cais):
    cais("run", "-d", "--name", "late", "box", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    (bundle,) = (path for path in (cais.root / "run").iterdir() if not path.name.startswith("."))
    holder, pid = int((bundle / "conmon.pid").read_text()), cais.pid("late")
    os.kill(holder, signal.SIGSTOP)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
    assert cais.state("late")["Status"] == "running"  # how it ended is not known yet
    waiting = cais.start("wait", "late")
    os.kill(holder, signal.SIGCONT)
    assert waiting.communicate(timeout=60)[0] == b"3\n"
    assert cais.state("late")["ExitCode"] == 3
    cais("rm", "late")
    wait_until(lambda: cais.nothing_left())


def test_create_start_and_again(cais):
    cais("create", "--name", "twice", "box", "sh", "-c", "cat /count 2>/dev/null; echo x >> /count; exit 3")
    assert cais.state("twice")["Status"] == "created"
    assert cais("start", "-a", "twice", code=3) == ""
    assert cais("start", "-a", "twice", code=3) == "x\n"
    assert cais("logs", "twice") == "x\n"
    cais("rm", "twice")


def test_commit_has_the_changes_and_no_mount_points(cais):
    script = "rm /data/seed; echo new > /data/new; mkdir -p /srv; ln -s x /srv/link"
    cais("run", "--name", "changed", "-v", "/mnt/volume", "-w", "/work", "box", "sh", "-c", script)
    cais("commit", "-m", "why", "-a", "who", "-c", "CMD cat /data/new", "changed", "committed:1")
    cais("rm", "-v", "changed")
    listing = cais("run", "--rm", "committed:1", "sh", "-c", "ls /data; readlink /srv/link; ls -d /work")
    assert listing == "new\nx\n/work\n"
    assert cais("run", "--rm", "committed:1") == "new\n"
    archive = cais.root / "image.tar"
    cais("save", "-o", str(archive), "committed:1")
    config = json.loads(cais("image", "inspect", "committed:1"))[0]
    assert config["Author"] == "who" and config["Config"]["WorkingDir"] == "/work"
    names = subprocess.run(
        f"cd {cais.root} && mkdir x && tar -xf image.tar -C x && for f in x/blobs/sha256/*; do tar -tf $f; done",
        shell=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert "data/.wh.seed" in names and "data/new" in names
    assert not {"etc/hosts", "etc/resolv.conf", "etc/hostname", "proc/", "dev/", "sys/"} & set(names)


def test_many_at_once(cais):
    running = [cais.start("run", "--rm", "box", "sh", "-c", f"echo {number}; exit {number}") for number in range(8)]
    for number, process in enumerate(running):
        assert process.communicate(timeout=60)[0] == f"{number}\n".encode()
        assert process.returncode == number
    assert cais("ps", "-aq") == "" and cais.nothing_left()


def test_volumes_in_use_and_pruned(cais):
    cais("create", "--name", "user", "-v", "named:/a", "-v", "/b", "box", "true")
    assert "volume is in use" in cais("volume", "rm", "named", code=1)
    assert "0B" in cais("volume", "prune", "-f")
    cais("rm", "user")
    names = cais("volume", "ls", "-q").split()
    assert len(names) == 2 and "named" in names
    cais("volume", "prune", "-f")
    assert cais("volume", "ls", "-q") == "named\n"
    cais("volume", "prune", "-af")
    assert cais("volume", "ls", "-q") == ""


def test_container_ls_needs_no_runtime_and_starts_nothing(cais):
    cais("create", "--name", "there", "box", "true")
    traced = shutil.which("strace")
    if traced:
        done = subprocess.run(
            [traced, "-f", "-e", "trace=execve,fork,vfork,clone", *cais.command("ps", "-a")],
            env=cais.env, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stderr.count("execve(") == 1 and "clone(" not in done.stderr
    else:
        assert "there" in cais("ps", "-a")
    cais("rm", "there")
