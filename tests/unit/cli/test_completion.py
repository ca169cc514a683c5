"""Completion: what ``__complete`` offers, and the scripts in the shells themselves."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cais.cli.completion_scripts import SCRIPTS

SOURCES = str(Path(__file__).parents[3] / "src")
START = (
    f"import sys; sys.path.insert(0, {SOURCES!r}); sys.argv[0] = 'cais'; from cais.cli import main; sys.exit(main())"
)
Cais = Callable[..., "subprocess.CompletedProcess[Any]"]


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def offered(cais: Cais, *words: str) -> tuple[list[str], str]:
    done = cais("__complete", *words)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, last = done.stdout.splitlines()
    assert last.startswith(":")
    return [line.partition("\t")[0] for line in lines], last[1:]


@pytest.fixture
def image(cais: Cais) -> None:
    for name in ("app:1", "apple"):
        assert cais("import", "-", name, input=tar_of({"a": b""}), text=False).returncode == 0


def test_commands_and_flags(cais: Cais) -> None:
    words, _ = offered(cais, "")
    assert {"build", "image", "run", "volume"} <= set(words) and "ls" not in words
    assert offered(cais, "ima")[0] == ["image", "images"]
    assert offered(cais, "image", "h")[0] == ["history"]
    assert offered(cais, "image", "ls", "--d")[0] == ["--digests"]
    assert offered(cais, "image", "list", "--no")[0] == ["--no-trunc"]
    assert offered(cais, "--ro")[0] == ["--root"]
    assert offered(cais, "nope", "")[0] == []
    # Not what a hidden flag is called.
    assert offered(cais, "build", "--squ")[0] == []


def test_values_of_flags(cais: Cais) -> None:
    assert offered(cais, "build", "--progress", "p")[0] == ["plain"]
    assert offered(cais, "build", "--progress=p")[0] == ["--progress=plain"]
    assert offered(cais, "build", "-f", "")[1] == "file"
    assert offered(cais, "build", "")[1] == "directory"
    assert offered(cais, "build", "-t", "x", "")[1] == "directory"
    assert offered(cais, "save", "-qo", "")[1] == "file"
    assert offered(cais, "completion", "")[0] == ["bash", "zsh", "fish"]
    assert offered(cais, "--root", "")[1] == "directory"


@pytest.mark.usefixtures("image")
def test_names(cais: Cais, tmp_path: Path) -> None:
    assert offered(cais, "rmi", "app")[0] == ["app:1", "apple", "apple:latest"]
    # What stands there already is not offered again; a name that takes one argument takes no second.
    assert offered(cais, "rmi", "apple", "app")[0] == ["app:1", "apple:latest"]
    assert offered(cais, "history", "app:1", "")[0] == []
    assert offered(cais, "run", "--rm", "-e", "A=1", "app:")[0] == ["app:1"]
    # Behind the image stands the container's command.
    assert offered(cais, "run", "app:1", "")[1] == "file"
    assert offered(cais, "inspect", "app:")[0] == ["app:1"]
    assert offered(cais, "--root", str(tmp_path / "empty"), "rmi", "")[0] == []
    assert not (tmp_path / "empty").exists()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the command in it."""
    command = tmp_path / "bin/cais"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable} -I\n{START}\n")
    command.chmod(0o755)
    return f"{command.parent}:{os.environ['PATH']}"


def shell(arguments: list[str], text: str, path: str, root: Path) -> str:
    done = subprocess.run(
        arguments, input=text, text=True, capture_output=True, timeout=60, cwd=root.parent,
        env={"PATH": path, "HOME": str(root), "CAIS_ROOT": str(root), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    "words", [["image", "hist"], ["rmi", "app:"], ["build", "--progress", "pl"], ["rmi", "app", ""]]
)
def test_bash(path: str, words: list[str], tmp_path: Path) -> None:
    quoted = " ".join(f"'{word}'" for word in ["cais", *words])
    script = f"{SCRIPTS['bash']}\nCOMP_WORDS=({quoted}) COMP_CWORD={len(words)}\n_cais\n"
    script += "printf '%s\\n' \"${COMPREPLY[@]}\"\n"
    expected = {"image": ["history"], "rmi": ["app:1"], "build": ["plain"]}[words[0]]
    if words[-1] == "":
        expected = ["app:1", "apple", "apple:latest"]
    assert shell(["bash", "--norc"], script, path, tmp_path / "root").splitlines() == expected


@pytest.mark.usefixtures("image")
def test_bash_completes_paths(path: str, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "confile").touch()
    script = SCRIPTS["bash"] + "\nCOMP_WORDS=(cais build con) COMP_CWORD=2\n_cais\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n"
    assert shell(["bash", "--norc"], script, path, tmp_path / "root") == "context\n"


@pytest.mark.usefixtures("image")
@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("cais image hist", ["history\tShow the history of an image"]), ("cais rmi app:", ["app:1"]),
     ("cais build --progress=pl", ["--progress=plain"]), ("cais build con", ["context/\tDirectory"])],
)  # fmt: skip
def test_fish(path: str, line: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    (tmp_path / "confile").touch()
    script = tmp_path / "cais.fish"
    script.write_text(SCRIPTS["fish"])
    said = shell(
        ["fish", "--no-config", "-c", f"source {script}; complete --do-complete '{line}'"], "", path, tmp_path / "root"
    )
    assert said.splitlines() == expected


@pytest.mark.usefixtures("image")
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("image hist", "cais history:Show the history of an image"),
        ("rmi app:", "app:1"),
        ("build --progress pl", "plain"),
    ],
)
def test_zsh(path: str, words: str, expected: str, tmp_path: Path) -> None:
    # Without a terminal there is no line editor: what the script hands to it is shown instead.
    script = (
        'compdef() { :; }\n_describe() { shift 2; print -r -- "$1 ${(P@)2}"; }\n'
        "compadd() { print -r -- ${(P@)@[-1]}; }\n"
        f"_files() {{ print files $@; }}\n{SCRIPTS['zsh']}\nwords=(cais {words}); CURRENT=$#words; _cais\n"
    )
    said = shell(["zsh", "-f"], script, path, tmp_path / "root")
    assert said.strip() == expected
