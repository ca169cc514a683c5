"""Contexts on another host: a real sshd on the loopback, with keys and configuration of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SSHD = "/usr/sbin/sshd"
PROJECT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists(SSHD) or not shutil.which("ssh"), reason="needs openssh-server and -client"),
    pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="needs busybox-static"),
]


class Far:
    """``far(...)`` runs cais in the context ``far``, whose root directory and program stand in for another host's."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.root = directory / "far-root"
        self.env = {
            **os.environ, "PATH": f"{directory / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT / "src"),
            "CAIS_ROOT": str(directory / "near-root"), "XDG_CONFIG_HOME": str(directory / "config"),
        }  # fmt: skip
        self.url = f"ssh://root@127.0.0.1:{port}"
        self.near("context", "create", "far", "--docker", f"host={self.url}", "--cais", f"program={directory}/far-cais")

    def near(self, *words: str, code: int | None = 0, **options) -> subprocess.CompletedProcess[bytes]:
        options.setdefault("stdin", subprocess.DEVNULL) if "input" not in options else None
        options["env"] = {**self.env, **options.pop("environment", {})}
        done = subprocess.run(
            [sys.executable, "-m", "cais", *words], capture_output=True, timeout=60, check=False, **options
        )
        assert code is None or done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def __call__(self, *words: str, **options) -> subprocess.CompletedProcess[bytes]:
        return self.near("--context", "far", *words, **options)


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> Iterator[Far]:
    directory = tmp_path_factory.mktemp("ssh")
    os.chmod(directory, 0o755)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    shutil.copy(directory / "user.pub", directory / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (directory / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {directory}/host\nAuthorizedKeysFile {directory}/authorized\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
    )
    host_key = (directory / "host.pub").read_text()
    (directory / "known").write_text(f"[127.0.0.1]:{port} {host_key}")
    (directory / "ssh_config").write_text(
        f"Host *\n  IdentityFile {directory}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {directory}/known\n"
        "  StrictHostKeyChecking yes\n  BatchMode yes\n"
        # One login for all commands.
        f"  ControlMaster auto\n  ControlPath {directory}/c%p\n  ControlPersist 60\n"
    )
    (directory / "bin").mkdir()
    _script(directory / "bin" / "ssh", f'exec {shutil.which("ssh")} -F {directory}/ssh_config "$@"')
    _script(
        directory / "far-cais",
        f'CAIS_ROOT={directory}/far-root PYTHONPATH={PROJECT}/src exec {sys.executable} -m cais "$@"',
    )
    os.makedirs("/run/sshd", 0o755, exist_ok=True)
    with open(directory / "sshd.log", "wb") as log:
        command = [SSHD, "-D", "-e", "-f", str(directory / "sshd_config")]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        _wait_for(port, server, directory / "sshd.log")
        made = Far(directory, port)
        rootfs = directory / "image" / "bin"
        rootfs.mkdir(parents=True)
        shutil.copy("/bin/busybox", rootfs / "busybox")
        (rootfs / "sh").symlink_to("busybox")
        archive = subprocess.run(["tar", "-C", directory / "image", "-c", "."], check=True, capture_output=True).stdout
        made("import", "--change", "CMD sh", "-", "base", input=archive)
        yield made
    finally:
        subprocess.run(
            [directory / "bin" / "ssh", "-O", "exit", "-p", str(port), "root@127.0.0.1"], capture_output=True
        )
        server.terminate()
        server.wait()


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    pytest.fail(f"sshd did not start: {log.read_text()}")


def test_streams_and_exit_code_pass(far):
    done = far(
        "run", "--rm", "-i", "--network", "none", "base", "sh", "-c", "cat; echo err >&2; exit 42", code=42, input=b"in"
    )
    assert (done.stdout, done.stderr) == (b"in", b"err\n")
    assert not (far.directory / "near-root").exists()
    odd = "a 'b' \"c\" $d `e` \\f\n*"
    assert (
        far("run", "--rm", "--network", "none", "base", "sh", "-c", 'printf %s "$1"', "sh", odd).stdout == odd.encode()
    )
    assert b"No such image" in far("image", "inspect", "missing", code=1).stderr


def test_detached_containers_stay_there(far):
    far("run", "-d", "--name", "there", "--network", "none", "base", "sh", "-c", "sleep 1000")
    try:
        assert far("ps", "--format", "{{.Names}}").stdout == b"there\n"
        assert far.near("ps", "-aq").stdout == b""
        assert far.near("-H", far.url, "ps", code=None).returncode in (
            0,
            125,
        )  # `cais` of that host's own, if it has one
    finally:
        far("rm", "-f", "there")


def test_environment_and_labels_are_read_here(far, tmp_path):
    (tmp_path / "env").write_text("A=of the file\n# no\nHERE\nB=1\n")
    (tmp_path / "labels").write_text("x=y\n")
    done = far(
        "run", "--rm", "--network", "none", "--env-file", str(tmp_path / "env"), "-e", "B=2", "-e", "MISSING",
        "base", "sh", "-c", 'echo "$A $HERE $B ${MISSING-unset}"', environment={"HERE": "my own"},
    )  # fmt: skip
    assert done.stdout == b"of the file my own 2 unset\n"
    far("create", "--name", "labelled", "--network", "none", "--label-file", str(tmp_path / "labels"), "base")
    try:
        assert far("inspect", "-f", "{{.Config.Labels.x}}", "labelled").stdout == b"y\n"
    finally:
        far("rm", "labelled")


def test_a_context_is_sent_without_what_is_ignored(far, tmp_path):
    (tmp_path / "context" / "sub").mkdir(parents=True)
    context = tmp_path / "context"
    (context / "Dockerfile").write_text("FROM base\nARG WHO\nCOPY . /x\nRUN echo $WHO > /who\n")
    (context / ".dockerignore").write_text("ignored\nDockerfile\n")
    (context / "ignored").write_text("no")
    (context / "sub" / "file").write_text("yes")
    (context / "sub" / "file").chmod(0o640)
    far("build", "-q", "-t", "app", "--build-arg", "WHO", ".", cwd=context, environment={"WHO": "me"})
    listing = "cd /x; busybox find . | busybox sort; busybox stat -c %a sub/file; busybox cat /who"
    done = far("run", "--rm", "--network", "none", "app", "sh", "-c", listing)
    assert done.stdout == b".\n./.dockerignore\n./sub\n./sub/file\n640\nme\n"
    (tmp_path / "Other").write_text("FROM base\nCOPY sub /y\n")
    far("build", "-q", "-t", "other", "-f", str(tmp_path / "Other"), str(context))
    far("build", "-q", "-t", "other", "-f", "-", str(context), input=b"FROM base\nCOPY sub /z\n")
    assert far("run", "--rm", "--network", "none", "other", "sh", "-c", "busybox ls /z").stdout == b"file\n"
    wrong = far("build", "-f", str(context / "missing"), str(context), code=1)
    assert b"failed to read dockerfile" in wrong.stderr
    far("build", "-q", str(context), input=b"", code=0)


def test_archives_pass_through_the_streams(far, tmp_path):
    saved = tmp_path / "base.tar"
    far("save", "-o", str(saved), "base")
    assert far.near("load", "-i", str(saved)).stdout == far("load", "-i", str(saved)).stdout
    far("save", "-o", str(tmp_path / "none.tar"), "missing", code=1)
    assert not (tmp_path / "none.tar").exists()
    far("run", "--rm", "--network", "none", "-v", "data:/d", "base", "sh", "-c", "echo kept > /d/f")
    far("volume", "export", "-o", str(tmp_path / "data.tar"), "data")
    far.near("volume", "import", "data", str(tmp_path / "data.tar"))
    far("volume", "import", "again", str(tmp_path / "data.tar"))
    assert far.near("volume", "ls", "-q").stdout == b"data\n"
    assert (
        far("run", "--rm", "--network", "none", "-v", "again:/d", "base", "sh", "-c", "busybox cat /d/f").stdout
        == b"kept\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        ("build", "--secret", "id=a,env=HOME", "."),
        ("build", "--iidfile", "id", "."),
        ("build", "-o", "out", "."),
        ("build", "--build-context", "a=dir", "."),
        ("run", "--cidfile", "id", "base"),
        ("run", "--security-opt", "seccomp=profile.json", "base"),
        ("cp", "here", "there:/x"),
        ("builder", "context", "."),
    ],
)
def test_what_is_of_this_machine_is_refused_by_name(far, words, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM base\n")
    done = far(*words, code=None, cwd=tmp_path)
    assert done.returncode in (1, 125) and b"the command runs on another host" in done.stderr


def test_what_goes_wrong_on_the_way(far):
    refused = far.near("-H", "ssh://root@127.0.0.1:1", "ps", code=255)
    assert b"Connection refused" in refused.stderr
    far.near("context", "create", "bare", "--cais", f"host={far.url},program=/nonexistent/cais")
    missing = far.near("--context", "bare", "ps", code=125)
    assert b"/nonexistent/cais is not installed on" in missing.stderr


def test_a_terminal_here_is_a_terminal_there(far):
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(
            sys.executable,
            [sys.executable, "-m", "cais", "-c", "far", "run", "--rm", "-it", "--network", "none", "base", "sh", "-c",
             "test -t 0 && test -t 1 && echo a terminal; read line; echo got $line; exit 7"],
            far.env,
        )  # fmt: skip
    seen = b""
    while b"a terminal" not in seen:
        seen += os.read(terminal, 4096)
    os.write(terminal, b"words\n")
    try:
        while piece := os.read(terminal, 4096):
            seen += piece
    except OSError:
        pass  # the terminal of a program that has ended
    os.close(terminal)
    assert b"got words" in seen and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_here_ends_there(far, number):
    """Where the connection is the command's own."""
    alone = far.directory / f"alone-{number}"
    alone.mkdir()
    _script(alone / "ssh", f'exec {far.directory}/bin/ssh -o ControlPath=none "$@"')
    name = f"interrupted-{number}"
    words = ["-c", "far", "run", "--rm", "--name", name, "--network", "none", "--stop-timeout", "1", "base", "sh", "-c",
             "trap 'exit 3' TERM; echo runs; while :; do busybox sleep 0.05; done"]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "cais", *words], env={**far.env, "PATH": f"{alone}:{far.env['PATH']}"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, process_group=0,
    )  # fmt: skip
    assert process.stdout.readline() == b"runs\n"
    os.killpg(process.pid, number)
    assert process.wait(20) != 0
    end = time.monotonic() + 20
    while far("ps", "-aq", "--filter", f"name={name}").stdout:
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.05)
    process.stdout.close()
