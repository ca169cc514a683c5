"""Containers from the command line, really run: output, columns, exit codes."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cais = Callable[..., "subprocess.CompletedProcess[Any]"]
BUSYBOX = "/bin/busybox"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not Path(BUSYBOX).exists() or not (shutil.which("crun") or shutil.which("runc")),
        reason="needs busybox-static and an OCI runtime (crun or runc)",
    ),
]


@pytest.fixture
def box(cais: Cais) -> Cais:
    """The command, on a root directory that has the image ``box``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for name in ("sh", "echo", "cat", "true", "sleep", "env"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    done = cais("import", "-c", 'CMD ["/bin/sh"]', "-", "box", input=buffer.getvalue(), text=False)
    assert done.returncode == 0, done.stderr
    return cais


def test_run_in_the_foreground(box: Cais) -> None:
    done = box("run", "--rm", "box", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert box("run", "--rm", "-i", "box", "cat", input="through").stdout == "through"
    # Flags behind the image are the command's.
    assert box("run", "--rm", "box", "echo", "--rm", "-x").stdout == "--rm -x\n"
    assert "A=1\n" in box("run", "--rm", "-e", "A=1", "-m", "64m", "--cpus", "0.5", "box", "env").stdout
    assert box("ps", "-aq").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--pull=never", "nope"], 125, "Error: No such image: nope:latest\n"),
        (
            ["--platform", "linux/s390x", "box"],
            125,
            "box was found but does not provide the specified platform (linux/s390x)",
        ),
        (["box", "nope"], 127, "nope"),
        (["box", "/bin"], 126, "/bin"),
        (["--name", "-", "box"], 125, "Invalid container name (-)"),
        (["--name", "u", "box"], 125, "are allowed\nA name has at least two characters.\n"),
        (["-it", "box"], 1, "the input device is not a TTY\n"),
        (["--pull=sometimes", "box"], 125, "invalid pull option: 'sometimes': must be one of"),
        (["--network", "bridge2", "box"], 125, "bridge2"),
        (["--env-file", "/nope", "box"], 125, "/nope"),
    ],
)
def test_what_does_not_run(box: Cais, arguments: list[str], code: int, message: str) -> None:
    done = box("run", "--rm", *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == ""
    assert box("ps", "-aq").stdout == ""


def test_a_life(box: Cais, tmp_path: Path) -> None:
    id = box(
        "create", "--name", "one", "--label", "a=b", "--cidfile", str(tmp_path / "cid"), "box", "echo", "hi ho"
    ).stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", id)
    assert (tmp_path / "cid").read_text() == id.strip()
    assert box("create", "--cidfile", str(tmp_path / "cid"), "box").returncode == 125
    header, row = box("ps", "-a").stdout.splitlines()
    assert header.split("   ")[0] == "CONTAINER ID"
    assert row.split()[:4] == [id[:12], "box", '"echo', "'hi"]
    assert box("start", "-a", "one").stdout == "hi ho\n"
    assert box("logs", "one").stdout == "hi ho\n"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z hi ho\n", box("logs", "-t", "one").stdout)
    assert box("ps", "-a", "--format", '{{.Names}} {{.State}} {{.Label "a"}}').stdout == "one exited b\n"
    assert json.loads(box("ps", "-a", "--format", "json").stdout)["Command"] == "\"echo 'hi ho'\""
    assert box("inspect", "-f", "{{.State.ExitCode}} {{.Name}}", "one").stdout == "0 /one\n"
    assert box("inspect", "-f", "{{.HostConfig.AutoRemove}}", "one").stdout == "false\n"
    assert box("rename", "one", "two").returncode == 0
    image = box("commit", "-c", 'CMD ["/bin/true"]', "-m", "kept", "two", "kept:1").stdout
    assert image.startswith("sha256:")
    assert box("history", "--format", "{{.Comment}}", "kept:1").stdout.splitlines()[0] == "kept"
    done = box("rm", "two", "nope")
    assert (done.stdout, done.stderr, done.returncode) == ("two\n", "Error: No such container: nope\n", 1)
    assert box("rm", "-f", "nope").returncode == 0


@pytest.mark.skipif(not shutil.which("conmon"), reason="needs conmon")
def test_detached(box: Cais) -> None:
    id = box("run", "-d", "--name", "job", "box", "sh", "-c", "echo up; exec sleep 100").stdout.strip()
    try:
        assert box("ps", "-q").stdout == id[:12] + "\n"
        assert "Up " in box("ps", "--format", "table {{.Names}}\\t{{.Status}}").stdout
        assert box("rm", "job").returncode == 1
        assert box("kill", "job").stdout == "job\n"
        assert box("wait", "job").stdout == "137\n"
        assert box("ps", "-q").stdout == ""
        assert box("logs", "job").stdout == "up\n"
    finally:
        assert box("rm", "-f", "job").stdout == "job\n"
    assert "reclaimed space" in box("container", "prune", "-f").stdout


def test_volumes(box: Cais, tmp_path: Path) -> None:
    assert box("volume", "create", "--label", "x=y", "data").stdout == "data\n"
    assert box("run", "--rm", "-v", "data:/d", "box", "sh", "-c", "echo kept > /d/file").returncode == 0
    assert box("run", "--rm", "--mount", "type=volume,src=data,dst=/d,ro", "box", "cat", "/d/file").stdout == "kept\n"
    (tmp_path / "here").write_text("bound\n")
    assert box("run", "--rm", "-v", "./here:/x:ro", "box", "cat", "/x", cwd=tmp_path).stdout == "bound\n"
    assert box("volume", "ls").stdout == "DRIVER    VOLUME NAME\nlocal     data\n"
    assert box("volume", "ls", "--format", '{{.Name}} {{.Label "x"}}').stdout == "data y\n"
    assert json.loads(box("volume", "inspect", "data").stdout)[0]["Name"] == "data"
    done = box("volume", "rm", "data", "nope")
    assert (done.stdout, done.stderr, done.returncode) == ("data\n", "Error: get nope: no such volume\n", 1)
    assert box("volume", "prune", "-af").stdout == "Total reclaimed space: 0B\n"


def test_build(box: Cais, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM box\nARG WORD=x\nRUN echo says $WORD\nCMD echo done\n")
    (context / "Bad").write_text("FROM box\nRUN echo first; echo last >&2; exit 3\n")
    files = ["--iidfile", str(tmp_path / "iid"), "--metadata-file", str(tmp_path / "metadata")]
    first = box("build", "-t", "app", "--build-arg", "WORD=hello", *files, str(context))
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    assert re.search(r"^#\d+ \[2/2\] RUN echo says .*$", first.stderr, re.MULTILINE)
    assert re.search(r"^#\d+ \d\.\d\d\d says hello$", first.stderr, re.MULTILINE)
    id = (tmp_path / "iid").read_text()
    assert json.loads((tmp_path / "metadata").read_text())["containerimage.config.digest"] == id
    assert box("build", "-q", "--build-arg", "WORD=hello", str(context)).stdout == id + "\n"
    quiet = box("build", "--progress=quiet", "--build-arg", "WORD=hello", str(context))
    assert (quiet.stdout, quiet.stderr) == (id + "\n", "")
    by_environment = {"BUILDKIT_PROGRESS": "quiet"}
    silent = box("build", "--build-arg", "WORD=hello", str(context), environment=by_environment)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")
    again = box("build", "--build-arg", "WORD=bye", str(context))
    assert re.search(r"^#\d+ cache miss: .*WORD", again.stderr, re.MULTILINE)
    planned = box("build", "--plan", "--build-arg", "WORD=hello", str(context))
    assert planned.returncode == 0 and planned.stdout.startswith("Steps: 2 (everything is cached)\n")
    assert box("run", "--rm", "app").stdout == "done\n"
    environment = {"WORD": "hello"}
    assert box("build", "-q", "--build-arg", "WORD", str(context), environment=environment).stdout == id + "\n"
    failed = box("build", "-f", str(context / "Bad"), str(context))
    assert failed.returncode == 1
    assert "------\n > [2/2] RUN echo first; echo last >&2; exit 3:\nfirst\nlast\n------\n" in failed.stderr
    assert "   2 | >>> RUN echo first" in failed.stderr
    assert failed.stderr.rstrip().endswith("did not complete successfully: exit code: 3")
    assert "says hello" in box("builder", "logs", box("builder", "history", "ls", "-q").stdout.split()[-1]).stdout
    assert box("builder", "history", "ls", "--format", "{{.Status}}").stdout.startswith("Error\n")
    raw = box("build", "--progress=rawjson", "--no-cache", str(context)).stderr
    statuses = [json.loads(line) for line in raw.splitlines()]
    assert {name for status in statuses for name in status} >= {"vertexes", "logs"}
    assert any("completed" in vertex for status in statuses for vertex in status.get("vertexes", ()))
    assert "Total:" in box("builder", "prune", "-f").stdout
    assert box("system", "check").stdout == "All is well\n"
    assert box("system", "df", "--format", "{{.Type}}").stdout.splitlines()[0] == "Images"
    assert json.loads(box("info", "--format", "json").stdout)["DockerRootDir"] == str(tmp_path / "root")


def test_as_docker_lists_and_inspects(box: Cais) -> None:
    id = box("create", "--name", "one", "-v", "data:/srv", "--domainname", "example.org", "box", "true").stdout.strip()
    for volume in ("data", "/srv"):
        assert box("ps", "-aq", "--no-trunc", "--filter", f"volume={volume}").stdout == f"{id}\n"
    assert box("ps", "-aq", "--filter", "volume=/other").stdout == ""
    done = box("ps", "-aq", "--format", "{{.Names}}")
    assert done.stdout == f"{id[:12]}\n" and "Ignoring custom format" in done.stderr
    assert box("ps", "-a", "--format", "{{.Size}}").stdout.startswith("0B (virtual ")
    assert json.loads(box("inspect", "--format", "json", "one").stdout)[0]["Id"] == id
    assert not {"Mounts", "Tmpfs"} & json.loads(box("inspect", "one").stdout)[0]["HostConfig"].keys()
    for name in ("one", "/one"):
        done = box("rename", "one", name)
        assert (done.returncode, "the same name as its current name" in done.stderr) == (1, True)
    assert box("rename", "one", "a b").returncode == 1
    done = box("rm", "-f", "")
    assert (done.returncode, "container name cannot be empty" in done.stderr) == (1, True)
    done = box("run", "--rm", "--network", "none", "--domainname", "example.org", "box", "cat",
               "/proc/sys/kernel/domainname")  # fmt: skip
    assert done.stdout == "example.org\n"
    for wrong, said in (
        (("--detach-keys", "foo"), "invalid detach keys (foo)"),
        (("-m", "-1"), 'invalid argument "-1" for "-m, --memory" flag: invalid size'),
        (("--cpus", "-1"), "invalid --cpus -1: the least is 0.01"),
    ):
        done = box("run", "--rm", *wrong, "box", "true")
        assert (done.returncode, said in done.stderr) == (125, True), done.stderr
    done = box("export", "-o", "/nowhere/at/all", "one")
    assert (done.returncode, '"/nowhere/at" does not exist' in done.stderr) == (1, True)
