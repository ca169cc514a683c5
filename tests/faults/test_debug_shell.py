"""A shell where a RUN failed, and in a step of a kept build: on a real terminal, and without one."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios

import pytest
from cais_process import Cais, nothing_left

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM base AS builder
ENV WORD=from-the-file
RUN mkdir /work && echo first > /work/state
WORKDIR /work
RUN --mount=type=cache,target=/cached --mount=type=tmpfs,target=/scratch <<TEXT
echo second > /work/state
echo kept > /cached/file
exit 3
TEXT
"""


class Terminal:
    """A command with a terminal as its three streams."""

    def __init__(self, cais: Cais, *words: str) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.said = b""
        self.process = subprocess.Popen(
            cais.command(*words), env={**cais.environment, "TERM": "xterm"}, stdin=self.slave, stdout=self.slave,
            stderr=self.slave, start_new_session=True,
        )  # fmt: skip

    def read_until(self, text: bytes) -> None:
        while text not in self.said:
            assert select.select([self.master], [], [], 30)[0], self.said.decode(errors="replace")
            self.said += os.read(self.master, 4096)

    def type(self, text: bytes) -> None:
        self.said = b""
        os.write(self.master, text)

    def end(self) -> int:
        code = self.process.wait(30)
        while select.select([self.master], [], [], 0)[0]:
            self.said += os.read(self.master, 4096)
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return code


@pytest.mark.parametrize("progress", ["plain", "tty"])
def test_a_shell_where_a_run_failed(cais_with_base, progress):
    cais = cais_with_base
    context = cais.context("context", DOCKERFILE)
    terminal = Terminal(cais, "build", "--on-error=shell", f"--progress={progress}", str(context))
    terminal.read_until(b"Leave it with exit.")
    assert b"exit code: 3" in terminal.said
    assert b"as it was left by [" in terminal.said
    terminal.read_until(b"# ")
    terminal.type(b"cat state; cat /cached/file; ls -d /scratch; echo $WORD; pwd; tty; touch /work/mark; echo en''d\n")
    terminal.read_until(b"end\r\n")
    for text in (b"second", b"kept", b"/scratch", b"from-the-file", b"/work", b"/dev/pts/0"):
        assert text in terminal.said
    terminal.type(b"exit 9\n")
    assert terminal.end() == 1  # the build's own code, whatever the shell ended with
    assert terminal.said.count(b"exit code: 3") == 0  # it was told before the shell, and once
    assert nothing_left(cais)
    cais.assert_sound()


def test_without_a_terminal_it_is_said_what_is_needed(cais_with_base):
    cais = cais_with_base
    context = cais.context("context", DOCKERFILE)
    done = cais("build", "--on-error=shell", str(context), check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--on-error=shell needs a terminal" in done.stderr
    assert done.stderr.count("ERROR: failed to build") == 1
    assert nothing_left(cais)


def test_an_image_without_a_shell(cais_with_base):
    cais = cais_with_base
    context = cais.context("context", 'FROM scratch\nCOPY --from=base /bin/busybox /\nRUN ["/busybox", "false"]\n')
    terminal = Terminal(cais, "build", "--on-error=shell", "--progress=plain", str(context))
    terminal.read_until(b'exec: "/bin/sh": no such file')
    assert terminal.end() == 1
    assert nothing_left(cais)


class TestKeptBuild:
    @pytest.fixture
    def cais(self, cais_with_base):
        cais_with_base("build", str(cais_with_base.context("context", DOCKERFILE)), check=False)
        return cais_with_base

    def test_a_command(self, cais):
        for step in ("2", "#2", ":3"):
            done = cais("builder", "debug", step, "--command", "cat /work/state; echo $WORD", stdin=subprocess.DEVNULL)
            assert done.stdout == "first\nfrom-the-file\n"
        done = cais("builder", "debug", ":3", "--before", "--command", "ls /work", check=False)
        assert "No such file" in done.stderr
        assert done.returncode == 1

    def test_of_a_failed_step_it_is_the_state_before(self, cais):
        done = cais("builder", "debug", ":6", "-c", "cat state; cat; touch /gone; exit 7", check=False, input="in\n")
        assert (done.returncode, done.stdout) == (7, "first\nin\n")
        assert cais("builder", "debug", ":6", "-c", "ls /gone", check=False).returncode == 1
        assert cais("builder", "debug", "-c", "cat state").stdout == "first\n"
        assert nothing_left(cais)

    def test_the_mounts_of_its_run_are_there_without_secrets(self, cais, tmp_path):
        (tmp_path / "secret").write_text("never kept")
        context = cais.context(
            "mounts",
            "FROM base AS other\nRUN mkdir /o && echo stage > /o/file\nFROM base\n"
            "RUN --mount=type=cache,target=/cache --mount=type=bind,target=/context "
            "--mount=from=other,source=/o,target=/o "
            "--mount=type=tmpfs,target=/scratch --mount=type=secret,id=s,required=true,env=S "
            'test -n "$S" && echo kept > /cache/file\n',
        )
        cais("build", "--secret", f"id=s,src={tmp_path}/secret", str(context))
        look = "cat /cache/file /o/file; ls /context; grep -c ' /scratch tmpfs' /proc/mounts; echo -$S-"
        assert cais("builder", "debug", ":4", "-c", look).stdout == "kept\nstage\nDockerfile\n1\n--\n"
        assert nothing_left(cais)

    def test_a_shell(self, cais):
        terminal = Terminal(cais, "builder", "debug", "3")
        terminal.read_until(b"# ")
        terminal.type(b"cat /work/state; exit 4\n")
        assert terminal.end() == 4
        assert b"first" in terminal.said
        assert nothing_left(cais)

    def test_what_is_not_there(self, cais):
        for step, words in (("9", "no step of the build"), ("x/1", "no step"), ("one", "invalid step")):
            done = cais("builder", "debug", step, "-c", "true", check=False)
            assert done.returncode == 1
            assert words in done.stderr
        assert "there are" in cais("builder", "debug", "2", "^999", "-c", "true", check=False).stderr
        done = cais("builder", "debug", "2", check=False, stdin=subprocess.DEVNULL)
        assert "no terminal" in done.stderr
        cais("builder", "prune", "-f")
        done = cais("builder", "debug", "2", "-c", "true", check=False)
        assert "is not here any more" in done.stderr
        assert done.returncode == 1
