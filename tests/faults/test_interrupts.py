"""Ctrl-C once: it ends a command wherever it comes, whatever the command waits for."""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from cais_process import Cais
from container_process import Cais as Container
from container_process import wait_until

from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from http_server import Request, serving
from registry_process import registry_process

# Less than any time limit of the client.
SOON_SECONDS = 15
BEGUN = "print(flush=True); from cais.cli import main; import os; os._exit(main())"
# The main thread never gets the signal itself, as if it came just before each of its system calls.
UNSEEN = """import signal, sys, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
from cais.cli import main
code = main()
import os
os._exit(code)
"""


class Unseen(Cais):
    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", UNSEEN, *words]


@pytest.fixture
def unseen(tmp_path: Path) -> Unseen:
    made = Unseen(tmp_path)
    made.environment |= {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker")}
    return made


@contextmanager
def silent_server() -> Iterator[tuple[str, threading.Semaphore]]:
    """Takes connections, and whatever is sent, and never says a word. The semaphore counts what has asked."""
    asked, taken = threading.Semaphore(0), []

    def listen(connection: socket.socket) -> None:
        try:
            if connection.recv(1 << 16):
                asked.release()
            while connection.recv(1 << 16):
                pass
        except OSError:
            pass

    def take() -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            taken.append(connection)
            threading.Thread(target=listen, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def ended(process: subprocess.Popen[bytes]) -> int:
    """The exit code after one SIGINT."""
    process.send_signal(signal.SIGINT)
    return process.wait(SOON_SECONDS)


def test_at_any_moment(tmp_path: Path) -> None:
    cais, seed = Cais(tmp_path), random.randrange(1 << 32)
    chance = random.Random(seed)
    with silent_server() as (address, _):
        for words in (("pull", f"{address}/x:1"), ("login", "-u", "ada", "-p", "x", address)) * 6:
            command = [sys.executable, "-c", BEGUN, *words]
            process = subprocess.Popen(command, env=cais.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert process.stdout is not None and process.stdout.readline() == b"\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(chance.random() * 0.4)
            # Where the command is not there yet it is Python that ends.
            assert ended(process) in (130, -signal.SIGINT), f"{words}, {seed}"
            process.stdout.close()


def test_of_a_server_that_says_nothing(unseen: Unseen) -> None:
    (unseen.directory / "oci").mkdir()
    context = unseen.context("context", "FROM scratch\nADD http://ADDRESS/file /\nADD http://ADDRESS/other /\n")
    dockerfile = (context / "Dockerfile").read_text()
    with silent_server() as (address, asked):
        (context / "Dockerfile").write_text(dockerfile.replace("ADDRESS", address))
        (context / "From").write_text(f"FROM {address}/x:1\nFROM {address}/y:1\nCOPY --from=0 / /\n")
        (context / "Git").write_text(f"FROM scratch\nADD http://{address}/x.git /\n")
        for words in (
            ("pull", f"{address}/x:1"),
            ("login", "-u", "ada", "-p", "x", address),
            ("search", f"{address}/x"),
            ("image", "copy", f"docker://{address}/x:1", f"oci:{unseen.directory}/oci"),
            ("build", str(context)),
            ("build", "-f", str(context / "From"), str(context)),
            ("build", "-f", str(context / "Git"), str(context)),
        ):
            process = unseen.start(*words)
            assert asked.acquire(timeout=20), words
            assert ended(process) == 130, words
            while asked.acquire(blocking=False):
                pass


def test_of_layers_that_stop_coming(unseen: Unseen) -> None:
    """Each of them in a thread of its own."""
    layers = [Descriptor(types.OCI_LAYER, Digest.of(bytes((number,))), 1 << 20) for number in range(6)]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [it.digest for it in layers]}
    }).encode()  # fmt: skip
    manifest = Manifest.encode(Descriptor(types.OCI_CONFIG, Digest.of(config), len(config)), layers)
    waiting = threading.Semaphore(0)

    def answer(request: Request) -> None:
        if "/manifests/" in request.path:
            request.reply(manifest.raw, Content_Type=types.OCI_MANIFEST, Docker_Content_Digest=manifest.digest)
        elif any(request.path.endswith(layer.digest) for layer in layers):
            request.send_response(200)
            request.send_header("Content-Length", str(1 << 20))
            request.end_headers()
            request.wfile.write(b"x" * 1000)
            request.wfile.flush()
            waiting.release()
            request.server.stopped.wait(60)
        else:
            request.reply(config)

    with serving(answer) as server:
        name = f"{server.url.removeprefix('http://')}/x:1"
        context = unseen.context("context", f"FROM {name}\nRUN true\n")
        for words in (("pull", name), ("build", str(context))):
            process = unseen.start(*words)
            for _ in range(4):
                assert waiting.acquire(timeout=20)
            assert ended(process) == 130


def test_of_a_push_that_nobody_takes(unseen: Unseen) -> None:
    waiting = threading.Semaphore(0)

    def answer(request: Request) -> None:
        if request.command in ("PUT", "PATCH"):
            waiting.release()
            request.server.stopped.wait(60)
        elif request.command == "POST":
            request.reply(status=202, Location=f"/v2/x/blobs/uploads/{len(request.server.seen)}")
        else:
            request.reply(status=200 if request.path == "/v2/" else 404)

    context = unseen.context(
        "context",
        "FROM scratch\n" + "".join(f"COPY {number} /\n" for number in range(4)),
        [(str(number), random.Random(number).randbytes(8 << 20)) for number in range(4)],
    )
    with serving(answer) as server:
        name = f"{server.url.removeprefix('http://')}/x:1"
        unseen("build", "-q", "-t", name, str(context))
        process = unseen.start("push", name)
        assert waiting.acquire(timeout=20)
        assert ended(process) == 130


def test_of_a_host_that_takes_no_connection(unseen: Unseen) -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        first.connect(("127.0.0.1", port))  # and the next one's first packet is dropped
        process = unseen.start("pull", f"127.0.0.1:{port}/x:1")
        wait_until(lambda: f":{port:04X} 02 " in Path("/proc/net/tcp").read_text().replace(" 0100007F", " "))
        assert ended(process) == 130


def test_of_a_name_server_that_does_not_answer(unseen: Unseen) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs root, unshare, iproute2")
    (unseen.directory / "resolv.conf").write_text("nameserver 192.0.2.1\noptions timeout:20\n")
    away = f"""mount --make-rprivate / && mount --bind {unseen.directory}/resolv.conf /etc/resolv.conf &&
    ip link add away type veth peer name gone && ip address add 192.0.2.2/24 dev away && ip link set gone up &&
    ip link set away up && ip neighbour add 192.0.2.1 lladdr 02:00:00:00:00:01 dev away &&
    exec "$@" """
    command = ["unshare", "-n", "-m", "sh", "-c", away, "sh", *unseen.command("pull", "far.example.org/x:1")]
    process = subprocess.Popen(command, env=unseen.environment)
    try:
        wait_until(lambda: " 010200C0:0035 " in Path(f"/proc/{process.pid}/net/udp").read_text())
        assert ended(process) == 130
    finally:
        process.kill()
        process.wait()


def test_of_what_goes_on_for_ever(box: Container) -> None:
    """Each says something first, so that it is seen to wait."""
    box("run", "-d", "--network", "none", "--name", "patient", "box", "sh", "-c", "echo up; exec sleep 1000")
    wait_until(lambda: box("logs", "patient") == "up\n")
    for words in (
        ("logs", "-f", "patient"),
        ("events", "--since", "0", "--format", "up"),
        ("stats", "--format", "up", "patient"),
    ):
        process = unseen_of(box, *words)
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        assert ended(process) == 130, words
        process.stdout.close()
    process = unseen_of(box, "wait", "patient")
    wait_until(lambda: "anon_inode:[pidfd]" in descriptors(process.pid))
    assert ended(process) == 130
    program = "trap 'exit 7' INT; echo up; while :; do sleep 0.05; done"
    process = unseen_of(box, "run", "--rm", "--network", "none", "box", "sh", "-c", program)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    assert ended(process) == 7  # the container's own way
    process.stdout.close()
    for words in (("load",), ("import", "-")):
        read, write = os.pipe()
        os.write(write, bytes(9))
        process = unseen_of(box, *words, stdin=read)
        wait_until(partial(is_empty, read))
        assert ended(process) == 130, words
        os.close(read)
        os.close(write)


def test_of_a_registry(tmp_path: Path) -> None:
    unseen = (sys.executable, "-c", UNSEEN.replace("code =", "del sys.argv[1:4]; code ="))
    with registry_process(tmp_path / "root", by=unseen) as registry:
        assert registry.stop(signal.SIGINT) == 0


def is_empty(pipe: int) -> bool:
    """Whether all was taken that there was."""
    return not select.select([pipe], [], [], 0)[0]


def descriptors(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(path))
        except FileNotFoundError:
            continue
    return found


def unseen_of(box: Container, *words: str, **options) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", UNSEEN, *words], env=box.env, **{"stdout": subprocess.PIPE, **options}
    )
