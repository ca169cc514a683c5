"""`pip install .` alone gives a command for all that needs no runtime; what is missing is named with its package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.command import PROJECT, Command


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A fresh virtual environment with what `pip install .` puts there, and nothing of the sources' directory."""
    directory = tmp_path_factory.mktemp("install")
    subprocess.run([sys.executable, "-m", "venv", directory / "venv"], check=True)
    done = subprocess.run(
        [directory / "venv/bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", str(PROJECT)],
        capture_output=True,
        text=True,
        cwd=directory,
    )
    assert done.returncode == 0, done.stderr
    command = Command(directory / "venv/bin/cais", directory / "root")
    command.env = {name: value for name, value in command.env.items() if not name.startswith("PYTHON")}
    yield command


def test_it_builds_keeps_and_moves_images(installed: Command, context: Path, tmp_path: Path) -> None:
    assert not any((installed.path.parent.parent / "lib").rglob("__editable__*"))
    (context / "file").write_text("content\n")
    (context / "Dockerfile").write_text('FROM scratch\nCOPY file /\nCMD ["/file"]\n')
    id = installed("build", "-q", "-t", "files", context).text
    assert installed.inspect("files")["Config"]["Cmd"] == ["/file"]
    installed("save", "-o", tmp_path / "files.tar", "files")
    installed("rmi", "files")
    installed("load", "-i", tmp_path / "files.tar")
    assert installed("image", "ls", "-q", "--no-trunc").text == id
    installed("system", "check")


@pytest.mark.root
def test_what_is_missing_is_named_with_its_package(installed: Command, context: Path) -> None:
    """Seen by a machine whose programs are hidden: an empty directory over each place where they could be."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /bin/true\nRUN true\n")
    runtimes = [
        path
        for directory in ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec")
        for name in ("crun", "runc")
        if os.path.exists(path := f"{directory}/{name}")
    ]
    files = " ".join({os.path.realpath(path) for path in runtimes})
    hide = f'for file in {files}; do mount --bind /dev/null $file; done; exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hide, "sh", installed.path, "build", context],
        env=installed.env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "crun" in done.stderr
    assert "apt-get install" in done.stderr
    assert "Traceback" not in done.stderr
