"""Real runs of build steps by each installed runtime, as root and as an ordinary user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from cais.errors import CaisError
from cais.host import mounts, namespaces
from cais.runtime import find, steps
from cais.runtime.runner import Runtime
from cais.spec.mount import Mount

pytestmark = pytest.mark.root


@pytest.fixture(params=["crun", "runc"])
def name(request):
    if not find.find_program(request.param):
        pytest.skip(f"needs {request.param}")
    return request.param


@pytest.fixture
def base(tmp_path, busybox_tar):
    """A root directory with a layer of busybox."""
    layer = tmp_path / "layer"
    layer.mkdir()
    subprocess.run(["tar", "-C", str(layer), "-xpf", str(busybox_tar)], check=True)
    for directory in ("upper", "work"):
        (tmp_path / directory).mkdir()
    return tmp_path


def run(base: Path, name: str, *args: str, cancelled=None, **options) -> tuple[int, str]:
    """One step; its exit code and output. In a process of its own."""
    namespaces.enter()
    runtime = Runtime(str(base), name)
    bundle = runtime.bundle()
    output = base / "output"
    stdio = (os.open("/dev/null", os.O_RDONLY), *(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND),) * 2)
    try:
        layers = (str(base / "layer"),)
        mount = Mount("overlay", "overlay", "/", (), layers, str(base / "upper"), str(base / "work"))
        mounts.realise([mount], bundle.rootfs)
        step = steps.step_spec(
            runtime, args, options.pop("env", ()), rootfs=bundle.rootfs, directory=bundle.directory, id=bundle.id,
            **options,
        )  # fmt: skip
        code = steps.run_step(runtime, step, bundle, stdio=stdio, cancelled=cancelled)
    finally:
        runtime.remove(bundle)
        runtime.close()
    return code, output.read_text()


def test_a_step_sees_what_builds_promise(base, name, in_child):
    script = "id -u; echo $HOME $A; env | grep HOSTNAME; hostname; ls /etc; exit 7"

    def action():
        return run(base, name, "sh", "-c", script, env=("A=b",), network="none")

    files = "group\\nhosts\\npasswd\\nresolv.conf\\n"
    expected = f"0\\n/root b\\nbuildkitsandbox\\n{files}"
    assert in_child(action) == f"(7, '{expected}')"


def test_a_step_leaves_no_stubs(base, name, in_child):
    shutil.rmtree(base / "layer" / "etc")
    in_child(lambda: run(base, name, "sh", "-c", "echo 1.2.3.4 x >> /etc/hosts"))
    assert sorted(path.name for path in (base / "upper").rglob("*")) == []
    assert os.listdir(base / "run" / ".state") == []


def test_a_step_of_another_user(base, name, in_child):
    def action():
        return run(base, name, "sh", "-c", "id -u; id -G; echo $HOME; pwd", user="ada", cwd="/tmp")

    assert in_child(action) == "(0, '1000\\n1000 10\\n/home/ada\\n/tmp\\n')"


def test_no_network_has_lo_alone_and_default_is_the_hosts(base, name, in_child):
    def action(network):
        return lambda: run(base, name, "sh", "-c", "ip -o link | wc -l; readlink /proc/self/ns/net", network=network)

    count, inside = eval(in_child(action("none")))[1].split()
    assert count == "1" and inside != os.readlink("/proc/self/ns/net")
    (base / "output").unlink()
    assert eval(in_child(action("default")))[1].split()[1] == os.readlink("/proc/self/ns/net")


@pytest.mark.parametrize(("program", "code"), [("nosuch", 127), ("/nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)])
def test_what_cannot_be_run(base, name, in_child, program, code):
    def action():
        with pytest.raises(CaisError) as error:
            run(base, name, program)
        return error.value.exit_code

    assert in_child(action) == str(code)


def test_what_never_started_leaves_no_control_group(base, name, in_child):
    def action():
        if not Runtime(str(base), name).host.cgroups_writable:
            return "skip"
        # No machine has this processor: the runtime fails with its groups made.
        with pytest.raises(CaisError) as error:
            run(base, name, "true", cgroup_parent=f"/cais-test-{base.name}", resources={"cpu": {"cpus": "9999"}})
        return error.value.message

    try:
        if in_child(action) == "skip":
            pytest.skip("control groups cannot be written")
        groups = [*Path("/sys/fs/cgroup").glob(f"**/cais-test-{base.name}/*/")]
        assert groups == []
    finally:
        for group in Path("/sys/fs/cgroup").glob(f"**/cais-test-{base.name}"):
            group.rmdir()


def test_seccomp_and_capabilities_hold(base, name, in_child):
    if not os.path.exists("/usr/share/containers/seccomp.json"):
        pytest.skip("needs the installed seccomp profile")
    script = (
        "grep -E '^(CapEff|Seccomp):' /proc/self/status; unshare -m true || echo no; mount -t tmpfs x /tmp || echo no"
    )

    def action():
        return run(base, name, "sh", "-c", script)

    said = eval(in_child(action))[1]
    assert "CapEff:\t00000000a80425fb" in said and "Seccomp:\t2" in said
    assert said.splitlines().count("no") == 2


def test_cancelling_kills_the_step(base, name, in_child):
    def action():
        cancelled = threading.Event()
        watcher = threading.Thread(target=wait_for_line, args=(base / "output", cancelled))
        watcher.start()
        return run(base, name, "sh", "-c", "echo up; sleep 1000", cancelled=cancelled)[0]

    def wait_for_line(path, cancelled):
        while not path.exists() or "up" not in path.read_text():
            pass
        cancelled.set()

    assert in_child(action) == "137"


def test_an_ordinary_user(name, ordinary_user, busybox_tar, in_child):
    base = ordinary_user.directory
    program = Path("/usr/bin/python3")
    if not program.exists():
        pytest.skip("needs a Python that others than root may read")
    for directory in ("layer", "upper", "work"):
        (base / directory).mkdir()
        os.chown(base / directory, ordinary_user.user_id, ordinary_user.group_id)

    def action():
        from cais.spec import encoding  # noqa: F401

        ordinary_user.become()
        namespaces.enter()
        child = os.posix_spawn("/bin/tar", ["tar", "-C", str(base / "layer"), "-xf", str(busybox_tar)], {})
        os.waitpid(child, 0)
        return run(base, name, "sh", "-c", "id -u; chown 33:33 /tmp; stat -c %u /tmp", network="none")

    assert in_child(action) == "(0, '0\\n33\\n')"
    assert os.stat(base / "upper" / "tmp").st_uid == ordinary_user.first_subordinate_id + 32


def test_a_killed_starter_takes_its_step_along(base, name):
    """The guardian outlives it only to clean up."""
    child = os.fork()
    if child == 0:
        try:
            run(base, name, "sh", "-c", "echo up; sleep 1000")
        finally:
            os._exit(0)
    output = base / "output"
    while not output.exists() or "up" not in output.read_text():
        pass
    (bundle,) = (path for path in (base / "run").iterdir() if not path.name.startswith("."))
    # The runtime writes it when the process runs, which may have spoken before.
    while not (bundle / "pid").exists() or not (bundle / "pid").read_text():
        pass
    pid = int((bundle / "pid").read_text())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    watched = threading.Event()
    while bundle.exists() or os.path.exists(f"/proc/{pid}/exe"):
        watched.wait(0.01)
    assert os.listdir(base / "run" / ".state") == []
