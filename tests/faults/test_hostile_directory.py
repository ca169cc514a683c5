"""What a container's helpers take from the process that starts it: nothing of its directory, nothing it has open."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest
from container_process import wait_until

pytestmark = pytest.mark.root

_TRAP = "import os\nopen(os.path.join({place!r}, 'trapped'), 'w').close()\nraise SystemExit(1)\n"


@pytest.fixture
def trapped(box, tmp_path, monkeypatch):
    """A directory with packages that stand in for ours and Python's, and the command that is not started by ``-m``."""
    trap = _TRAP.format(place=str(tmp_path))
    (tmp_path / "cais").mkdir()
    (tmp_path / "cais" / "__init__.py").write_text(trap)
    for name in ("json", "sqlite3", "signal", "select"):
        (tmp_path / f"{name}.py").write_text(trap)
    monkeypatch.setattr(box, "command", lambda *words: [sys.executable, "-P", "-m", "cais", *words])
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setitem(box.env, "PYTHONPATH", source)
    return tmp_path


def test_nothing_is_imported_from_where_the_caller_stands(box, trapped):
    id = box(
        "run", "-d", "--network", "none", "--health-cmd", "true", "--health-interval", "100ms", "box", "sleep", "60",
        cwd=trapped,
    ).strip()  # fmt: skip
    wait_until(lambda: box.state(id)["Health"]["Log"])
    box("stop", "-t", "0", id)
    wait_until(lambda: box.state(id)["Status"] == "exited")
    wait_until(lambda: not (box.root / "run" / id).exists())
    assert not (trapped / "trapped").exists()
    box("rm", id)


def test_helpers_hold_nothing_of_the_caller(box, tmp_path):
    read, write = os.pipe()
    try:
        id = box(
            "run", "-d", "--network", "none", "--log-opt", "max-size=1m", "--health-cmd", "true", "box", "sleep", "60",
            cwd=tmp_path, pass_fds=(write,),
        ).strip()  # fmt: skip
        os.close(write)
        assert select.select([read], [], [], 0)[0], "somebody keeps a descriptor of the caller open"
        assert _standing_in(tmp_path) == []
    finally:
        os.close(read)
    box("rm", "-f", id)


def _standing_in(directory: Path) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/cwd") == str(directory):
                found.append(Path(f"/proc/{name}/cmdline").read_text())
        except OSError:
            continue
    return found
