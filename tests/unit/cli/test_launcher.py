"""bin/cais finds its interpreter and its package wherever it was installed, and adds nothing to them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
LIBRARY = f"lib/python3.{sys.version_info[1]}"
PYTHON = os.path.realpath(sys.executable)
# Prints what the launcher made of the interpreter, instead of being the command.
SPY = """
import sys
def main():
    print(sys.flags.isolated, sys.flags.no_site, "site" in sys.modules, sys.argv[1:])
    return 3
"""


def install(prefix: Path, packages: str = "site-packages", *, venv: bool = True, package: bool = True) -> Path:
    """A prefix as pip makes it, with a spy in place of the package; the launcher's path."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / LIBRARY / packages).mkdir(parents=True)
    shutil.copy(PROJECT / "bin/cais", prefix / "bin/cais")
    if venv:
        (prefix / "bin/python").symlink_to(PYTHON)
        (prefix / "pyvenv.cfg").write_text(f"home = {Path(PYTHON).parent}\n")
    if package:
        spy(prefix / LIBRARY / packages)
    return prefix / "bin/cais"


def spy(directory: Path) -> None:
    (directory / "cais/cli").mkdir(parents=True)
    (directory / "cais/__init__.py").touch()
    (directory / "cais/cli/__init__.py").write_text(SPY)


def run(command: Path | str, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


BARE = "1 1 False "


def test_in_a_venv(tmp_path: Path) -> None:
    launcher = install(tmp_path / "venv with space")
    assert run(launcher, "a b", "--c") == (3, BARE + "['a b', '--c']\n")


def test_by_a_symbolic_link(tmp_path: Path) -> None:
    install(tmp_path / "venv")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/cais").symlink_to("../venv/bin/cais")
    assert run(tmp_path / "elsewhere/cais") == (3, BARE + "[]\n")


def test_through_path_and_as_an_argument_of_sh(tmp_path: Path) -> None:
    launcher = install(tmp_path / "venv")
    assert run("cais", PATH=f"{launcher.parent}:{os.environ['PATH']}") == (3, BARE + "[]\n")
    done = subprocess.run(["sh", "cais", "x"], cwd=launcher.parent, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, BARE + "['x']\n")


@pytest.mark.parametrize("packages", ["site-packages", "dist-packages"])
def test_in_a_prefix_that_is_no_venv(tmp_path: Path, packages: str) -> None:
    launcher = install(tmp_path / "local", packages, venv=False)
    named = tmp_path / "pythons" / f"python3.{sys.version_info[1]}"
    named.parent.mkdir()
    named.symlink_to(PYTHON)
    assert run(launcher, PATH=f"{named.parent}:/usr/bin:/bin") == (3, BARE + "[]\n")


def test_an_editable_install_is_found_by_site(tmp_path: Path) -> None:
    launcher = install(tmp_path / "venv", package=False)
    spy(tmp_path / "sources")
    (tmp_path / "venv" / LIBRARY / "site-packages/cais.pth").write_text(f"{tmp_path}/sources\n")
    assert run(launcher) == (3, "1 1 True []\n")


def test_a_broken_package_is_not_hidden(tmp_path: Path) -> None:
    launcher = install(tmp_path / "venv")
    (tmp_path / "venv" / LIBRARY / "site-packages/cais/cli/__init__.py").write_text("import not_there\n")
    done = subprocess.run([launcher], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "No module named 'not_there'" in done.stderr


def test_the_environment_cannot_lead_it_astray(tmp_path: Path) -> None:
    launcher = install(tmp_path / "venv")
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil/sys.py").write_text("raise SystemExit(9)")
    (tmp_path / "evil/os.py").write_text("raise SystemExit(9)")
    assert run(launcher, PYTHONPATH=f"{tmp_path}/evil", PYTHONSTARTUP=f"{tmp_path}/evil/os.py") == (3, BARE + "[]\n")
