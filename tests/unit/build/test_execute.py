"""Carrying out steps on the real kernel: what stays of one, what its output becomes, what it costs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import threading
from pathlib import Path

import pytest

import cais
from cais.build.ops.output import Output
from cais.engine import Settings
from cais.engine.build import BuildOptions

pytestmark = pytest.mark.root


@pytest.fixture
def built_on(tmp_path, busybox_tar):
    """A root directory with the image `base`, and a function that builds a Dockerfile there, in this process."""
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root and an OCI runtime")
    root, context = tmp_path / "root", tmp_path / "context"
    context.mkdir()
    with cais.Engine(Settings(str(root))) as engine, open(busybox_tar, "rb") as file:
        engine.images.import_(file, "base")

    def build(text: str, *, engine=None, progress=lambda event: None, **options):
        (context / "Dockerfile").write_text(text)
        given = BuildOptions(context=str(context), **options)
        if engine is not None:
            return engine.builder.build(given, progress)
        with cais.Engine(Settings(str(root))) as own:
            return own.builder.build(given, progress)

    build.context = context
    build.root = root
    return build


def in_thread(action):
    """The mounts that it makes are its thread's."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


class TestOutput:
    def test_both_streams_as_they_come_and_the_last_lines(self):
        events = []
        output = Output(7, events.append, lambda: None)
        for number in range(30):
            os.write(output.out if number % 2 else output.error, b"%d\n" % number)
        output.close()
        output.close()
        by_stream = {
            stream: b"".join(event["data"] for event in events if event["stream"] == stream) for stream in (1, 2)
        }
        assert by_stream[1].split() == [b"%d" % n for n in range(1, 30, 2)]
        assert by_stream[2].split() == [b"%d" % n for n in range(0, 30, 2)]
        assert len(output.last().split(b"\n")) == 20
        assert {event["id"] for event in events} == {7}

    def test_an_error_of_the_display_stops_and_the_rest_is_read(self):
        stopped = threading.Event()

        def progress(event):
            raise BrokenPipeError("gone")

        output = Output(1, progress, stopped.set)
        for _ in range(200):
            os.write(output.out, b"x" * 4096)  # more than a pipe holds: it would wait for ever
        output.close()
        assert stopped.is_set() and isinstance(output.failure, BrokenPipeError)

    def test_no_descriptor_stays_open(self):
        before = set(os.listdir("/proc/self/fd"))
        Output(1, lambda event: None, lambda: None).close()
        assert set(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_and_no_thread_is_left_by_builds(built_on):
    counts = []

    def several() -> None:
        with cais.Engine(Settings(str(built_on.root))) as engine:
            for number in range(6):
                built_on(
                    f"FROM base AS a\nRUN echo {number} > /x\nFROM base\nCOPY --from=a /x /\nWORKDIR /w{number}\n",
                    engine=engine,
                )
                with pytest.raises(cais.errors.CaisError):
                    built_on("FROM base\nRUN exit 3\n", engine=engine)
                counts.append((len(os.listdir("/proc/self/fd")), threading.active_count()))

    in_thread(several)
    assert len(set(counts[1:])) == 1, counts


def test_a_step_sees_its_stage_alone_and_leaves_no_trace_but_its_files(built_on, tmp_path):
    text = (
        "FROM base AS other\nRUN echo secret > /other\n"
        "FROM base\nRUN [ ! -e /other ] && ls -A / > /tmp/ls && echo kept > /kept\n"
        "COPY --from=other /other /taken\n"
    )
    in_thread(lambda: built_on(text, outputs=[str(tmp_path / "out")]))
    out = tmp_path / "out"
    assert (out / "kept").read_text() == "kept\n" and (out / "taken").read_text() == "secret\n"
    assert sorted(os.listdir(out)) == ["bin", "data", "etc", "kept", "taken", "tmp"]
    assert not (out / "etc" / "resolv.conf").exists()


def test_two_builds_at_once_in_one_process(built_on):
    """Each in a thread of its own, on the same steps: both get the same image."""
    ids, failures = [], []
    barrier = threading.Barrier(2, timeout=30)

    def one() -> None:
        try:
            barrier.wait()
            with cais.Engine(Settings(str(built_on.root))) as engine:
                given = BuildOptions(context=str(built_on.context), epoch=1000)
                ids.append(engine.builder.build(given).image_id)
        except BaseException as error:
            failures.append(error)

    (built_on.context / "Dockerfile").write_text("FROM base\nRUN echo one > /one\nWORKDIR /w\nRUN echo two > /two\n")
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and len(set(ids)) == 1 and len(ids) == 2
    found = []

    def check() -> None:
        with cais.Engine(Settings(str(built_on.root))) as engine:
            found.append(engine.system.check())

    checking = threading.Thread(target=check)
    checking.start()
    checking.join()
    assert found == [[]]


MEASURED = """
import json, os, resource, sys, threading
import cais
from cais.engine import Settings
from cais.engine.build import BuildOptions
size = 0
def progress(event):
    global size
    if event["event"] == "output":
        size += len(event["data"])
with cais.Engine(Settings(sys.argv[1])) as engine:
    engine.builder.build(BuildOptions(context=sys.argv[2]), progress)
print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10, size]))
"""


def measured(built_on, text: str) -> tuple[int, int]:
    """The peak memory of a build in a process of its own, and how much output it showed, in bytes."""
    (built_on.context / "Dockerfile").write_text(text)
    # By way of a small process: the figure of a child begins with that of its parent.
    arguments = [sys.executable, "-c", MEASURED, str(built_on.root), str(built_on.context)]
    environment = {**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])}
    read, write = os.pipe()
    os.set_inheritable(write, True)
    child = os.posix_spawn(
        "/bin/sh", ["/bin/sh", "-c", '"$@"; exit $?', "sh", *arguments], environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)],
    )  # fmt: skip
    os.close(write)
    with open(read) as said:
        line = said.read()
    assert os.waitpid(child, 0)[1] == 0
    peak, size = json.loads(line)
    return peak, size


def test_200_mb_of_output_take_little_memory(built_on):
    peak, size = measured(built_on, "FROM base\nRUN yes 0123456789 | head -c 200000000\n")
    assert size == 200_000_000
    assert peak < 100 << 20, f"{peak >> 20} MiB"
    log = next((built_on.root / "builds").iterdir()) / "log"
    assert log.stat().st_size < 6 << 20


def test_a_large_sparse_file_takes_little_memory(built_on):
    with open(built_on.context / "large", "wb") as file:
        file.truncate(1 << 30)
    peak, _ = measured(built_on, "FROM scratch\nCOPY large /\n")
    assert peak < 100 << 20, f"{peak >> 20} MiB"


def test_few_descriptors_are_enough(built_on):
    """Whatever the number of stages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "".join(f"FROM base AS s{n}\nCOPY --from=base /data/seed /f{n}\n" for n in range(40))
    text += "FROM scratch\n" + "".join(f"COPY --from=s{n} /f{n} /\n" for n in range(40))
    resource.setrlimit(resource.RLIMIT_NOFILE, (160, hard))
    try:
        in_thread(lambda: built_on(text))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
