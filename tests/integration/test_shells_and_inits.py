"""A shell with job control on a terminal, and a container with several children, without systemd."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from container_process import Terminal

from integration import programs
from integration.machine import Machine, wait_until

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with programs.machine("supervisor") as made:
        yield made


@pytest.fixture
def host(machine: Machine) -> Iterator[Machine]:
    yield machine
    programs.assert_all_goes_away(machine)


def at_terminal(host: Machine, *words: str) -> Terminal:
    options = host.options(*words)
    return Terminal(options["args"], options["env"], 33, 77)


SHELL = ("run", "-it", "--name", "work", "--hostname", "work", "-e", "PS1=$ ", "--network", "none")


def test_a_shell_with_job_control(host: Machine) -> None:
    terminal = at_terminal(host, *SHELL, "programs", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("stty size; tty; echo $-\n")
    said = terminal.read_until("m")
    terminal.read_until("$ ")
    assert "33 77\r\n/dev/pts/0\r\n" in said
    # Stopped by its key, on in the background, back, and ended by its key: the shell goes on.
    terminal.type("sleep 1000\n")
    wait_until(lambda: "sleep 1000" in host("top", "work"))
    terminal.type(b"\x1a")
    assert re.search(r"\[1\]\+\s+Stopped\s+sleep 1000", terminal.read_until("$ "))
    terminal.type("bg; jobs\n")
    assert re.search(r"\[1\]\+ sleep 1000 &\r\n\[1\]\+\s+Running\s+sleep 1000 &", terminal.read_until("$ "))
    terminal.type("fg\n")
    terminal.read_until("sleep 1000\r\n")
    terminal.type(b"\x03")
    terminal.read_until("^C")
    terminal.read_until("$ ")
    terminal.type("echo code=$?\n")
    assert "code=130" in terminal.read_until("130")
    # A new size is told to who is in front, and seen.
    terminal.type("bash -c 'trap \"stty size; exit 3\" WINCH; echo rea\"\"dy; while true; do sleep 0.05; done'\n")
    terminal.read_until("ready\r\n")
    terminal.resize(50, 120)
    terminal.read_until("50 120\r\n")
    terminal.read_until("$ ")
    terminal.type("exit 7\n")
    assert terminal.wait() == 7
    assert terminal.is_restored
    terminal.close()
    assert host.inspect("work")["State"]["ExitCode"] == 7


@pytest.mark.parametrize(("words", "keys"), [((), b"\x10\x11"), (("--detach-keys", "ctrl-x,d"), b"\x18d")])
def test_a_shell_is_left_and_found_again(host: Machine, words: tuple[str, ...], keys: bytes) -> None:
    terminal = at_terminal(host, *SHELL, *words, "programs", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("kept=here; sleep 1000 &\n")
    terminal.read_until("$ ")
    terminal.type(keys)
    assert terminal.wait() == 0
    assert terminal.is_restored
    terminal.close()
    assert host("ps", "--format", "{{.Names}}") == "work"
    terminal = at_terminal(host, "attach", *words, "work")
    terminal.type('echo "still $kept"; stty size; jobs\n')
    terminal.read_until("still here")
    assert re.search(r"33 77\r\n\[1\]\+\s+Running\s+sleep 1000 &", terminal.read_until("&"))
    terminal.type("exit\n")
    assert terminal.wait() == 0
    terminal.close()
    assert host.inspect("work")["State"]["Status"] == "exited"


def test_another_shell_beside_it(host: Machine) -> None:
    host("run", "-d", "--name", "work", "--network", "none", "programs", "sleep", "1000")
    terminal = at_terminal(host, "exec", "-it", "-e", "PS1=$ ", "work", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("sleep 2000\n")
    wait_until(lambda: "sleep 2000" in host("top", "work"))
    terminal.type(b"\x1a")
    assert "Stopped" in terminal.read_until("$ ")
    terminal.type("kill %1; wait; exit 9\n")
    assert terminal.wait() == 9
    assert terminal.is_restored
    terminal.close()
    wait_until(lambda: "sleep 2000" not in host("top", "work"))


def bodies(host: Machine, name: str) -> list[str]:
    """The orphans that have ended and were not waited for."""
    lines = [line.split() for line in host("exec", name, "ps", "-eo", "pid=,ppid=,stat=").splitlines()]
    assert max(int(pid) for pid, _, _ in lines) > 50, "none can have ended yet"
    return [pid for pid, parent, state in lines if parent == "1" and state.startswith("Z")]


def test_an_init_with_several_children(host: Machine) -> None:
    if not any(map(shutil.which, ("docker-init", "tini-static", "catatonit", "tini"))):
        pytest.skip("needs an init (package tini)")
    host("run", "-d", "--name", "all", "--init", "--network", "none", "supervisor")
    wait_until(lambda: "worker starts" in host("logs", "all"))
    # A service that is killed is started again by its supervisor.
    service = re.findall(r"web starts as (\d+)", host("logs", "all"))[0]
    host("exec", "all", "kill", "-9", service)
    wait_until(lambda: host("logs", "all").count("web starts") == 2)
    # Orphans come and go: there is a moment without a body, which would not come again if they stayed.
    wait_until(lambda: "PID 50" in host("exec", "all", "sh", "-c", "sh -c 'test $$ -gt 50' && echo PID 50", code=None))
    wait_until(lambda: not bodies(host, "all"))
    pids = [int(line.split()[0]) for line in host("top", "all", "-o", "pid").splitlines()[1:]]
    assert len(pids) >= 5
    host("stop", "all")
    state = host.inspect("all")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert host("logs", "--tail", "3", "all").splitlines() == ["web ends", "worker ends", "all ended"]
    # The one in a session of its own, which hears no signal, is gone with the container.
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
