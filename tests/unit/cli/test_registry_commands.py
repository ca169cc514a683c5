"""Users, tokens, grants and the rest of a registry, by commands. In this process: each takes a second to load."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from container_process import Terminal

from cais.catalog.administration import Administration
from cais.catalog.settings import CatalogSettings
from cais.cli import main
from cais.records import repositories

PASSWORD = "correct horse battery"


class Done(NamedTuple):
    code: int
    out: str
    error: str


Registry = Callable[..., Done]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Registry:
    """``cais registry WORDS``, the directory named by the environment."""
    monkeypatch.setenv("CAIS_REGISTRY_ROOT", str(tmp_path / "registry"))

    def run(*words: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("utf-8", "surrogateescape"))))
        code = main(["registry", *words])
        said = capsys.readouterr()
        assert PASSWORD not in said.out + said.err
        return Done(code, said.out, said.err)

    return run


def add(registry: Registry, *words: str) -> Done:
    return registry("user", "add", "--password-stdin", *words, stdin=PASSWORD + "\n")


def rows(registry: Registry, *words: str) -> list[dict[str, Any]]:
    done = registry(*words, "--format", "json")
    assert done.code == 0, done
    return [json.loads(line) for line in done.out.splitlines()]


def test_users(registry: Registry, tmp_path: Path) -> None:
    assert add(registry, "--admin", "root") == (0, "root\n", "")
    assert add(registry, "alice").code == 0
    taken = add(registry, "alice")
    assert taken.code == 1 and taken.error == "Error: the name 'alice' is taken\n"
    assert registry("user", "ls", "-q").out == "alice\nroot\n"
    table = registry("user", "ls").out.splitlines()
    assert table[0].split() == ["NAME", "ADMIN", "STATUS", "CREATED"]
    assert table[2].split()[:3] == ["root", "yes", "enabled"]
    assert registry("user", "disable", "alice", "nobody") == (1, "alice\n", "Error: no such user: nobody\n")
    assert [row["Status"] for row in rows(registry, "user", "ls")] == ["disabled", "enabled"]
    assert registry("user", "enable", "alice").code == 0
    assert registry("user", "update", "--admin", "alice").code == 0
    assert registry("user", "update", "--admin=false", "root").code == 0
    assert [row["Admin"] for row in rows(registry, "user", "ls")] == ["yes", "no"]
    refused = registry("user", "rm", "root", "alice")
    assert refused.code == 1 and refused.out == "root\n" and "only administrator" in refused.error
    assert registry("user", "update", "alice").code == 1
    assert os.stat(tmp_path / "registry" / "registry.db").st_mode & 0o077 == 0


def test_passwords(registry: Registry) -> None:
    short = registry("user", "add", "--password-stdin", "alice", stdin="short\n")
    assert short.code == 1 and "shorter than 8" in short.error
    assert "not UTF-8" in registry("user", "add", "--password-stdin", "alice", stdin="\udcff" * 9).error
    assert "--password-stdin" in registry("user", "add", "alice").error
    assert registry("user", "ls", "-q").out == ""
    assert add(registry, "alice").code == 0
    assert registry("user", "password", "--password-stdin", "alice", stdin=PASSWORD).code == 0
    assert registry("user", "password", "--password-stdin", "bob", stdin=PASSWORD).error == "Error: no such user: bob\n"


@pytest.mark.parametrize("again", [PASSWORD, "another one"])
def test_a_password_is_asked_for_without_showing_it(tmp_path: Path, again: str) -> None:
    source = str(Path(__file__).parents[3] / "src")
    environment = {**os.environ, "CAIS_REGISTRY_ROOT": str(tmp_path), "PYTHONPATH": source}
    terminal = Terminal([sys.executable, "-m", "cais", "registry", "user", "add", "alice"], environment, 24, 80)
    try:
        shown = terminal.read_until("Password: ")
        terminal.type(PASSWORD + "\n")
        shown += terminal.read_until("Again: ")
        terminal.type(again + "\n")
        assert terminal.wait() == (0 if again == PASSWORD else 1)
        shown += terminal.said.decode()
    finally:
        terminal.close()
    assert PASSWORD not in shown and again not in shown
    assert shown.rstrip().endswith("alice" if again == PASSWORD else "two different passwords")


def test_grants(registry: Registry) -> None:
    add(registry, "alice")
    assert registry("grant", "add", "alice", "team/*", "push,pull").out == "alice team/*\n"
    assert registry("grant", "add", "everyone", "base/*", "pull").code == 0
    assert registry("grant", "ls").out.splitlines()[0].split() == ["SUBJECT", "PATTERN", "ACTIONS"]
    assert rows(registry, "grant", "ls", "alice") == [
        {"Subject": "alice", "Pattern": "alice/*", "Actions": "admin"},
        {"Subject": "alice", "Pattern": "team/*", "Actions": "pull,push"},
    ]
    assert registry("grant", "rm", "alice", "team/*").code == 0
    assert registry("grant", "rm", "alice", "team/*").error == "Error: nothing is granted to alice on 'team/*'\n"
    for words in (("bob", "x", "pull"), ("alice", "X", "pull"), ("alice", "x", "write"), ("a:b", "x", "pull")):
        assert registry("grant", "add", *words).code == 1
    assert len(rows(registry, "grant", "ls")) == 2


def test_tokens(registry: Registry) -> None:
    add(registry, "alice")
    words = ("token", "create", "--owner", "alice", "--grant", "team/*:pull,push", "--grant", "x:pull", "ci")
    made = registry(*words, "--expires", "30d")
    assert made.code == 0 and re.fullmatch(r"cais_[\w-]{43}\n", made.out)
    assert registry(*words).error.startswith("Error: there is a token 'ci'\n")
    (row,) = rows(registry, "token", "ls")
    assert (row["Name"], row["Owner"], row["Status"], row["UsedAt"]) == ("ci", "alice", "valid", "never")
    assert {row["Pattern"]: row["Actions"] for row in rows(registry, "grant", "ls", "robot:ci")} == {
        "team/*": "pull,push", "x": "pull"
    }  # fmt: skip
    assert registry("token", "create", "--expires", "never", "for-ever").code == 0
    assert rows(registry, "token", "ls")[1]["ExpiresAt"] == "never"
    for bad in ("soon", "0", "-1h"):
        assert registry("token", "create", f"--expires={bad}", "other").code == 1
    assert registry("token", "create", "--grant", "nothing", "other").code == 125
    assert registry("token", "create", "--grant", "x:write", "other").code == 1
    assert registry("token", "revoke", "ci", "ci").code == 1
    assert registry("token", "ls", "-q").out == "for-ever\n"
    assert registry("grant", "ls", "robot:ci").out.count("\n") == 1


def test_organisations(registry: Registry) -> None:
    add(registry, "alice")
    assert registry("organisation", "add", "acme").code == 0
    assert registry("organisation", "add", "alice").code == 1, "one name for all"
    assert registry("organisation", "join", "acme", "alice").out == "alice\n"
    assert registry("organisation", "join", "acme", "alice").code == 1
    assert rows(registry, "organisation", "ls") == [{"Name": "acme", "Members": "alice"}]
    assert registry("user", "ls", "-q").out == "alice\n"
    assert registry("user", "rm", "acme").code == 1
    assert registry("organisation", "leave", "acme", "alice").code == 0
    assert registry("organisation", "leave", "acme", "alice").code == 1
    assert registry("organisation", "rm", "acme").code == 0
    assert registry("organisation", "ls", "-q").out == ""


def test_keys(registry: Registry) -> None:
    add(registry, "alice")
    first = registry("key", "rotate").out.strip()
    second = registry("key", "rotate").out.strip()
    assert [row["ID"] for row in rows(registry, "key", "ls")] == [second, first]
    third = registry("key", "rotate", "--forget").out.strip()
    shown = registry("key", "ls").out
    assert third in shown and first not in shown and "PRIVATE" not in shown


def test_repositories(registry: Registry, tmp_path: Path) -> None:
    settings = CatalogSettings(str(tmp_path / "registry"))
    with Administration.open(settings) as records:
        database = records._database
        database.write(lambda connection: repositories.ensure(database, connection, "team/app", public=False))
    assert rows(registry, "repository", "ls")[0]["Visibility"] == "private"
    assert registry("repository", "update", "--public", "team/app", "team/none").code == 1
    assert registry("repository", "ls").out.splitlines()[1].split()[:2] == ["team/app", "public"]
    assert registry("repository", "update", "--public=false", "team/app").code == 0
    assert rows(registry, "repository", "ls")[0]["Visibility"] == "private"
    assert registry("repository", "update", "team/app").code == 1


def test_settings_that_are_wrong(registry: Registry, tmp_path: Path) -> None:
    assert "unknown setting" in registry("user", "ls", "--set", "nothing=1").error
    missing = registry("user", "ls", "--config", str(tmp_path / "missing.toml"))
    assert missing.code == 1 and "missing.toml" in missing.error
    secret = "postgresql://user:hidden@"
    bad = registry("user", "ls", "--set", f"database.url={secret}:::/x")
    assert bad.code == 1 and "hidden" not in bad.error


@pytest.mark.parametrize(("package", "words"), [("sqlalchemy", "user ls"), ("uvicorn", "serve")])
def test_where_the_packages_are_not_installed(tmp_path: Path, package: str, words: str) -> None:
    source = str(Path(__file__).parents[3] / "src")
    code = f"import sys; sys.modules[{package!r}] = None; from cais.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "registry", *words.split(), "--root", tmp_path],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: the registry needs packages that are not installed ({package})\n"
        "Install them with: pip install 'cais[registry]'\n"
    )
