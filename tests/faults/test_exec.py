"""``exec`` in a container that really runs: streams, terminals, users, every way to fail and to be left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from container_process import Cais, wait_until

from cais.events.log import EventLog

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def name(box: Cais):
    box("run", "-d", "--name", "long", "-e", "OF=image", "--network", "none", "box", "sleep", "1000")
    yield "long"
    box("rm", "-f", "long")


def run(box: Cais, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        box.command("exec", *words), env=box.env, capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_streams_and_exit_code(box, name):
    done = run(box, "-i", name, "sh", "-c", "cat; echo err >&2; exit 7", input="through")
    assert (done.stdout, done.stderr, done.returncode) == ("through", "err\n", 7)
    assert run(box, name, "cat", input="not handed in").stdout == ""
    assert run(box, name, "sh", "-c", "kill -9 $$").returncode == 137
    assert [entry for entry in os.listdir(box.root / "run" / box.inspect(name)["Id"]) if "exec" in entry] == []


def test_the_environment_is_the_containers_and_its_own(box, name, tmp_path):
    (tmp_path / "env").write_text("FILE=1\n")
    said = run(box, "-e", "A=1", "-e", "OF=exec", "--env-file", str(tmp_path / "env"), name, "env").stdout
    assert {"A=1", "OF=exec", "FILE=1", "HOME=/root"} <= set(said.split())
    assert "TERM=xterm" in run(box, "-t", name, "env").stdout.split()
    assert run(box, "-w", "/bin", name, "pwd").stdout == "/bin\n"


def test_what_is_larger_than_a_pipe_arrives_whole(box, name):
    """The runtime is handed its process by one."""
    flags = [word for number in range(3) for word in ("-e", f"V{number}={str(number) * 100_000}")]
    done = run(box, *flags, name, "sh", "-c", "echo ${#V0} ${#V1} ${#V2}")
    assert done.stdout == "100000 100000 100000\n", done.stderr


def test_a_command_killed_before_it_said_what_to_run_starts_nothing(box, name):
    """Its runtime is there already, and waits for that: it ends with it."""
    program = """
import os, signal, sys
from cais.container import exec as execution
execution.look_up = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from cais.cli import main
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "exec", name, "touch", "/started"],
        env=box.env, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    id = box.inspect(name)["Id"]
    wait_until(lambda: not [words for words in command_lines() if b"exec" in words and id.encode() in words])
    assert run(box, name, "ls", "/started").returncode != 0


def command_lines() -> list[list[bytes]]:
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                found.append(file.read().split(b"\0"))
        except OSError:
            continue  # it has ended
    return found


def test_users_are_looked_up_inside(box, name):
    run(box, name, "sh", "-c", "echo inner:x:77:78::/in:/bin/sh >>/etc/passwd; echo more:x:79:inner >>/etc/group")
    assert run(box, "-u", "inner", name, "id", "-u").stdout == "77\n"
    assert run(box, "-u", "inner", name, "id", "-G").stdout.split() == ["78", "79"]
    assert run(box, "-u", "inner", name, "sh", "-c", "echo $HOME").stdout == "/in\n"
    capabilities = run(box, "--privileged", "-u", "inner", name, "grep", "CapEff", "/proc/self/status").stdout
    assert capabilities.split()[1].strip("0") == ""
    all_of_them = int(run(box, "--privileged", name, "grep", "CapEff", "/proc/self/status").stdout.split()[1], 16)
    assert all_of_them > int(run(box, name, "grep", "CapEff", "/proc/self/status").stdout.split()[1], 16)


@pytest.mark.parametrize(
    ("flags", "words", "code", "message"),
    [
        (
            [],
            ["nope"],
            127,
            'unable to start container process: exec: "nope": executable file not found in $PATH: unknown',
        ),
        ([], ["/bin"], 126, 'exec: "/bin": permission denied'),
        (["-w", "/nope"], ["true"], 126, 'chdir to cwd ("/nope") set in config.json failed: no such file or directory'),
        (["-w", "rel"], ["true"], 126, "Cwd must be an absolute path"),
        (["-u", "nobody-here"], ["true"], 126, "unable to find user nobody-here: no matching entries in passwd file"),
        (["-it"], ["true"], 1, "the input device is not a TTY"),
    ],
)
def test_what_does_not_start(box, name, flags, words, code, message):
    done = run(box, *flags, name, *words, stdin=subprocess.DEVNULL)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_where_nothing_runs(box):
    box("create", "--name", "still", "box", "true")
    id = box.inspect("still")["Id"]
    for flags in ([], ["-t"], ["-d"], ["-dt"]):
        assert box("exec", *flags, "still", "true", code=1) == f"Error: container {id} is not running\n"
    assert box("exec", "nobody", "true", code=1) == "Error: No such container: nobody\n"
    box("rm", "still")


def test_detached_it_goes_on_and_its_end_is_told(box, name):
    box("exec", "-d", name, "sh", "-c", "sleep 333; exit 5")
    pid = next(line.split()[0] for line in run(box, name, "ps").stdout.splitlines() if "sleep 333" in line)
    (exec_id,) = box.inspect(name)["ExecIDs"]
    assert 0 < len(_programs_beside(exec_id)) <= 2  # a shell and the runtime
    assert not any(program.startswith("python") for program in _programs_beside(exec_id))
    box("exec", "-dt", name, "sh", "-c", "tty >/tmp/tty; yes | head -100000; echo done >/tmp/done; sleep 1000")
    wait_until(lambda: run(box, name, "cat", "/tmp/done").stdout == "done\n")  # nobody reads, and it goes on
    assert run(box, name, "cat", "/tmp/tty").stdout.startswith("/dev/pts/")
    run(box, name, "sh", "-c", f"kill $(pgrep -f 'sleep 33[3]') {pid}")
    wait_until(lambda: len(box.inspect(name)["ExecIDs"]) == 1)
    wait_until(lambda: (exec_id, "143") in _exec_ends(box))
    assert "executable file not found" in box("exec", "-d", name, "nope", code=127)
    known = _exec_ends(box)
    box("exec", "-d", name, "true")
    wait_until(lambda: [code for _, code in _exec_ends(box)[len(known) :]] == ["0"])
    directory = box.root / "run" / box.inspect(name)["Id"]
    wait_until(lambda: [entry.name[5:] for entry in directory.glob("exec-*")] == box.inspect(name)["ExecIDs"])


def _exec_ends(box) -> list[tuple[str, str]]:
    """(id, exit code) of what has ended, by the events."""
    events = [event for event in EventLog(str(box.root)).read() if event.action == "exec_die"]
    return [(event.attributes["execID"], event.attributes["exitCode"]) for event in events]


def _programs_beside(exec_id: str) -> list[str]:
    """What runs on the host for the sake of a process in a container."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                if exec_id.encode() in file.read():
                    found.append(os.path.basename(os.readlink(f"/proc/{entry}/exe")))
        except OSError:
            continue
    return found


def test_interrupted_it_goes_on(box, name):
    script = "echo up; sleep 1; while :; do echo more; sleep 0.02; done & wait"
    process = box.start("exec", name, "sh", "-c", script + " # stays")
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    process.stdout.close()
    for _ in range(2):
        assert "# stays" in run(box, name, "ps").stdout
        assert run(box, name, "sleep", "1.2").returncode == 0
    run(box, name, "sh", "-c", "kill -9 $(ps | grep '# stay[s]' | awk '{print $1}')")


def test_a_shell_with_job_control(box, name):
    def sleeps() -> str:
        pid = next(line.split()[0] for line in run(box, name, "ps").stdout.splitlines() if "sleep 500" in line)
        return run(box, name, "cat", f"/proc/{pid}/stat").stdout.split()[2]

    terminal = box.at_terminal("exec", "-it", name, "sh")
    terminal.type("stty size; tty; set -m\n")
    assert "33 77" in terminal.read_until("/dev/pts/")
    terminal.type("sleep 500\n")
    wait_until(lambda: "sleep 500" in run(box, name, "ps").stdout)
    terminal.type(b"\x1a")  # ctrl-z
    terminal.read_until("Stopped")
    terminal.type("bg; jobs\n")
    terminal.read_until("Running")
    terminal.type("kill -STOP %1\n")
    wait_until(lambda: sleeps() == "T")
    terminal.type("fg\n")
    wait_until(lambda: sleeps() == "S")  # it has the terminal before it goes on
    terminal.type(b"\x03")
    terminal.type("echo code $?\n")
    terminal.read_until("code 130")
    terminal.resize(40, 100)
    terminal.type("stty size\n")
    terminal.read_until("40 100")
    terminal.type("exit 9\n")
    assert terminal.wait() == 9
    assert terminal.is_restored
    terminal.close()


@pytest.mark.parametrize(("flags", "keys"), [((), b"\x10\x11"), (("--detach-keys", "a,ctrl-b"), b"a\x02")])
def test_detach_keys(box, name, flags, keys):
    before = len(box.inspect(name)["ExecIDs"] or ())
    terminal = box.at_terminal("exec", *flags, "-it", name, "sh", "-c", "echo up; sleep 600")
    terminal.read_until("up")
    terminal.type(keys)
    assert terminal.wait() == 1
    assert b"read escape sequence" in terminal.said
    assert len(box.inspect(name)["ExecIDs"]) == before + 1
    assert terminal.is_restored
    terminal.close()
    box("exec", name, "sh", "-c", "kill $(ps | grep 'sleep 60[0]' | awk '{print $1}')", code=None)


def test_no_detach_keys(box, name):
    terminal = box.at_terminal("exec", "--detach-keys", "", "-it", name, "sh", "-c", "stty -ixon; echo up; cat -v")
    terminal.read_until("up")
    terminal.type(b"\x10\x11\n")
    terminal.read_until("^P^Q")
    terminal.type(b"\x04")
    assert terminal.wait() == 0
    terminal.close()
