"""From a command line to what is printed and the exit code."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cais.cli import docker_flags, tree
from cais.cli.help import of_all, of_command, of_family

SOURCES = str(Path(__file__).parents[3] / "src")
START = (
    f"import sys; sys.path.insert(0, {SOURCES!r}); sys.argv[0] = 'cais'; from cais.cli import main; sys.exit(main())"
)
Cais = Callable[..., "subprocess.CompletedProcess[Any]"]

ALL = [(word, module) for word, module, _ in tree.commands_of("")]
ALL += [(f"{family} {word}", module) for family in tree.FAMILIES for word, module, _ in tree.commands_of(family)]


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


@pytest.mark.parametrize(("words", "module"), ALL)
def test_every_command_is_declared(words: str, module: str) -> None:
    command = __import__(f"cais.cli.commands.{module}", fromlist=["COMMAND"])
    assert callable(command.run)
    text = of_command(words, command.COMMAND, 80)
    assert text.startswith(f"Usage:  cais {words}")
    assert command.COMMAND.text.rstrip(".") in text
    assert "Examples:" in text, "a user learns from examples"
    names = [flag.long for flag in command.COMMAND.flags]
    assert len(names) == len(set(names))
    letters = [flag.short for flag in command.COMMAND.flags if flag.short]
    assert len(letters) == len(set(letters))
    for flag in command.COMMAND.flags:
        assert flag.hidden or flag.text, f"--{flag.long} says nothing"
        # A letter of Docker's must not mean something else here.
        docker = docker_flags.long_name(words, short=flag.short) if flag.short else flag.long
        assert docker in ("", flag.long)


@pytest.mark.parametrize(("words", "module"), ALL)
def test_first_sentence_is_the_one_of_the_list(words: str, module: str) -> None:
    command = __import__(f"cais.cli.commands.{module}", fromlist=["COMMAND"]).COMMAND
    listed = next(text for word, name, text in tree.commands_of(words.rpartition(" ")[0]) if name == module)
    first = command.text.partition("\n")[0].rstrip(".")
    assert first.startswith(listed.partition(" (")[0].rstrip(".")) or listed.startswith(first)


def test_modules_of_commands_and_the_tree_agree() -> None:
    directory = Path(SOURCES) / "cais/cli/commands"
    assert {path.stem for path in directory.glob("*.py")} - {"__init__"} == {module for _, module in ALL}


def test_help_lists_only_what_there_is() -> None:
    text = of_all(80)
    for word, _, _ in tree.commands_of(""):
        assert f"  {word} " in text
    assert text.index("Common Commands") < text.index("Management Commands") < text.index("\nCommands:")
    assert "  ls          List images\n" in of_family("image")


def test_alone_it_helps(cais: Cais) -> None:
    alone, asked, topic = cais(), cais("--help"), cais("help")
    assert alone.returncode == 0
    assert alone.stdout == asked.stdout == topic.stdout
    assert cais("image").stdout == cais("image", "--help").stdout == cais("help", "image").stdout
    assert cais("images", "--help").stdout.startswith("Usage:  cais images [OPTIONS] [REPOSITORY[:TAG]]\n")
    assert cais("image", "list", "--help").stdout.startswith("Usage:  cais image ls ")
    assert cais("help", "image", "tag").stdout.startswith("Usage:  cais image tag ")


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["nope"], "cais: unknown command: cais nope\n\nRun 'cais --help' for more information\n", 1),
        (
            ["image", "nope"],
            "cais: unknown command: cais image nope\n\nUsage:  cais image\n\n"
            "Run 'cais image --help' for more information\n",
            1,
        ),
        (["bulid"], "cais: unknown command: cais bulid\nDid you mean 'cais build'?\n\n"
                    "Run 'cais --help' for more information\n", 1),
        (["image", "lss"], "cais: unknown command: cais image lss\nDid you mean 'cais image ls'?\n\n"
                           "Usage:  cais image\n\nRun 'cais image --help' for more information\n", 1),
        (["--nope"], "unknown flag: --nope\n\nUsage:  cais [OPTIONS] COMMAND [ARG...]\n\n"
                     "Run 'cais --help' for more information\n", 125),
        (["image", "tag"], "cais: 'cais image tag' requires 2 arguments\n\n"
                           "Usage:  cais image tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]\n\n"
                           "Run 'cais image tag --help' for more information\n", 1),
        (["build", "--network", "bridge", "."], 'ERROR: failed to build: network mode "bridge" not supported by '
                                                "buildkit\nUse default, host or none.\n", 1),
        (["build", "-q", "--progress", "plain", "."], "ERROR: failed to build: progress=plain and quiet cannot be used "
                                                      "together\n", 1),
        (["build", "--label", "=x", "."], 'ERROR: failed to build: invalid key-value pair "=x": empty key\n', 1),
        (["build", "--build-arg", "=x", "."], 'ERROR: failed to build: invalid key-value pair "=x": empty key\n', 1),
        (["help", "nope"], "unknown help topic: nope\n", 1),
        (["version", "--format", "{{.Foo"], "template parsing error: template: version:1: unclosed action\n", 64),
        (["load", "-i", "/nope"], "Error: open /nope: no such file or directory\n", 1),
        (["rmi", "nope"], "Error: No such image: nope:latest\n", 1),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(cais: Cais, arguments: list[str], message: str, code: int) -> None:
    done = cais(*arguments)
    assert (done.stderr, done.returncode) == (message, code)
    assert done.stdout == ""


def test_images_from_import_to_removal(cais: Cais, tmp_path: Path) -> None:
    archive = tar_of({"hello": b"hello\n"})
    imported = cais("import", "-c", 'CMD ["/hello"]', "-m", "from a test", "-", "app:1", input=archive, text=False)
    assert imported.returncode == 0, imported.stderr
    id = imported.stdout.decode().strip()
    assert id.startswith("sha256:") and len(id) == 71
    assert cais("tag", "app:1", "other").returncode == 0
    header, *rows = cais("images").stdout.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert {tuple(row.split()[:3]) for row in rows} == {("app", "1", id[7:19]), ("other", "latest", id[7:19])}
    assert cais("images", "-q", "--no-trunc", "app").stdout == id + "\n"
    assert (
        cais("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=oth*").stdout == "other:latest\n"
    )
    assert cais("image", "ls", "--format", "json", "app").stdout.startswith('{"Containers":"N/A","CreatedAt":"')
    assert cais("history", "--format", "{{.ID}} {{.Comment}}", "app:1").stdout == f"{id[7:19]} from a test\n"
    document = cais("inspect", "app:1").stdout
    assert document.startswith(f'[\n    {{\n        "Id": "{id}",\n')
    assert (
        cais("image", "inspect", "-f", "{{json .Config.Cmd}} {{.Config.Labels}}", "app:1").stdout
        == '["/hello"] map[]\n'
    )
    file = tmp_path / "saved.tar"
    assert cais("save", "-o", str(file), "app:1").returncode == 0
    piped = cais("save", "app:1", text=False)
    assert piped.stdout == file.read_bytes()
    assert cais("rmi", "app:1").stdout == "Untagged: app:1\n"
    removed = cais("rmi", "other", "nope")
    assert removed.stdout.startswith("Untagged: other:latest\nDeleted: sha256:")
    assert (removed.stderr, removed.returncode) == ("Error: No such image: nope:latest\n", 1)
    assert cais("images", "-q").stdout == ""
    assert cais("load", input=file.read_bytes(), text=False).stdout == b"Loaded image: app:1\n"
    assert cais("images", "-q", "--no-trunc").stdout == id + "\n"
    assert cais("image", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    pruned = cais("image", "prune", "-af").stdout
    assert pruned.startswith("Deleted Images:\nuntagged: app:1\ndeleted: sha256:")


def test_save_leaves_no_half_file(cais: Cais, tmp_path: Path) -> None:
    target = tmp_path / "there.tar"
    target.write_bytes(b"old")
    done = cais("save", "-o", str(target), "nope")
    assert (done.returncode, done.stderr) == (1, "Error: No such image: nope:latest\n")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
    assert cais("save", "-o", str(tmp_path / "no/where"), "nope").returncode == 1


def test_prune_asks_first(cais: Cais) -> None:
    for answer in ("n\n", "", "\n"):
        done = cais("image", "prune", input=answer)
        assert done.returncode == 0
        assert "WARNING! This will remove all dangling images." in done.stdout
        assert "reclaimed" not in done.stdout
    assert "reclaimed" in cais("image", "prune", input="y\n").stdout


def test_inspect_of_nothing(cais: Cais) -> None:
    done = cais("inspect", "nope")
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "Error: No such object: nope\n", 1)
    done = cais("inspect", "--type", "tree", "nope")
    assert done.returncode == 1 and 'unknown type: "tree"' in done.stderr


def test_a_defect_shows_no_traceback_unless_asked(cais: Cais, tmp_path: Path) -> None:
    (tmp_path / "root").write_text("a file where the root directory should be")
    plain, debug = cais("images"), cais("--debug", "images")
    assert plain.returncode == debug.returncode == 1
    assert "Traceback" not in plain.stderr and plain.stderr.startswith("Error: ")
    assert "Traceback" in debug.stderr


def test_root_flag_moves_the_root(cais: Cais, tmp_path: Path) -> None:
    assert cais("--root", str(tmp_path / "elsewhere"), "images", "-q").returncode == 0
    assert (tmp_path / "elsewhere/cais.db").exists()
    assert not (tmp_path / "root").exists()


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-I", "-c", START, "--help"], stdout=write, stderr=subprocess.PIPE, timeout=60
    )
    os.close(write)
    assert done.stderr == b""
    assert done.returncode == 141


def test_closed_streams(tmp_path: Path) -> None:
    command = f'exec {sys.executable} -I -c "$START" version >&- 2>&- <&-'
    done = subprocess.run(["sh", "-c", command], env={**os.environ, "START": START}, timeout=60)
    assert done.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_cleanly(tmp_path: Path, number: int, code: int) -> None:
    root = tmp_path / "root"
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", START, "import", "-"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "CAIS_ROOT": str(root)},
    )  # fmt: skip
    assert child.stdin is not None
    # It has begun when there is something to undo, and waits for the rest.
    child.stdin.write(tar_of({"big": b"x" * (1 << 21)})[: 1 << 20])
    child.stdin.flush()
    deadline = time.monotonic() + 30
    while not list((root / "content/ingest").glob("*")):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (code, b"", b"")
    assert list((root / "content/ingest").glob("*")) == []


def test_names_that_are_not_utf8_come_through(cais: Cais) -> None:
    done = cais(b"rmi\xff".decode("utf-8", "surrogateescape"), text=False)
    assert b"unknown command: cais rmi\xff" in done.stderr
    done = cais("version", environment={"LC_ALL": "POSIX"})
    assert done.returncode == 0
