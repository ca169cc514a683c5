"""Dockerfiles and contexts that are wrong, through the command itself: what is said, with which code, what is left.

Each error names the fault and its line, marks that line where there is one, and ends with Docker's code, 1. Nothing
runs before it, no image appears, and the store passes its check.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from cais_process import BUSYBOX, Cais
from peak_memory import measured_bytes, measuring

MARKED = ">>>"
BASE = "FROM base\n"


class Bad(NamedTuple):
    """``says`` must all be in the error; ``marks`` is a line of it that is marked."""

    name: str
    dockerfile: str | bytes
    says: tuple[str, ...]
    marks: str = ""
    files: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    prepare: Callable[[Path], object] = lambda context: None


def _line(number: int, text: str) -> str:
    return f"{number} | {MARKED} {text}"


CASES = [
    Bad("unknown instruction", BASE + "RNU true\n",
        ("dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)",), _line(2, "RNU true")),
    Bad("nothing like an instruction", BASE + "qwertyuiop x\n", ("line 2: unknown instruction: qwertyuiop\n",)),
    Bad("empty", "", ("the Dockerfile cannot be empty",)),
    Bad("blanks and comments", "\n# x\n\n", ("file with no instructions",)),
    Bad("no FROM", "ARG x=1\n", ("dockerfile contains no stages to build",)),
    Bad("RUN before FROM", "RUN true\nFROM base\n", ("before the first FROM",), _line(1, "RUN true")),
    Bad("bad flag", BASE + "RUN true\nCOPY --chwon=1 a b\n",
        ("line 3: unknown flag: --chwon (did you mean chown?)",), _line(3, "COPY --chwon=1 a b")),
    Bad("flag without a value", BASE + "COPY --chown a b\n", ("missing a value on flag: --chown",)),
    Bad("flag twice", BASE + "COPY --from=a --from=b x y\n", ("duplicate flag specified: --from",)),
    Bad("unterminated heredoc", BASE + "RUN true\nRUN <<EOF\necho x\n", ("unterminated heredoc", "EOF"),
        _line(3, "RUN <<EOF")),
    Bad("unterminated quote", BASE + 'ENV a="x\n', ("quote",), _line(2, 'ENV a="x')),
    Bad("unterminated variable", BASE + "ENV a=${x\n", ("${x",), _line(2, "ENV a=${x")),
    Bad("missing stage", "FROM base AS one\nFROM on\n", ("on", "failed to resolve", "(did you mean one?)"),
        _line(2, "FROM on")),
    Bad("COPY from a missing stage", "FROM base AS builder\nFROM base\nCOPY --from=bulider /a /b\n",
        ("bulider", "failed to resolve", "(did you mean builder?)"), _line(3, "COPY --from=bulider /a /b")),
    Bad("missing target", "FROM base AS final\n", ('target stage "finall" could not be found (did you mean final?)',),
        flags=("--target", "finall")),
    Bad("circle of FROM", "FROM b AS a\nFROM a AS b\n",
        ('failed to resolve', 'the stage "b" (line 2) is not before this one', "circular"), _line(1, "FROM b AS a")),
    Bad("a stage from itself", "FROM self AS self\n", ('the stage "self" (line 1) is not before this one',)),
    Bad("COPY from itself", "FROM base AS a\nCOPY --from=a /x /y\n", ("circular dependency detected on stage: a",),
        _line(2, "COPY --from=a /x /y")),
    Bad("COPY from a later stage that needs this one", "FROM base AS a\nCOPY --from=b /x /y\nFROM a AS b\n",
        ("circular dependency detected on stage: a",), MARKED),
    Bad("COPY from a later stage", "FROM base AS a\nCOPY --from=b /x /y\nFROM base AS b\nFROM a\n",
        ('cannot copy from stage "b", it needs to be defined before current stage "a"',),
        _line(2, "COPY --from=b /x /y")),
    Bad("missing file", BASE + "COPY aplication.py /\n",
        ('"/aplication.py": not found', "application.py"), _line(2, "COPY aplication.py /"),
        files=(("application.py", ""),)),
    Bad("missing file in a directory", BASE + "COPY src/mian.c /\n", ('"/src/mian.c": not found', "src/main.c"),
        files=(("src/main.c", ""),)),
    Bad("missing directory", BASE + "COPY scr/main.c /\n", ('"/scr/main.c": not found',), files=(("src/main.c", ""),)),
    Bad("path that leaves the context", BASE + "COPY ../../../../etc/passwd /\n", ("not found",),
        _line(2, "COPY ../../../../etc/passwd /")),
    Bad("absolute path", BASE + "COPY /etc/passwd /\n", ('"/etc/passwd": not found',)),
    Bad("a link that leaves the context", BASE + "COPY outside /\n", ("not found", "outside"),
        prepare=lambda context: (context / "outside").symlink_to("/etc/passwd")),
    Bad("a climbing link", BASE + "COPY up/passwd /\n", ("not found",),
        prepare=lambda context: (context / "up").symlink_to("../../../../../../../../etc")),
    Bad("a loop of links", BASE + "COPY x /\n", ("x",),
        prepare=lambda context: ((context / "x").symlink_to("y"), (context / "y").symlink_to("x"))),
    Bad("file in .dockerignore", BASE + "COPY secret.txt /\n", ('"/secret.txt": not found', ".dockerignore"),
        _line(2, "COPY secret.txt /"), files=((".dockerignore", "*.txt\n"), ("secret.txt", ""))),
    Bad("bad .dockerignore", BASE + "COPY . /\n", ("illegal exclusion pattern",), files=((".dockerignore", "a\n!\n"),)),
    Bad("bad pattern in .dockerignore", BASE + "COPY . /\n", ("[a-",), files=((".dockerignore", "[a-\n"), ("x", ""))),
    Bad("NUL bytes", BASE.encode() + b"RUN echo a\0b\n", ("NUL",), MARKED),
    Bad("binary", bytes(range(256)) * 20, ("line 1",)),
    Bad("one endless line", BASE + "ENV a=" + "x" * (4 << 20) + "\n",
        ("line 2: dockerfile line greater than max allowed size of 65535",)),
    Bad("no such image", "FROM nothing/of-the-kind:1\n", ("metadata for docker.io/nothing/of-the-kind:1",),
        _line(1, "FROM nothing/of-the-kind:1")),
    Bad("bad name of an image", "FROM BASE\n", ("BASE", "lowercase"), _line(1, "FROM BASE")),
    Bad("bad chmod", BASE + "COPY --chmod=9 Dockerfile /\n", ("invalid chmod parameter: '9'",)),
    Bad("unknown user of chown", "FROM scratch\nCOPY --chown=ghost Dockerfile /\n", ("ghost",)),
    Bad("required variable", BASE + "ARG X\nENV a=\"${X:?must be given}\"\n", ("X: must be given",)),
    Bad("RUN that fails", BASE + "RUN echo told >&2; exit 9\n",
        ("told", "did not complete successfully: exit code: 9"), _line(2, "RUN echo told >&2; exit 9")),
]  # fmt: skip


# Understood, and not built by this version: said by name before anything runs. (What, its line, what is named)
class Store(NamedTuple):
    """A root directory for all cases, with ``base`` in it; what must be the same after each."""

    cais: Cais
    images: str

    def build(self, context: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        progress = () if "-q" in flags else ("--progress=plain",)
        return self.cais("build", *progress, *flags, str(context), check=False)

    def assert_untouched(self) -> None:
        assert self.cais("image", "ls", "-a", "-q", "--no-trunc").stdout == self.images
        self.assert_nothing_begun()

    def assert_nothing_begun(self) -> None:
        for directory in ("content/ingest", "leases"):
            path = self.cais.root / directory
            assert not path.exists() or not [name for name in os.listdir(path) if not name.startswith(".")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    if os.geteuid() != 0 or not os.path.exists(BUSYBOX):
        pytest.skip("needs root and busybox-static")
    cais = Cais(tmp_path_factory.mktemp("bad"))
    cais.make_base()
    store = Store(cais, cais("image", "ls", "-a", "-q", "--no-trunc").stdout)
    yield store
    cais.assert_sound()


def _context(directory: Path, bad: Bad) -> Path:
    for name, text in bad.files:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = bad.dockerfile if isinstance(bad.dockerfile, bytes) else bad.dockerfile.encode()
    (directory / "Dockerfile").write_bytes(data)
    bad.prepare(directory)
    return directory


def _assert_well_said(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
    assert "ERROR: failed to build: failed to solve: " in done.stderr
    assert len(done.stderr) < 10_000, "an error is for reading"


@pytest.mark.root
@pytest.mark.parametrize("bad", CASES, ids=[bad.name for bad in CASES])
def test_it_is_said_and_nothing_is_left(bad: Bad, store: Store, tmp_path: Path) -> None:
    done = store.build(_context(tmp_path, bad), "-t", "never", *bad.flags)
    _assert_well_said(done)
    for text in bad.says:
        assert text in done.stderr
    assert bad.marks in done.stderr
    store.assert_untouched()


@pytest.mark.root
def test_a_stage_that_is_not_needed_may_ask_for_what_is_not_there(store: Store, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM base AS unused\nRUN --mount=type=ssh,required true\nFROM base AS wanted\n"
    )
    assert store.build(tmp_path, "-q").returncode == 0


@pytest.mark.root
def test_a_directory_as_dockerfile(store: Store, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").mkdir()
    done = store.build(tmp_path)
    _assert_well_said(done)
    assert "failed to read dockerfile" in done.stderr and "is a directory" in done.stderr
    store.assert_untouched()


@pytest.mark.root
def test_no_dockerfile(store: Store, tmp_path: Path) -> None:
    done = store.build(tmp_path)
    _assert_well_said(done)
    assert "failed to read dockerfile: open Dockerfile: no such file or directory" in done.stderr


@pytest.mark.root
def test_no_context(store: Store, tmp_path: Path) -> None:
    done = store.build(tmp_path / "missing")
    assert done.returncode == 1 and "not found" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.root
def test_a_dockerfile_of_ten_megabytes(store: Store, tmp_path: Path) -> None:
    """It builds where it is one, in bounded memory; a fault at its end is found and shown."""
    comment = "# " + "x" * 98 + "\n"
    text = BASE + comment * (10 * 1024 * 1024 // len(comment)) + "ENV a=1\n"
    (tmp_path / "Dockerfile").write_text(text + "RNU true\n")
    done = store.build(tmp_path)
    _assert_well_said(done)
    last = text.count("\n") + 1
    assert f"line {last}: unknown instruction: RNU" in done.stderr and _line(last, "RNU true") in done.stderr
    store.assert_untouched()
    (tmp_path / "Dockerfile").write_text(text)
    report = str(tmp_path / "peak")
    command = measuring(store.cais.command("build", "-q", str(tmp_path)), report)
    assert subprocess.run(command, env=store.cais.environment, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert measured_bytes(report) < 100 << 20
    store.cais("image", "prune", "-f")
    store.assert_untouched()


@pytest.mark.root
def test_a_dockerfile_without_end(store: Store, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").symlink_to("/dev/zero")
    done = store.build(tmp_path)
    _assert_well_said(done)
    assert "larger than 16 MiB" in done.stderr
    store.assert_untouched()


@pytest.mark.root
@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""], ids=["BOM", "no BOM"])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
def test_byte_order_mark_and_line_ends_do_not_matter(store: Store, tmp_path: Path, start: bytes, end: bytes) -> None:
    text = b'FROM base\nENV a="1" \\\n  b=2\nRUN echo $a$b \\\n  > /out && test "$(cat /out)" = 12\nCMD ["x"]\n'
    (tmp_path / "Dockerfile").write_bytes(start + text.replace(b"\n", end))
    done = store.build(tmp_path, "-q")
    assert done.returncode == 0, done.stderr
    config = store.cais("image", "inspect", "--format", "{{json .Config.Env}}{{json .Config.Cmd}}", done.stdout.strip())
    assert config.stdout.strip().endswith('"a=1","b=2"]["x"]')
