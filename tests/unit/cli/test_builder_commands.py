"""`builder du`, `prune`, `ls`, `inspect`: what is printed, and what is asked."""

from __future__ import annotations

import io
import json
import re

import pytest

from cais.cli import main

pytestmark = pytest.mark.root


@pytest.fixture
def built(tmp_path, monkeypatch, capsys, in_child):
    """A root directory with one build in it; its image is gone, so that the cache has its layer alone."""
    monkeypatch.setenv("CAIS_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    (tmp_path / "file").write_bytes(b"x" * 1000)
    # A build enters a mount namespace, for good.
    assert in_child(lambda: main(["build", "-q", "-t", "app", "."])) == "0"
    assert main(["rmi", "app"]) == 0
    capsys.readouterr()
    return capsys


def said(capsys, *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_du_has_buildx_s_columns(built):
    lines = said(built, "builder", "du", "--filter", "type=regular").split("\n")
    assert lines[0] == "ID\t\t\t\t\t\tRECLAIMABLE\tSIZE\t\tLAST ACCESSED"
    assert re.fullmatch(r"[0-9a-f]{25} {15}\ttrue \t\t2\.56kB {4}\t.* ago", lines[1])
    assert lines[2:] == ["Reclaimable:\t2.56kB", "Total:\t\t2.56kB", ""]


def test_du_in_full_and_by_template(built):
    text = said(built, "builder", "du", "--verbose", "--filter", "type=regular")
    for line in ("Mutable:\tfalse", "Shared:\t\tfalse", "Size:\t\t2.56kB", "Description:\t[1/1] COPY file /",
                 "Usage count:\t1", "Type:\t\tregular"):  # fmt: skip
        assert line in text.split("\n")
    found = json.loads(said(built, "builder", "du", "--format", "json", "--filter", "type=regular"))
    assert found["Type"] == "regular" and found["Reclaimable"] is True
    assert said(built, "builder", "du", "--format", "{{.Type}} {{.Size}}").startswith("regular 2.56kB\n")


def test_prune_asks(built, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    question = "WARNING! This will remove all dangling build cache. Are you sure you want to continue? [y/N] "
    assert said(built, "builder", "prune") == question
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    text = said(built, "builder", "prune", "--all", "--filter", "type=regular")
    assert text.startswith("WARNING! This will remove all build cache.") and text.endswith("Total:\t2.56kB\n")
    assert said(built, "builder", "prune", "-f", "--filter", "type=regular") == "Total:\t0B\n"


def test_prune_without_doing_it(built):
    text = said(built, "builder", "prune", "--dry-run", "--filter", "type=regular")
    assert text.endswith("Total:\t2.56kB\n")
    assert said(built, "builder", "prune", "--dry-run", "--filter", "type=regular") == text


@pytest.mark.parametrize("words", [["--filter", "nothing=1"], ["--keep", "-1"], ["--max-used-space", "-1"]])
def test_prune_refuses(built, words):
    assert main(["builder", "prune", "-f", *words]) == 1


def test_there_is_one_builder(built):
    lines = said(built, "builder", "ls").split("\n")
    assert lines[0].split() == ["NAME/NODE", "DRIVER/ENDPOINT", "STATUS", "BUILDKIT", "PLATFORMS"]
    assert lines[1].split() == ["default*", "cais"] and "linux/" in lines[2]
    assert "Name:          default\nDriver:        cais\n" in said(built, "builder", "inspect")
    assert said(built, "builder", "inspect", "default").count("GC Policy") == 2
    assert main(["builder", "inspect", "other"]) == 1
    assert said(built, "builder", "ls", "--format", "{{.Name}}") == "default\n"
