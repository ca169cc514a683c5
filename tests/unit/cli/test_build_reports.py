"""What a build says of itself: --explain, --plan, the kept records."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

Cais = Callable[..., "subprocess.CompletedProcess[Any]"]
DOCKERFILE = "FROM base AS make\nCOPY src /src\nFROM base\nARG WORD=x\nCOPY --from=make /src/a /a\nCOPY src/b /b\n"


@pytest.fixture
def built(cais: Cais, tmp_path: Path) -> Cais:
    """The command, where ``context`` was built once; nothing in it needs a runtime."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    assert cais("import", "-", "base", input=buffer.getvalue(), text=False).returncode == 0
    (tmp_path / "context/src").mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "context/src" / name).write_text(name)
    (tmp_path / "context/Dockerfile").write_text(DOCKERFILE)
    context = str(tmp_path / "context")

    def run(*arguments: str, **options: Any) -> Any:
        return cais(*arguments, *([context] if arguments[0] == "build" else []), **options)

    assert run("build", "-t", "app").returncode == 0
    return run


def rows(text: str) -> list[tuple[str, str]]:
    """(result, instruction) of each step; reasons as ("", reason)."""
    found = []
    for line in text.splitlines():
        step = re.match(r"(cached|ran|FAILED|not run|runs|depends) .*?\] (.*)", line)
        if step:
            found.append((step[1], step[2]))
        elif line.startswith("    "):
            found.append(("", line.strip()))
    return found


def test_explain_names_what_changed_with_before_and_after(built: Cais, tmp_path: Path) -> None:
    (tmp_path / "context/src/a").chmod(0o755)
    (tmp_path / "context/src/new").write_text("new")
    done = built("build", "--explain", "-q")
    assert done.returncode == 0 and re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.stdout)
    assert done.stderr.startswith("Steps: 5 (2 cached, 3 ran)\nRESULT")
    assert rows(done.stderr)[:4] == [
        ("cached", "FROM docker.io/library/base:latest"),
        ("ran", "COPY src /src"),
        ("", 'the file "src/a": mode 0644 → 0755'),
        ("", 'the file "src/new": added'),
    ]
    assert ("", 'the file "src/a": mode 0644 → 0755') in rows(done.stderr)[5:], "what is copied from a stage, too"
    again = built("build", "--explain", "-q")
    assert again.stderr.startswith("Steps: 5 (everything is cached)\n") or "5 cached" in again.stderr


def test_a_step_that_came_out_the_same_says_so(built: Cais, tmp_path: Path) -> None:
    (tmp_path / "context/src/b").write_text("other")
    done = built("build", "--explain", "-q")
    assert ("cached", "COPY --from=make /src/a /a") in rows(done.stderr)
    assert ("", "what it stands on was built again and came out the same") in rows(done.stderr)


def test_a_line_inserted_above_is_no_change_of_what_stands_below(built: Cais, tmp_path: Path) -> None:
    (tmp_path / "context/Dockerfile").write_text(DOCKERFILE.replace("COPY src/b", "COPY src/a /first\nCOPY src/b"))
    done = built("build", "--explain", "-q")
    found = rows(done.stderr)
    place = found.index(("ran", "COPY src/b /b"))
    assert found[place + 1] == ("", "it stands on another step: COPY --from=make /src/a /a → COPY src/a /first")
    assert found[found.index(("ran", "COPY src/a /first")) + 1] == ("", "this step was not built before")


def test_a_second_checkout_is_compared_with_the_first(built: Cais, cais: Cais, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "src").mkdir(parents=True)
    for name in ("a", "b"):
        (elsewhere / "src" / name).write_text("changed " + name)
    (elsewhere / "Dockerfile").write_text(DOCKERFILE)
    done = cais("build", "--explain", "-q", str(elsewhere))
    assert '"src/a": content ' in done.stderr
    assert f"(compared with the same instruction of {tmp_path}/context/Dockerfile)" in done.stderr


def test_explain_as_json_also_of_a_failed_build(built: Cais, tmp_path: Path) -> None:
    document = json.loads(built("build", "--explain=json", "-q").stdout)
    assert (document["status"], document["cached"], document["ran"]) == ("done", 5, 0)
    (tmp_path / "context/Dockerfile").write_text(DOCKERFILE + "COPY --from=make /nothing /\n")
    failed = built("build", "--explain=json")
    assert failed.returncode == 1
    document = json.loads(failed.stdout)
    assert [step["state"] for step in document["steps"]][-1] == "failed"


def test_plan_answers_by_its_exit_code_and_writes_nothing(built: Cais, tmp_path: Path) -> None:
    def everything() -> tuple[dict[str, tuple[int, int]], list[str]]:
        # A base image is held by a lease while it is looked at.
        root = tmp_path / "root"
        paths = [path for path in root.rglob("*") if not path.name.startswith("cais.db") and path != root / "leases"]
        with closing(sqlite3.connect(root / "cais.db")) as database:
            facts = list(database.iterdump())
        return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in paths}, facts

    before = everything()
    assert built("build", "--plan").returncode == 0
    (tmp_path / "context/src/b").write_text("other")
    planned = built("build", "--plan")
    assert planned.returncode == 2 and ("depends", "COPY --from=make /src/a /a") in rows(planned.stdout)
    assert ("", 'the file "src/b": content ' + content(b"b", b"other")) in rows(planned.stdout)
    document = json.loads(built("build", "--plan=json").stdout)
    assert document["cached"] is False
    assert {step["state"] for step in document["steps"]} == {"hit", "miss", "pending"}
    (tmp_path / "context/Dockerfile").write_text("FROM nowhere\n")
    assert built("build", "--plan").returncode == 1
    assert everything() == before
    assert built("build", "--plan=yaml").returncode == 125


def content(old: bytes, new: bytes) -> str:
    import hashlib

    return " → ".join(hashlib.sha256(data).hexdigest()[:12] for data in (old, new))


class TestHistory:
    def test_list_inspect_and_logs(self, built: Cais, tmp_path: Path) -> None:
        (tmp_path / "context/Dockerfile").write_text(DOCKERFILE + "COPY gone /\n")
        assert (
            built("build", "--target", "make", "--build-arg", "API_TOKEN=hush", "--build-arg", "WORD=y").returncode == 0
        )
        assert built("build").returncode == 1
        lines = built("builder", "history", "ls").stdout.splitlines()
        assert re.split(r"\s{3,}", lines[0]) == ["BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION"]
        assert [re.split(r"\s{3,}", line)[2] for line in lines[1:]] == ["Error", "Completed", "Completed"]
        ids = built("builder", "history", "ls", "-q").stdout.split()
        assert built("builder", "history", "ls", "-q", "--filter", "status=error").stdout.split() == ids[:1]
        failed = built("builder", "history", "inspect").stdout
        assert f"Build ID:     {ids[0]}\n" in failed and ">>> COPY gone /" in failed and '"/gone": not found' in failed
        older = built("builder", "history", "inspect", "^1").stdout
        assert "Target:       make\n" in older and "WORD        y\n" in older
        assert "hush" not in older and "API_TOKEN   (hidden)" in older
        first = built("builder", "history", "inspect", ids[2][:5]).stdout
        assert "Build Steps:  5/5 (40% cached)\n" in first and "Tag:          app\n" in first
        assert built("builder", "history", "inspect", "-f", "{{.id}}", ids[1]).stdout == ids[1] + "\n"
        assert "COPY src /src" in built("builder", "history", "logs", "^2").stdout
        assert "COPY src /src" in built("builder", "logs", ids[2]).stdout

    def test_remove(self, built: Cais, tmp_path: Path) -> None:
        built("build")
        ids = built("builder", "history", "ls", "-q").stdout.split()
        assert built("builder", "history", "rm", "^1").stdout.split() == [ids[1]]
        assert built("builder", "history", "rm").returncode == 1
        assert built("builder", "history", "rm", "nope").returncode == 1
        assert built("builder", "history", "rm", "--all").stdout.split() == [ids[0]]
        assert list((tmp_path / "root/builds").iterdir()) == []
        assert built("build", "--plan").returncode == 0, "the cache stays"

    def test_the_family_below_a_family(self, built: Cais) -> None:
        assert "  history " in built("builder", "--help").stdout
        assert built("builder", "history").stdout == built("help", "builder", "history").stdout
        assert built("help", "builder", "history", "rm").stdout.startswith("Usage:  cais builder history rm ")
        assert "Did you mean 'cais builder history inspect'" in built("builder", "history", "inspct").stderr
        assert built("__complete", "builder", "history", "").stdout.split()[0] == "inspect"
