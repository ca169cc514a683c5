"""Flags of `build` that make no sense: Docker's words and exit codes, before a build has begun."""

from __future__ import annotations

import pytest

from cais.cli import main

PREFIX = "ERROR: failed to build: "


@pytest.fixture
def context(tmp_path, monkeypatch):
    """The working directory is a context with nothing to be made; ``main`` has a root directory of its own."""
    monkeypatch.setenv("CAIS_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")


@pytest.mark.parametrize(
    ("flags", "message", "code"),
    [
        (["--ulimit", "nofile=a"], 'invalid argument "nofile=a" for "--ulimit" flag: strconv.ParseInt:', 125),
        (["--ulimit", "nofile=5:2"], 'invalid argument "nofile=5:2" for "--ulimit" flag: ulimit soft limit must', 125),
        (["--shm-size", "-1"], 'invalid argument "-1" for "--shm-size" flag: ', 125),
        (["--memory-swap", "5m"], "You should always set the Memory limit when using Memoryswap limit", 125),
        (["--add-host", "x"], "invalid host x", 1),
        (["--allow", "x"], "unknown entitlement x", 1),
        (["--secret", "x"], "invalid field 'x' must be a key=value pair", 1),
        (["--secret", "src=Dockerfile"], "secret missing ID", 1),
        (["--secret", "id=a,src=missing"], "failed to stat missing: stat missing: no such file or directory", 1),
        (["--secret", "id=a,type=x"], 'unsupported secret type "x"', 1),
        (["--ssh", "x=missing"], "stat missing: no such file or directory", 1),
        (["--build-context", "A=."], "invalid context name A: ", 1),
        (["--no-cache", "--no-cache-filter", "x"], "--no-cache and --no-cache-filter cannot", 1),
    ],
)  # fmt: skip
def test_said_as_docker_says_it(context, capsys, flags, message, code):
    assert main(["build", "--progress=plain", *flags, "."]) == code
    last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR: ")][-1]
    assert last.startswith(PREFIX + message)


def test_the_same_flags_with_sense(cais, context):
    flags = ["--ulimit=nofile=2:5", "--shm-size=1m", "--add-host=x=::1", "--allow=network.host", "--no-cache-filter=x"]
    done = cais("build", "-q", *flags, "--secret=id=a,src=Dockerfile", ".")
    assert done.returncode == 0, done.stderr


def test_no_build_is_recorded(context, capsys):
    assert main(["build", "--add-host", "x", "."]) == 1
    capsys.readouterr()
    assert main(["builder", "history", "ls", "-q"]) == 0
    assert capsys.readouterr().out == ""
