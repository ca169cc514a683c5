"""What pull, push, copy, run, login and search say, with a real registry; and how progress is drawn."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cais.cli.progress_transfer import PULL, PUSH, Transfer, bar
from cais.spec import media_types as types
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Manifest
from http_server import Request, serving
from registry_servers import PASSWORD, USER, Server


class Terminal(io.StringIO):
    """Something that is a terminal of 80 columns and 24 lines."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """What stands there at the end: the escapes that are used here are understood."""
        shown: list[str] = []
        row = 0
        text = self.getvalue()
        while text:
            if text.startswith("\x1b["):
                end = next(index for index, letter in enumerate(text) if letter.isalpha())
                number, letter = text[2:end], text[end]
                if letter == "A":
                    row -= int(number)
                elif letter == "J":
                    del shown[row:]
                elif letter == "K":
                    shown[row : row + 1] = [""]
                text = text[end + 1 :]
            elif text[0] == "\n":
                row, text = row + 1, text[1:]
            elif text[0] == "\r":
                text = text[1:]
            else:
                while len(shown) <= row:
                    shown.append("")
                shown[row] += text[0]
                text = text[1:]
        return shown


def layer(id: str, state: str, **more: Any) -> dict[str, Any]:
    return {"event": "layer", "id": id, "state": state, **more}


def test_plain_lines_are_dockers() -> None:
    stream = io.StringIO()
    display = Transfer(PULL, stream)
    for event in (
        {"event": "pulling", "tag": "1", "repository": "library/app"},
        layer("aaa", "waiting"), layer("bbb", "waiting"), layer("aaa", "moving", current=1, total=9),
        layer("bbb", "exists"), layer("aaa", "arrived"), layer("aaa", "unpacking", current=1, total=9),
        layer("aaa", "done"), layer("aaa", "unpacking", current=9, total=9),
        {"event": "digest", "digest": "sha256:1"}, {"event": "pulled", "name": "app:1", "is_newer": True},
    ):  # fmt: skip
        display(event)
    display.close()
    assert stream.getvalue().splitlines() == [
        "1: Pulling from library/app", "aaa: Pulling fs layer", "bbb: Pulling fs layer", "bbb: Already exists",
        "aaa: Download complete", "aaa: Pull complete", "Digest: sha256:1",
        "Status: Downloaded newer image for app:1",
    ]  # fmt: skip


def test_on_a_terminal_each_layer_has_its_line() -> None:
    stream = Terminal()
    display = Transfer(PULL, stream)
    display({"event": "pulling", "tag": "1", "repository": "app"})
    display(layer("aaa", "waiting"))
    display(layer("bbb", "waiting"))
    display(layer("aaa", "moving", current=2_000_000, total=4_000_000))
    assert stream.lines() == ["1: Pulling from app", "aaa: Downloading      2MB/4MB", "bbb: Pulling fs layer"]
    display(layer("aaa", "done"))
    display(layer("bbb", "done"))
    display({"event": "digest", "digest": "sha256:1"})
    assert stream.lines() == ["1: Pulling from app", "aaa: Pull complete", "bbb: Pull complete", "Digest: sha256:1"]


def test_more_layers_than_lines() -> None:
    stream = Terminal()
    display = Transfer(PUSH, stream)
    for number in range(40):
        display(layer(f"id{number}", "waiting"))
    assert len(stream.lines()) == 23
    for number in range(40):
        display(layer(f"id{number}", "exists" if number % 2 else "done"))
    assert len(stream.lines()) == 23
    display(layer("id9", "mounted", repository="other/app"))
    display.close()
    assert len(stream.lines()) == 40


def test_where_a_layer_came_from() -> None:
    stream = io.StringIO()
    display = Transfer(PUSH, stream)
    display(layer("aaa", "mounted", repository="other/app"))
    assert stream.getvalue() == "aaa: Mounted from other/app\n"


def test_bars_are_true() -> None:
    assert bar(50, 100, 200) == f"[{'=' * 25}>{' ' * 25}]      50B/100B"
    assert bar(100, 100, 200) == f"[{'=' * 50}>]     100B/100B"
    assert bar(0, 100, 200).startswith("[>")
    assert bar(50, 100, 20) == "     50B/100B"


@pytest.fixture
def say(tmp_path: Path):
    """The command, with a root directory and credentials of its own."""
    environment = {
        **os.environ, "CAIS_ROOT": str(tmp_path / "root"), "DOCKER_CONFIG": str(tmp_path / "docker"),
        "PYTHONPATH": str(Path(__file__).parents[3] / "src"),
    }  # fmt: skip

    def call(*words: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cais", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, **options)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    call.environment = environment  # type: ignore[attr-defined]
    return call


@pytest.fixture
def app(say: Any, open_registry: Server, busybox_tar: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    name = f"{open_registry.address}/app-{os.urandom(4).hex()}"
    say("import", str(busybox_tar), name)
    return name


def test_push_and_pull(say: Any, app: str) -> None:
    using, refers, preparing, pushed, last = say("push", app).stdout.splitlines()
    assert (using, refers) == ("Using default tag: latest", f"The push refers to repository [{app}]")
    id = preparing.removesuffix(": Preparing")
    assert pushed == f"{id}: Pushed" and last.startswith("latest: digest: sha256:")
    digest = last.split()[2]
    assert f"{id}: Layer already exists" in say("push", app).stdout
    assert say("push", "-q", app).stdout == f"{app}:latest\n"
    say("rmi", f"{app}:latest")
    path = app.partition("/")[2]
    assert say("pull", app).stdout.splitlines() == [
        "Using default tag: latest", f"latest: Pulling from {path}", f"{id}: Pulling fs layer",
        f"{id}: Download complete", f"{id}: Pull complete", f"Digest: {digest}",
        f"Status: Downloaded newer image for {app}:latest", f"{app}:latest",
    ]  # fmt: skip
    assert say("pull", f"{app}:latest").stdout.splitlines() == [
        f"latest: Pulling from {path}", f"Digest: {digest}", f"Status: Image is up to date for {app}:latest",
        f"{app}:latest",
    ]  # fmt: skip
    assert say("pull", "-q", app).stdout == f"{app}:latest\n"
    assert say("images", "--remote", "--digests", app).stdout.splitlines()[1].split() == [app, "latest", digest]
    assert say("image", "inspect", "--remote", "-f", "{{.Os}}", app).stdout == "linux\n"
    assert say("pull", "-a", app).stdout.splitlines()[-2:] == [f"Status: Image is up to date for {app}", app]


def test_what_goes_wrong(say: Any, app: str) -> None:
    assert say("pull", f"{app}:no", code=1).stderr == (
        f"Error: manifest for {app}:no not found: manifest unknown: manifest unknown\n"
    )
    assert say("push", f"{app}:no", code=1).stderr == f"Error: tag does not exist: {app}:no\n"
    assert say("pull", "-a", f"{app}:no", code=1).stderr == "Error: tag can't be used with --all-tags/-a\n"
    assert say("push", "-a", f"{app}:no", code=1).stderr == "Error: tag can't be used with --all-tags/-a\n"
    assert "it is gzip, zstd or none" in say("push", "--compression", "xz", app, code=125).stderr
    assert "invalid policy 'x'" in say("pull", "--policy", "x", app, code=1).stderr
    assert "Error: invalid reference format: repository name" in say("pull", "X", code=1).stderr


def test_run_pulls_what_is_not_here(say: Any, app: str) -> None:
    say("push", app)
    say("rmi", app)
    done = say("run", "--rm", "--network", "none", app, "echo", "hello")
    assert done.stdout == "hello\n"
    first, *_, last = done.stderr.splitlines()
    assert (first, last) == (
        f"Unable to find image '{app}:latest' locally", f"Status: Downloaded newer image for {app}:latest"
    )  # fmt: skip
    assert say("run", "--rm", "--network", "none", app, "true").stderr == ""
    always = say("run", "--pull", "always", "--rm", "--network", "none", app, "true")
    assert always.stderr.splitlines()[-1] == f"Status: Image is up to date for {app}:latest"
    say("rmi", app)
    assert say("create", "--pull", "never", app, code=125).stderr.startswith(f"Error: No such image: {app}:latest\n")
    assert say("create", "-q", app, "true").stderr == ""
    none = say("run", f"{app}:none", code=125).stderr.splitlines()
    assert none[0] == f"Unable to find image '{app}:none' locally"
    assert none[1] == f"Error: manifest for {app}:none not found: manifest unknown: manifest unknown"
    say("container", "prune", "-f")


def test_login_and_logout(say: Any, private_registry: Server, tmp_path: Path) -> None:
    address = private_registry.address
    done = say("login", "-u", USER, "--password-stdin", address, input=PASSWORD + "\n")
    assert done.stdout == "Login Succeeded\n"
    assert done.stderr.startswith("\nWARNING! Your credentials are stored unencrypted in")
    assert PASSWORD not in done.stdout + done.stderr
    known = say("login", address).stdout
    assert known.startswith(f"Authenticating with existing credentials... [Username: {USER}]\n")
    assert known.endswith("\nLogin Succeeded\n")
    assert say("logout", address).stdout == f"Removing login credentials for {address}\n"
    assert address not in (tmp_path / "docker/config.json").read_text()
    done = say("login", "-u", USER, "-p", "wrong", address, code=1)
    assert done.stderr == (
        "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n"
        "Error: unauthorized: authentication required\n"
    )
    assert say("login", address, code=1, stdin=subprocess.DEVNULL).stderr == (
        "Error: Cannot perform an interactive login from a non TTY device\n"
    )
    assert say("login", "--password-stdin", address, code=1).stderr == (
        "the --password-stdin option requires --username to be set\n"
    )


def test_login_asks_on_a_terminal_without_an_echo(say: Any, private_registry: Server) -> None:
    words = [sys.executable, "-m", "cais", "login", private_registry.address]
    process, terminal = pty.fork()
    if process == 0:
        os.execve(sys.executable, words, say.environment)
    shown = b""
    until = time.monotonic() + 30

    def read() -> bytes:
        """b"" at the end, be it that of the process or of our patience."""
        ready, _, _ = select.select([terminal], [], [], max(0, until - time.monotonic()))
        try:
            return os.read(terminal, 1000) if ready else b""
        except OSError:
            return b""

    for prompt, answer in ((b"Username: ", USER), (b"Password: ", PASSWORD)):
        while not shown.endswith(prompt) and (data := read()):
            shown += data
        os.write(terminal, answer.encode() + b"\n")
    while data := read():
        shown += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, shown
    assert b"Login Succeeded" in shown and PASSWORD.encode() not in shown


def test_search(say: Any, app: str) -> None:
    say("push", app)
    head, row = say("search", app).stdout.splitlines()
    assert head.split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL"] and row.split()[0] == app
    assert say("search", "--format", "{{.Name}} {{.StarCount}}", app).stdout == f"{app} 0\n"
    assert say("search", "--limit", "101", app, code=1).stderr == (
        "Error: limit 101 is outside the range of [1, 100]\n"
    )


def test_what_a_registry_warns_of_is_said_once(cais: Callable[..., Any]) -> None:
    config = ImageConfig({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}})
    manifest = Manifest.encode(config.descriptor, [])

    def answer(request: Request) -> None:
        raw = config.raw if "/blobs/" in request.path else manifest.raw
        request.reply(raw, Content_Type=types.OCI_MANIFEST, Warning='299 - "this repository moves"')

    with serving(answer) as server:
        host = server.url.partition("//")[2]
        done = cais("image", "inspect", "--remote", f"{host}/x:1", f"{host}/x:2")
    assert done.stderr.splitlines()[-1:] == [f"WARNING: {host}: this repository moves"]
    assert done.stderr.count("WARNING") == 1
