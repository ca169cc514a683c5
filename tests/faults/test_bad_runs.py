"""RUN steps that mean no good: the build ends, says so, and nothing of them is left."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time

import pytest
from cais_process import Cais, nothing_left
from peak_memory import measured_bytes, measuring

from cais.runtime.find import cgroups as cgroups_of_host

pytestmark = pytest.mark.root

ESCAPES = r"\377\376bad \033[31mred\033[0m \033]0;title\007\033[2J end\n"


def cgroups(cais: Cais) -> set[str]:
    """The control groups below ours, of all hierarchies, that are this root's: their names are its bundles'."""
    found = set()
    for hierarchy in ("", *os.listdir("/sys/fs/cgroup")):
        path = os.path.join("/sys/fs/cgroup", hierarchy, "cais-test")
        if os.path.isdir(path):
            found.update(name for name in os.listdir(path) if os.path.isdir(os.path.join(path, name)))
    return found


def processes(mark: str) -> list[str]:
    """Those on this host with ``mark`` on their command line."""
    found = []
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                line = file.read()
        except OSError:
            continue
        if mark.encode() in line and name != str(os.getpid()):
            found.append(line.decode(errors="replace"))
    return found


@pytest.fixture
def build(cais_with_base):
    """Builds a Dockerfile on ``base``; afterwards nothing may be left of it."""
    cais = cais_with_base
    before = cgroups(cais)

    def run(text: str, *flags: str, **options):
        context = cais.context("context", f"FROM base\n{text}\n")
        words = ("build", "--progress=plain", "--cgroup-parent=cais-test", *flags, str(context))
        return cais(*words, check=False, **options)

    run.cais = cais
    yield run
    assert nothing_left(cais)
    assert cgroups(cais) == before
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert str(cais.root) not in mounts.read()
    assert not [name for name in os.listdir(cais.root / "snapshots") if name.startswith("gone.")]
    leases = os.listdir(cais.root / "leases") if (cais.root / "leases").is_dir() else []
    cais.assert_sound()
    assert len(leases) <= 1, leases


def test_a_fork_bomb(build):
    if "pids" not in cgroups_of_host().controllers:
        pytest.skip("this host has no pids controller")
    # Each child makes two more and waits; the first one goes on, counts what it sees, and ends.
    text = "RUN bomb() { bomb & bomb & sleep 1012.5; }; bomb & sleep 2; ls -d /proc/[0-9]* | wc -l > /count; cat /count"
    done = build(text)
    seen = done.stdout + done.stderr
    assert "fork" in seen, seen  # the kernel said no to it
    assert processes("sleep\x001012.5") == []


def test_processes_that_stay_behind(build):
    text = "RUN (while true; do sleep 0.12345; done) & setsid sleep 12345 & nohup sleep 12346 & sleep 0.1; echo bye"
    started = time.monotonic()
    done = build(text)
    assert done.returncode == 0, done.stderr
    assert "bye" in done.stderr
    assert time.monotonic() - started < 60
    assert processes("0.12345") == processes("sleep\x0012345") == []


def test_closed_output(build):
    done = build("RUN exec >&- 2>&-; sleep 0.3; echo there > /file")
    assert done.returncode == 0, done.stderr
    assert build("RUN exec >&- 2>&-; exit 4").returncode == 1


def test_much_output_costs_no_memory(build, tmp_path):
    cais = build.cais
    context = cais.context("much", "FROM base\nRUN head -c 200000000 /dev/zero | tr '\\0' 'x' | fold -w 120\n")
    report = str(tmp_path / "peak")
    with open(tmp_path / "out", "wb") as out:
        argv = measuring(cais.command("build", "--progress=plain", str(context)), report)
        done = subprocess.run(argv, env=cais.environment, stdout=out, stderr=out, timeout=300, check=False)
    assert done.returncode == 0
    assert measured_bytes(report) < 100 << 20
    assert (tmp_path / "out").stat().st_size > 200_000_000
    (log,) = (max((cais.root / "builds").iterdir(), key=lambda path: path.stat().st_mtime) / "log",)
    assert log.stat().st_size < 8 << 20
    assert "more bytes were not kept" in log.read_text()


def test_one_line_without_end(build):
    done = build("RUN head -c 20000000 /dev/zero | tr '\\0' 'x'")
    assert done.returncode == 0
    assert done.stderr.count("x") >= 20_000_000


def test_escapes_do_nothing_to_a_terminal_and_stay_in_a_file(build):
    text = f"RUN printf '{ESCAPES}' && false"
    done = subprocess.run(
        build.cais.command("build", "--progress=plain", str(build.cais.context("context", f"FROM base\n{text}\n"))),
        env=build.cais.environment, capture_output=True, check=False,
    )  # fmt: skip
    assert b"\x1b]0;title\x07" in done.stderr
    for progress in ("plain", "tty"):
        master, slave = pty.openpty()
        process = subprocess.Popen(
            build.cais.command("build", f"--progress={progress}", "--no-cache", str(build.cais.directory / "context")),
            env={**build.cais.environment, "TERM": "xterm"}, stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        said = b""
        while select.select([master], [], [], 60)[0]:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            said += piece
        assert process.wait(30) == 1
        os.close(master)
        assert b"\x1b]0" not in said
        assert b"\x07" not in said
        assert b"\x1b[2J" not in said
        assert b"red" in said
    lines = build("RUN printf '\\377x\\n' >&2; true", "--no-cache", "--progress=rawjson").stderr.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    logs = [log["data"] for event in events for log in event.get("logs", ())]
    assert b"\xffx\n" in [base64.b64decode(data) for data in logs]


def test_no_memory_left(build):
    if "memory" not in cgroups_of_host().controllers:
        pytest.skip("this host has no memory controller")
    done = build("RUN tail -c 150000000 /dev/zero", "-m", "24m", "--memory-swap", "24m")
    assert done.returncode == 1
    assert "exit code: 137" in done.stderr
    assert "more memory than its limit of 24 MiB" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_ignores_signals_is_stopped(build, number):
    context = build.cais.context("context", "FROM base\nRUN trap '' TERM INT HUP; echo up; sleep 54321; sleep 54321\n")
    process = build.cais.start("build", "--progress=plain", str(context), stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.rstrip().endswith(b" up"):
            break
    process.send_signal(number)
    assert process.wait(20) in (130, 143)
    process.stderr.close()
    assert processes("54321") == []
    assert build.cais("builder", "history", "ls", "--format", "{{.Status}}").stdout.startswith("Canceled\n")


@pytest.mark.parametrize("what", ["copy", "hash", "commit"])
def test_an_interrupt_stops_at_once(build, what):
    """Of a file that takes long: to be copied, to be hashed, to be made a layer."""
    cais = build.cais
    # A file of zeros without blocks takes no space, and as long as any other to be hashed.
    size = 64 << 30
    if what == "commit":
        context = cais.context("context", f"FROM base\nRUN truncate -s {size} /big\n")
        mark = b"RUN"
    else:
        context = cais.context("context", "FROM base\nCOPY big /\n")
        with open(context / "big", "wb") as file:
            for _ in range(600 if what == "copy" else 0):
                file.write(os.urandom(1 << 20))
            if what == "hash":
                file.truncate(size)
        mark = b"COPY" if what == "copy" else b""
    process = cais.start("build", "--progress=plain", str(context), stderr=subprocess.PIPE)
    if mark:
        for line in process.stderr:
            if mark in line:
                break
    else:
        while not any(target.endswith("/big") for target in open_files(process.pid)):
            assert process.poll() is None
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    # A copy may have come to its end in the meantime.
    assert process.wait(60) in ((0, 130) if what == "copy" else (130,))
    process.stderr.close()
    assert time.monotonic() - started < 10


def open_files(pid: int) -> list[str]:
    targets = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            targets.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return targets


def test_a_full_disk(tmp_path_factory):
    if os.geteuid() != 0 or not os.path.exists("/bin/busybox") or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root, busybox-static and an OCI runtime")
    directory = tmp_path_factory.mktemp("full")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "none", directory], check=True)
    try:
        cais = Cais(directory)
        cais.make_base()
        free = os.statvfs(directory).f_bavail
        context = cais.context("context", "FROM base\nRUN dd if=/dev/zero of=/big bs=1M\n")
        done = cais("build", "--progress=plain", str(context), check=False)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert nothing_left(cais)
        page = 4096 // os.statvfs(directory).f_bsize or 1
        assert os.statvfs(directory).f_bavail > free - 256 * page
        cais.assert_sound()
        cais("build", str(cais.context("context", "FROM base\nRUN echo small > /file\n")))
    finally:
        subprocess.run(["umount", "-l", directory], check=True)
