"""What lies in a context, what is read of it, and which rule leaves out the rest."""

from __future__ import annotations

import json
import os

import pytest

from cais.engine.context_report import Amount, ContextReport
from cais.errors import CaisError

DOCKERFILE = "FROM nowhere AS one\nCOPY src/a /a\nFROM scratch\nARG WHAT=src\nCOPY $WHAT /src\nCOPY missing /\n"


@pytest.fixture
def report(work):
    work.write(
        {
            "Dockerfile": DOCKERFILE,
            ".dockerignore": "# none\nnode_modules\n*.log\n!keep.log\nnothing/*\nsrc/deep\n!src/deep/kept\n",
            "src/a": "a" * 10,
            "src/deep/kept": "k" * 3,
            "src/deep/gone": "g" * 5,
            "node_modules/x/y": "y" * 100,
            "keep.log": "l",
            "other.log": "l" * 7,
            "bad\x1b[2J": "b",
        }
    )
    os.symlink("/etc/passwd", work.context / "link")

    def ask(**options) -> ContextReport:
        return work.in_thread(lambda: work.engine.builder.context(work.options(**options)))

    return ask


def test_rules_are_told_by_their_lines_and_what_they_leave_out(report):
    found = report()
    assert found.ignore_file == ".dockerignore"
    assert [(rule.line, rule.rule, rule.amount) for rule in found.rules] == [
        (2, "node_modules", Amount(1, 100)), (3, "*.log", Amount(1, 7)), (6, "src/deep", Amount(1, 5)),
    ]  # fmt: skip
    assert [rule.line for rule in found.unused_rules] == [5], "one that takes back in is none"
    assert found.ignored == Amount(3, 112)


def test_what_lies_there_and_what_is_read(report):
    found = report()
    # src/a, src/deep/kept, keep.log, bad, the link, Dockerfile and .dockerignore
    assert found.offered.files == 7
    assert found.read == Amount(2, 13), "of the target, without the base image"
    assert [(reader.line, reader.amount, bool(reader.problem)) for reader in found.readers] == [
        (5, Amount(2, 13), False), (6, Amount(), True),
    ]  # fmt: skip
    assert report(target="one").read == Amount(1, 10)
    assert report(build_args={"WHAT": "src/deep"}).read == Amount(1, 3)
    assert {file.path: file.read for file in found.largest}["src/a"] is True
    assert {file.path: file.read for file in found.largest}["link"] is False
    assert dict(found.directories)["src"] == Amount(2, 13)


def test_hints(report, work):
    work.write({"Dockerfile": "FROM scratch\nCOPY . /\n", ".git/pack": "p" * 2_000_000, ".dockerignore": "nothing\n"})
    found = report()
    assert any(hint.startswith('".git" is 9') and "the line .git in .dockerignore" in hint for hint in found.hints)
    assert any("more than half of what is read is one file" in hint for hint in found.hints)
    assert any("line 1 of .dockerignore" in hint for hint in found.hints)
    work.write({"Dockerfile": "FROM scratch\nCMD x\n"})
    assert "the Dockerfile reads nothing of the context" in report().hints


def test_what_a_mount_reads_counts(report, work):
    work.write({"Dockerfile": "FROM nowhere\nRUN --mount=type=bind,source=src,target=/src true\n"})
    assert report().read == Amount(2, 13)


def test_an_ignored_directory_is_not_asked_about_file_by_file(report, work, monkeypatch):
    """Counted, not timed: what a rule leaves out as a whole costs no matching."""
    from cais.build.ignore import Ignore

    work.write({f"node_modules/m{number}/file": "" for number in range(50)})
    asked = []
    ignores = Ignore.ignores
    monkeypatch.setattr(Ignore, "ignores", lambda self, path: (asked.append(path), ignores(self, path))[1])
    assert report(target="one").ignored.files == 53
    assert len([path for path in asked if path.startswith("node_modules/m")]) <= 50, "the directories at most"


def test_a_dockerfile_that_cannot_be_read_and_a_context_that_is_none(report, work, tmp_path):
    work.write({"Dockerfile": "FROM scratch\nNOPE\n"})
    with pytest.raises(CaisError, match="unknown instruction: NOPE"):
        report()
    with pytest.raises(CaisError, match="not found"):
        report(context=str(tmp_path / "gone"))


def test_the_command(report, work):
    import subprocess
    import sys

    from unit.cli.conftest import START  # the same start as the command line's tests

    def run(*arguments: str) -> str:
        environment = {**os.environ, "CAIS_ROOT": work.stores.root}
        argv = [sys.executable, "-I", "-c", START, "builder", "context", *arguments, str(work.context)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    text = run("--limit", "3")
    assert "Read:     2 files, 13B by the Dockerfile\n" in text and "\x1b" not in run("--limit", "100")
    assert "src/deep" in text
    document = json.loads(run("--format", "json"))
    assert document["read"] == {"files": 2, "size_bytes": 13}
    assert run("--format", "{{.ignored.files}}") == "3\n"
