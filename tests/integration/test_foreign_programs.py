"""RUN in a build of another architecture: the kernel's handlers, QEMU's emulator, a real program of arm64."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from integration import foreign
from integration.command import Command

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="arm64 may not be foreign here"),
]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    directory = tmp_path / "context"
    directory.mkdir()
    (directory / "program").write_bytes(foreign.program())
    (directory / "program").chmod(0o755)
    (directory / "Dockerfile").write_text(foreign.DOCKERFILE)
    return directory


@pytest.mark.parametrize("flags", ["F", "OCF", ""])
def test_through_a_handler(bare: Command, context: Path, tmp_path: Path, flags: str) -> None:
    with foreign.handler(flags) as absent:
        if absent:
            pytest.skip(absent)
        output = tmp_path / "out.tar"
        words = ("--no-cache", "--progress=plain", "--platform=linux/arm64", f"--output=type=tar,dest={output}")
        done = bare("build", *words, context)
        assert "made on arm64" in done.stderr.decode()
    with tarfile.open(output) as archive:
        assert sorted(archive.getnames()) == ["made", "program"], "nothing is left of the emulator"


def test_two_platforms_where_one_needs_an_emulator(bare: Command, context: Path) -> None:
    (context / "Dockerfile").write_text(
        'FROM scratch AS made-arm64\nCOPY program /program\nRUN ["/program"]\n'
        "FROM scratch AS made-amd64\nCOPY program /program\nFROM made-$TARGETARCH\n"
    )
    with foreign.handler("F") as absent:
        if absent:
            pytest.skip(absent)
        done = bare("build", "--progress=plain", "--platform=linux/amd64,linux/arm64", "-t", "app", context)
    assert '[linux/arm64 made-arm64 2/2] RUN ["/program"]' in done.stderr.decode()
    assert '"arm64"' in bare("image", "inspect", "--platform=linux/arm64", "app").stdout.decode()
