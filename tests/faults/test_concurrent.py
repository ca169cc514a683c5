"""Many commands at once on one root directory."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.root


def test_sixteen_builds_removals_and_prunes_at_once(cais_with_base):
    cais = cais_with_base
    shared = cais.context("shared", "FROM base\nRUN echo shared > /shared\n", [("file", b"data")])
    processes: list[tuple[str, subprocess.Popen[bytes]]] = []
    for number in range(8):
        own = cais.context(
            f"own{number}", f"FROM base\nCOPY file /file\nRUN echo {number} > /own\n", [("file", b"%d" % number)]
        )
        processes.append(
            (f"build {number}", cais.start("build", "-q", "-t", f"own:{number}", str(own), stderr=subprocess.PIPE))
        )
    processes += [
        ("build shared", cais.start("build", "-q", "-t", f"shared:{number}", str(shared), stderr=subprocess.PIPE))
        for number in range(3)
    ]
    for number in range(5):
        words = (("image", "prune", "-f"), ("builder", "prune", "-f"))[number % 2]
        processes.append((" ".join(words), cais.start(*words, stderr=subprocess.PIPE)))
    for name, process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, f"{name}: {error.decode()}"
    cais.assert_sound()
    rows = cais("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
    assert sorted(row for row in rows if row.startswith("own:")) == [f"own:{number}" for number in range(8)]
    for number in range(8):
        assert (
            cais("run", "--rm", "--network", "none", f"own:{number}", "sh", "-c", "read x < /own; echo $x").stdout
            == f"{number}\n"
        )
    ids = {cais("image", "inspect", "--format", "{{.Id}}", f"shared:{number}").stdout for number in range(3)}
    assert len(ids) >= 1
    removals = [cais.start("image", "rm", f"own:{number}") for number in range(8)]
    assert [process.wait(timeout=60) for process in removals] == [0] * 8
    cais.assert_sound()
