"""``ports.Runner``: what it promises with each OCI runtime that is installed."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cais.errors import CaisError
from cais.host import mounts, namespaces
from cais.runtime import find, spec
from cais.runtime.runner import Runtime
from cais.spec.mount import Mount

pytestmark = pytest.mark.root
InChild = Callable[[Callable[[], object]], str]


class Machine:
    """A runner, and a root file system of busybox to run things in; in the process that made it."""

    def __init__(self, directory: Path, runtime: str) -> None:
        namespaces.enter()
        self.directory = directory
        self.runner = Runtime(str(directory / "root"), runtime)
        self.count = 0

    def spec(self, rootfs: str, *args: str, **process: Any) -> dict[str, Any]:
        env = process.pop("env", ("PATH=/bin",))
        return spec.build(spec.Process(args, env, **process), self.runner.host, rootfs=rootfs, network="none")

    def run(self, *args: str, input: bytes = b"", **process: Any) -> tuple[int, str, str]:
        """Exit code, output, errors."""
        bundle = self.runner.bundle()
        self.count += 1
        paths = [self.directory / f"{bundle.id}.{name}" for name in ("in", "out", "err")]
        paths[0].write_bytes(input)
        streams = [os.open(paths[0], os.O_RDONLY), *(os.open(path, os.O_WRONLY | os.O_CREAT) for path in paths[1:])]
        try:
            mounts.realise([Mount("bind", str(self.directory / "rootfs"), "/")], bundle.rootfs)
            made = self.spec(bundle.rootfs, *args, **process)
            before = copy.deepcopy(made)
            code = self.runner.run(made, bundle, stdio=(streams[0], streams[1], streams[2]))
            assert made == before, "the spec is the caller's"
            return code, paths[1].read_text(), paths[2].read_text()
        finally:
            for stream in streams:
                os.close(stream)
            self.runner.remove(bundle)
            assert not os.path.exists(bundle.rootfs)


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Path:
    directory = tmp_path_factory.mktemp("machine")
    (directory / "rootfs").mkdir()
    subprocess.run(["tar", "-C", str(directory / "rootfs"), "-xpf", str(busybox_tar)], check=True)
    for name in ("proc", "sys", "dev", "tmp"):
        (directory / "rootfs" / name).mkdir(exist_ok=True)
    return directory


@pytest.fixture(params=["crun", "runc"])
def within(request: pytest.FixtureRequest, rootfs: Path, in_child: InChild) -> Iterator[Callable[..., str]]:
    """Runs a scenario that takes a Machine; nothing of it runs or is registered afterwards."""
    if os.geteuid() != 0 or not find.find_program(request.param):
        pytest.skip(f"needs root and {request.param}")

    def run(scenario: Callable[[Machine], object]) -> str:
        def action() -> object:
            machine = Machine(rootfs, request.param)
            try:
                return scenario(machine)
            finally:
                machine.runner.close()
                assert os.listdir(machine.runner.state_directory) == []

        return in_child(action)

    yield run


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_the_exit_code_is_the_processs(within: Callable[..., str], code: int) -> None:
    assert within(lambda machine: machine.run("sh", "-c", f"exit {code}")[0]) == str(code)


def test_a_signal_is_128_and_its_number(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> int:
        """The first process of a container can only be killed from outside."""
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(machine.run("sleep", "1000")[0]))
        thread.start()
        tick = threading.Event()
        while not (text := _started(Path(machine.runner.directory))):
            tick.wait(0.01)
        os.kill(int(text), signal.SIGKILL)
        thread.join()
        return codes[0]

    assert within(scenario) == "137"


def _started(directory: Path) -> str:
    """The process id that the runtime wrote into a bundle, or ""."""
    return next((text for path in directory.glob("*/pid") if (text := path.read_text())), "")


def test_the_three_streams(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> None:
        code, out, err = machine.run("sh", "-c", "cat; echo error >&2", input=b"from outside\n")
        assert (code, out, err) == (0, "from outside\n", "error\n")

    within(scenario)


def test_arguments_are_not_touched(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> None:
        assert machine.run("printf", "%s|", "a b", "", "$X", "'q'", "\n")[1] == "a b||$X|'q'|\n|"

    within(scenario)


def test_environment_directory_and_user(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> None:
        script = "env | grep -v -E '^(SHLVL|PWD|OLDPWD|HOSTNAME|HOME)=' | sort; pwd; id -u; id -g"
        _, out, _ = machine.run(
            "sh", "-c", script, env=("PATH=/bin", "A=1 2", "B="), cwd="/tmp", user_id=1000, group_id=10
        )
        assert out == "A=1 2\nB=\nPATH=/bin\n/tmp\n1000\n10\n"

    within(scenario)


def test_it_is_alone(within: Callable[..., str]) -> None:
    """Its own processes, host name and network; and the host's files are not there."""

    def scenario(machine: Machine) -> None:
        _, out, _ = machine.run("sh", "-c", "echo $$; ls /sys/class/net; ls -d /root /var 2>&1 | grep -c such")
        assert out.split() == ["1", "lo", "2"]

    within(scenario)


@pytest.mark.parametrize(("program", "code"), [("no-such-program", 127), ("/no/such", 127), ("/etc/passwd", 126)])
def test_what_does_not_start(within: Callable[..., str], program: str, code: int) -> None:
    def scenario(machine: Machine) -> None:
        with pytest.raises(CaisError) as caught:
            machine.run(program)
        assert caught.value.exit_code == code
        assert program in caught.value.message
        assert machine.run("true")[0] == 0

    within(scenario)


def test_several_at_once(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> None:
        codes: dict[int, int] = {}

        def work(code: int) -> None:
            codes[code] = machine.run("sh", "-c", f"exit {code}")[0]

        threads = [threading.Thread(target=work, args=(code,)) for code in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == {code: code for code in range(1, 5)}

    within(scenario)


def test_what_it_starts_ends_with_it(within: Callable[..., str]) -> None:
    def scenario(machine: Machine) -> None:
        marker = f"cais-suite-{os.getpid()}"
        loop = f'sh -c "echo up > /tmp/out; while true; do sleep 1; done; : {marker}"'
        code, out, _ = machine.run(
            "sh", "-c", f"{loop} & while ! grep -q up /tmp/out; do :; done; cat /tmp/out; exit 3"
        )
        assert (code, out) == (3, "up\n")
        found = [
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and marker.encode() in _command_line(pid) and int(pid) != os.getpid()
        ]
        assert found == []

    within(scenario)


def _command_line(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""
