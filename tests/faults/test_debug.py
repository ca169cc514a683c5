"""A shell with tools of its own in containers that have none: what it sees, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cais_process import BUSYBOX
from container_process import Cais, wait_until

from cais.host.processes import start_ticks

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def bare(box: Cais, tmp_path_factory: pytest.TempPathFactory) -> Cais:
    """A container that has one program, which runs as user 1000, and the tools as the image ``busybox``."""
    context = tmp_path_factory.mktemp("context")
    (context / "busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (context / "Dockerfile").write_text("FROM scratch\nCOPY --chmod=755 busybox /busybox\nUSER 1000\n")
    box("build", "-q", "-t", "bare", str(context))
    box("tag", "box", "busybox")
    words = ("--name", "bare", "--network", "none", "--hostname", "bare-host", "--stop-timeout", "0", "-v", "/kept")
    box("run", "-d", *words, "bare", "/busybox", "sleep", "1000")
    box("run", "--rm", "--network", "none", "busybox", "true")  # its layers are unpacked with the first use
    return box


def processes(command: bytes) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and Path("/proc", name, "cmdline").read_bytes() == command:
                found.append(int(name))
        except OSError:
            continue
    return found


def traces(cais: Cais) -> tuple[list[str], list[str], str]:
    """What a debugger might leave."""
    runs = sorted(name for name in os.listdir(cais.root / "run") if not name.startswith("."))
    return runs, sorted(os.listdir(cais.root / "snapshots")), cais("diff", "bare")


def test_it_is_in_the_containers_namespaces_with_its_rights(bare: Cais) -> None:
    before = traces(bare)
    script = "ps; hostname; pwd; touch /target/kept/from; readlink /proc/self/ns/net"
    said = bare("container", "debug", "bare", "sh", "-c", script)
    assert "/busybox sleep 1000" in said and "bare-host\n/target\n" in said
    assert os.readlink(f"/proc/{bare.pid('bare')}/ns/net") in said
    assert bare("container", "debug", "bare", "ls", "/target/kept").split() == ["from"]
    bounding = "grep -h CapBnd /proc/self/status /proc/1/status"
    assert len(set(bare("container", "debug", "bare", "sh", "-c", bounding).split())) == 2
    assert traces(bare) == before


def test_exit_codes_are_the_commands(bare: Cais) -> None:
    bare("container", "debug", "bare", "sh", "-c", "exit 7", code=7)
    bare("container", "debug", "bare", "/no/such/program", code=127)
    assert "is not here" in bare("container", "debug", "--image", "nothing", "bare", code=1)
    assert "No such container" in bare("container", "debug", "nobody", code=1)


def test_a_terminal(bare: Cais) -> None:
    terminal = bare.at_terminal("container", "debug", "bare")
    try:
        terminal.type("echo $((6 * 7)); test -t 0 && echo is-terminal\n")
        terminal.read_until("42\r\nis-terminal")
        terminal.type("exit 3\n")
        assert terminal.wait() == 3 and terminal.is_restored
    finally:
        terminal.close()


def test_killed_it_leaves_nothing(bare: Cais) -> None:
    before = traces(bare)
    debugger = bare.start("container", "debug", "bare", "sh", "-c", "echo begun; exec sleep 3003")
    assert debugger.stdout is not None and debugger.stdout.readline() == b"begun\n"
    wait_until(lambda: processes(b"sleep\x003003\0"))
    inside = processes(b"sleep\x003003\0")
    debugger.send_signal(signal.SIGKILL)
    debugger.wait()
    debugger.stdout.close()
    wait_until(lambda: all(start_ticks(pid) is None for pid in inside))
    wait_until(lambda: traces(bare)[0] == before[0])
    bare("system", "prune", "-f", code=None)
    assert traces(bare)[2] == before[2]


def test_of_one_that_does_not_run_the_file_system_is_shown(bare: Cais) -> None:
    bare("stop", "bare")
    bare("container", "debug", "bare", "sh", "-c", "echo mended >/target/note; ps | grep -q '[b]usybox sleep'", code=1)
    bare("cp", "bare:/note", str(bare.root / "note"))
    assert (bare.root / "note").read_text() == "mended\n"
    bare("start", "bare")
    assert bare.state("bare")["Running"]
