"""One root directory for the whole session, with the base images in it; and commands of other users with theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from integration.command import PROJECT, Command, installed_command
from integration.ordinary import Cais, Make, as_user


@pytest.fixture(scope="session")
def bare() -> Iterator[Command]:
    """The command on an empty root directory."""
    # Not pytest's own directory: that may be a tmpfs, where overlay cannot keep every attribute.
    directory = Path(tempfile.mkdtemp(prefix="cais-integration-", dir="/var/tmp"))
    yield Command(installed_command(directory), directory / "root")
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def cais(bare: Command) -> Command:
    """The command, with ``busybox`` and ``debian`` made by the recipes, which keep what mmdebstrap made."""
    made = subprocess.run(
        [PROJECT / "images" / "make", "busybox", "debian"],
        env={**bare.env, "CAIS": str(bare.path)},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return bare


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def python(ordinary_account: Any) -> tuple[str, str]:
    """An interpreter that others may run, too, and its module path."""
    if not shutil.which("setpriv") or not shutil.which("unshare"):
        pytest.skip("needs setpriv and unshare (package util-linux)")
    path = os.pathsep.join([str(PROJECT / "src"), *(item for item in sys.path if item.endswith("site-packages"))])
    said = ""
    for candidate in (sys.executable, "/usr/bin/python3"):
        try:
            done = subprocess.run(
                [candidate, "-m", "cais", "version"],
                env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "CAIS_ROOT": "/nowhere"},
                cwd="/",
                capture_output=True,
                text=True,
                user=ordinary_account.user_id,
                group=ordinary_account.group_id,
                extra_groups=[],
                check=False,
            )
        except PermissionError as error:
            said += f"{error}\n"
            continue
        if done.returncode == 0:
            return candidate, path
        said += done.stderr
    pytest.skip(f"an ordinary user can run no Python that has what Cais needs: {said}")


@pytest.fixture(scope="module")
def place() -> Iterator[Callable[[int], Path]]:
    """Directories of users, each with a build context."""
    made = []

    def make(user_id: int) -> Path:
        directory = Path(tempfile.mkdtemp(prefix="cais-place-", dir="/var/tmp"))
        made.append(directory)
        directory.chmod(0o755)
        (directory / "context").mkdir()
        (directory / "context" / "file").write_text("content\n")
        os.utime(directory / "context" / "file", (1_600_000_000, 1_600_000_000))
        for path in (directory, directory / "context", directory / "context" / "file"):
            os.chown(path, user_id, user_id)
        return directory

    yield make
    for directory in made:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def make(python: tuple[str, str], place: Callable[[int], Path], busybox_tar: Path) -> Make:
    """A command with its own root directory that has the image ``box``."""
    archive = str(shutil.copy(busybox_tar, place(0) / "box.tar"))  # where every user gets at it

    def make(prefix: Sequence[str], user_id: int) -> Cais:
        cais = Cais(tuple(prefix), *python, place(user_id) / "root")
        cais("import", "--change", "CMD sh", archive, "box")
        return cais

    return make


@pytest.fixture
def conmon() -> None:
    if not shutil.which("conmon"):
        pytest.skip("needs conmon")


@pytest.fixture(scope="module")
def networked(make: Make, ordinary_account: Any, place: Callable[[int], Path]) -> Cais:
    """A user who may open /dev/net/tun, as on most systems."""
    if not shutil.which("pasta"):
        pytest.skip("needs pasta (package passt)")
    device = place(0) / "tun"
    try:
        os.mknod(device, 0o20666, os.makedev(10, 200))
    except OSError as error:
        pytest.skip(f"no device node can be made: {error}")
    device.chmod(0o666)
    script = 'mount --bind "$0" /dev/net/tun && exec "$@"'
    start = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, str(device))
    return make((*start, *as_user(ordinary_account)), ordinary_account.user_id)
