"""Commands killed at random moments: nothing is lost, nothing is half there, and the next command works."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

pytestmark = pytest.mark.root

KILLS = 200 if os.environ.get("CAIS_LONG_TESTS") else 40
CHECK_EVERY = 20

DOCKERFILE = """\
FROM base AS one
COPY many /many/
RUN echo {number} > /one && echo done
FROM base AS two
RUN echo {number} > /two
FROM one
COPY --from=two /two /two
WORKDIR /w/{number}
RUN echo last > last
"""


def test_random_kills_leave_a_sound_store(cais_with_base):
    cais = cais_with_base
    chance = random.Random(20240101)
    context = cais.context("context", "", [(f"many/{n}", b"x" * n) for n in range(60)])
    archive = cais.directory / "base.tar"
    cais("save", "-o", str(archive), "base")
    kept = cais("image", "inspect", "--format", "{{.Id}}", "base").stdout

    def commands(number: int) -> list[tuple[str, ...]]:
        return [
            ("build", "-q", "-t", f"app:{number % 5}", str(context)),
            ("build", "-q", "--no-cache", "-t", "again", str(context)),
            ("run", "--rm", "--network", "none", "base", "sh", "-c", "echo hello > /file"),
            ("run", "--network", "none", "-v", f"v{number % 3}:/data", "base", "sh", "-c", "echo x > /data/x"),
            ("load", "-q", "-i", str(archive)),
            ("image", "rm", "-f", f"app:{(number + 1) % 5}"),
            ("image", "prune", "-f"),
            ("container", "prune", "-f"),
            ("builder", "prune", "-f"),
            ("commit", "keeper", "committed"),
            ("tag", "base", f"other:{number % 7}"),
            ("save", "-o", str(cais.directory / "out.tar"), "base"),
        ]

    cais("create", "--name", "keeper", "base", "true")
    killed = 0
    while killed < KILLS:
        (context / "Dockerfile").write_text(DOCKERFILE.format(number=chance.randrange(40)))
        words = chance.choice(commands(killed))
        process = cais.start(*words)
        try:
            process.wait(timeout=chance.choice((0.05, 0.1, 0.2, 0.4)) * chance.random() * 2)
        except subprocess.TimeoutExpired:
            process.send_signal(chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)))
            process.wait()
            killed += 1
            if killed % CHECK_EVERY == 0:
                cais.assert_sound()
    cais.assert_sound()
    assert cais("image", "inspect", "--format", "{{.Id}}", "base").stdout == kept
    cais("build", "-q", "-t", "final", str(context))
    assert cais("run", "--rm", "--network", "none", "final", "sh", "-c", "cat /w/*/last").stdout == "last\n"
    cais("container", "prune", "-f")
    cais("image", "prune", "-f")
    cais.assert_sound()
    # What the killed processes left behind is collected.
    assert [name for name in (cais.root / "snapshots").iterdir() if name.name.startswith(("gone.", "probe."))] == []
    assert list((cais.root / "content" / "ingest").iterdir()) == []


def test_an_interrupted_build_says_so_and_leaves_nothing_running(cais_with_base):
    cais = cais_with_base
    context = cais.context("slow", "FROM base\nRUN echo started; while true; do :; done\n")
    process = cais.start("build", "--progress=plain", str(context), stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.rstrip().endswith(b" started") and b"RUN" not in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(timeout=20) == 130
    assert b" CANCELED\n" in rest
    assert rest.endswith(b"ERROR: failed to build: canceled\n")
    assert subprocess.run(["pgrep", "-f", "while true; do :; done"], check=False, capture_output=True).stdout == b""
    cais.assert_sound()


def test_a_killed_build_leaves_nothing_running(cais_with_base):
    cais = cais_with_base
    context = cais.context("slow", "FROM base\nRUN echo started; while true; do : mark; done\n")
    process = cais.start("build", "--progress=plain", str(context), stderr=subprocess.PIPE)
    for line in process.stderr:
        if line.rstrip().endswith(b" started") and b"RUN" not in line:
            break
    process.kill()
    process.wait()
    process.stderr.close()
    wait_until(
        lambda: subprocess.run(["pgrep", "-f", "do : mark; done"], check=False, capture_output=True).stdout == b""
    )
    cais.assert_sound()


def wait_until(condition, timeout_seconds: float = 20) -> None:
    import threading
    import time

    end = time.monotonic() + timeout_seconds
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        tick.wait(0.02)
