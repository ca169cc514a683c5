"""Repositories over real servers: which commit, what of it, and how little is fetched."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from cais.errors import CaisError, Corrupt, Denied, Invalid, NotFound
from git_server import TIME, Repository, served

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


class Remote:
    def __init__(self, directory: Path) -> None:
        self.served = directory / "served"
        self.repository = Repository(self.served / "app")
        self.first = self.repository.commit({"a": "1\n", "sub/b": "b\n", "sub/deep/c": "c\n"})
        self.repository.git("tag", "-a", "v1", "-m", "v1")
        self.repository.git("branch", "both")
        self.repository.git("tag", "light")
        (self.repository.path / "run").write_text("#!/bin/sh\n")
        (self.repository.path / "run").chmod(0o700)
        os.symlink("a", self.repository.path / "link")
        self.second = self.repository.commit({"a": "2\n"})
        self.repository.git("tag", "both")
        self.repository.git("update-ref", "refs/pull/7/head", self.first)


@pytest.fixture
def remote(tmp_path):
    return Remote(tmp_path)


@pytest.fixture
def server(remote):
    with served(remote.served) as server:
        yield server


def tree(kept) -> Path:
    return Path(kept.path) / "tree"


def names(kept) -> list[str]:
    root = tree(kept)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def asked(server) -> list[str]:
    """Without the questions that only say which protocol it is."""
    return [f"{request.command} {request.path}" for request in server.seen]


def test_the_files_of_the_default_branch(place, remote, server):
    kept, known = place.repositories.get(f"{server.url}/app.git")
    assert not known and kept.facts["commit"] == remote.second
    assert names(kept) == ["a", "link", "run", "sub/b", "sub/deep/c"]
    root = tree(kept)
    assert (root / "a").read_text() == "2\n" and os.readlink(root / "link") == "a"
    modes = {name: stat.S_IMODE(os.lstat(root / name).st_mode) for name in ("a", "run", "sub")}
    assert modes == {"a": 0o644, "run": 0o755, "sub": 0o755}
    assert {os.lstat(root / name).st_mtime for name in ("a", "link", "sub", "sub/b", ".")} == {TIME + 2}


@pytest.mark.parametrize(
    "reference", ["v1", "light", "refs/tags/v1", "pull/7/head", "refs/pull/7/head", "FIRST", "SHORT"]
)
def test_references(place, remote, server, reference):
    reference = {"FIRST": remote.first, "SHORT": remote.first[:7]}.get(reference, reference)
    kept, _ = place.repositories.get(f"{server.url}/app.git", reference)
    assert kept.facts["commit"] == remote.first and (tree(kept) / "a").read_text() == "1\n"


def test_a_branch_comes_before_a_tag(place, remote, server):
    url = f"{server.url}/app.git"
    assert place.repositories.get(url, "both")[0].facts["commit"] == remote.first
    assert place.repositories.get(url, "refs/tags/both")[0].facts["commit"] == remote.second


@pytest.mark.parametrize("reference", ["nothing", "refs/heads/v1", "abcdef1", "0" * 40])
def test_references_that_are_not_there(place, server, reference):
    with pytest.raises(CaisError, match=r"does not contain ref|not our ref|failed to fetch remote"):
        place.repositories.get(f"{server.url}/app.git", reference)
    assert [item.kind for item in place.store.all()] in ([], ["repository"])


def test_a_commit_that_is_there_needs_no_network(place, remote, server):
    url = f"{server.url}/app.git"
    first, _ = place.repositories.get(url, remote.first)
    count = len(server.seen)
    again, known = place.repositories.get(url, remote.first)
    assert known and again.id == first.id and len(server.seen) == count
    place.repositories.get(url, remote.first, "sub")
    assert len(server.seen) == count, "another part of it does not, either"


def test_a_branch_with_its_checksum_needs_no_network_the_second_time(place, remote, server):
    url = f"{server.url}/app.git"
    place.repositories.get(url, "main", checksum=remote.second)
    count = len(server.seen)
    assert place.repositories.get(url, "main", checksum=remote.second)[1] and len(server.seen) == count
    with pytest.raises(Corrupt, match=f"expected checksum to match {remote.first}, got {remote.second}"):
        place.repositories.get(url, "main", checksum=remote.first)
    assert place.repositories.get(url, "main", checksum=remote.second[:12])[1]


def test_a_new_commit_is_fetched_without_its_history(place, remote, server):
    url = f"{server.url}/app.git"
    place.repositories.get(url)
    count = len(server.seen)
    assert place.repositories.get(url)[1], "the branch is asked for, and nothing fetched"
    assert all("upload-pack" in line for line in asked(server)[count:]) and len(server.seen) - count <= 2
    third = remote.repository.commit({"new": "n\n"})
    kept, known = place.repositories.get(url)
    assert not known and kept.facts["commit"] == third and "new" in names(kept)
    repository = next(item for item in place.store.all() if item.kind == "repository")
    count = subprocess.run(
        ["git", "--git-dir", repository.path, "rev-list", "--count", third], capture_output=True, text=True, check=True
    )
    assert count.stdout.strip() == "1"


def test_a_part_of_it(place, server):
    kept, _ = place.repositories.get(f"{server.url}/app.git", "", "sub")
    assert names(kept) == ["b", "deep/c"]
    with pytest.raises(NotFound, match="failed to find 'none'"):
        place.repositories.get(f"{server.url}/app.git", "", "none")
    for path in ("a", "link"):
        with pytest.raises(Invalid, match="is not a directory"):
            place.repositories.get(f"{server.url}/app.git", "", path)


def test_with_its_git_directory(place, remote, server):
    url = f"{server.url}/app.git"
    kept, _ = place.repositories.get(url.replace("//", "//me:secret@"), keep_git_directory=True)
    root = tree(kept)

    def git(*words):
        return subprocess.run(
            ["git", "-c", "safe.directory=*", *words], cwd=root, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert git("rev-parse", "HEAD") == remote.second and git("status", "--porcelain") == ""
    assert git("config", "remote.origin.url") == url
    assert "secret" not in (root / ".git/config").read_text()
    assert not (root / ".git/hooks").exists()
    plain, _ = place.repositories.get(url)
    assert not (tree(plain) / ".git").exists()


def test_an_empty_commit(place, remote, server):
    empty = Repository(remote.served / "empty")
    commit = empty.commit()
    kept, _ = place.repositories.get(f"{server.url}/empty.git")
    assert kept.facts["commit"] == commit and names(kept) == []


def test_a_repository_without_a_commit(place, remote, server):
    Repository(remote.served / "bare")
    with pytest.raises(NotFound, match="has no default branch"):
        place.repositories.get(f"{server.url}/bare.git")


def test_submodules(place, remote, server):
    lower = Repository(remote.served / "lower")
    lower.commit({"z": "z\n"})
    module = Repository(remote.served / "module")
    module.commit({"m": "m\n"})
    module.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", f"{server.url}/lower.git", "lower")
    module.git("config", "-f", ".gitmodules", "submodule.lower.url", "../lower.git")
    module.commit()
    remote.repository.git("submodule", "add", "--quiet", f"{server.url}/module.git", "sub/module")
    remote.repository.commit()
    url = f"{server.url}/app.git"
    kept, _ = place.repositories.get(url)
    assert (tree(kept) / "sub/module/m").read_text() == "m\n"
    assert (tree(kept) / "sub/module/lower/z").read_text() == "z\n"
    assert not list(tree(kept).rglob(".git"))
    assert os.lstat(tree(kept) / "sub/module/m").st_mtime == TIME + remote.repository.commits
    assert "module/m" in names(place.repositories.get(url, "", "sub")[0])
    without, _ = place.repositories.get(url, submodules=False)
    assert list((tree(without) / "sub/module").iterdir()) == []


@pytest.mark.parametrize("address", ["file:///etc", "ext::sh -c touch% /tmp/x", "/etc", "ssh://-oProxyCommand=x/y"])
def test_submodules_from_where_nothing_is_fetched(place, remote, server, address):
    commit = remote.first
    remote.repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},bad")
    (remote.repository.path / ".gitmodules").write_text(f'[submodule "bad"]\n\tpath = bad\n\turl = {address}\n')
    (remote.repository.path / "bad").mkdir()
    remote.repository.git("add", ".gitmodules")
    remote.repository.git("commit", "--quiet", "-m", "x")
    with pytest.raises(Denied, match="is none that is fetched"):
        place.repositories.get(f"{server.url}/app.git")


def test_what_a_repository_says_of_itself_is_not_run(place, remote, server, tmp_path):
    """Filters, hooks and monitors that its files ask for need a configuration, and there is none."""
    mark = tmp_path / "ran"
    remote.repository.commit({".gitattributes": "* filter=evil\n", ".gitconfig": f"[core]\nfsmonitor = touch {mark}\n"})
    kept, _ = place.repositories.get(f"{server.url}/app.git")
    assert "a" in names(kept) and not mark.exists()


def test_this_users_configuration_does_not_count(place, remote, server, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f'[url "file:///nowhere/"]\n\tinsteadOf = {server.url}/\n[core]\n\tautocrlf = true\n'
    )
    monkeypatch.setenv("HOME", str(home))
    kept, _ = place.repositories.get(f"{server.url}/app.git")
    assert (tree(kept) / "a").read_bytes() == b"2\n"


def test_a_repository_that_moved(place, remote):
    def before(request):
        if request.path.startswith("/old.git"):
            request.reply(status=301, Location=request.path.replace("/old.git", "/app.git"))
            return True
        return False

    with served(remote.served, before) as server:
        assert place.repositories.get(f"{server.url}/old.git")[0].facts["commit"] == remote.second


def test_credentials_are_given_to_the_server_and_shown_nowhere(place, remote, tmp_path):
    import base64

    token = base64.b64encode(b"me:geheim").decode()

    def before(request):
        if request.headers.get("Authorization") == f"Basic {token}":
            return False
        request.reply(status=401, WWW_Authenticate="Basic")
        return True

    with served(remote.served, before) as server:
        with pytest.raises(CaisError, match="failed to fetch remote") as caught:
            place.repositories.get(f"{server.url}/app.git")
        assert "Cais asks for no password" in caught.value.hint
        url = server.url.replace("//", "//me:geheim@")
        assert place.repositories.get(f"{url}/app.git")[0].facts["commit"] == remote.second
        with pytest.raises(CaisError, match="xxxxx:xxxxx@") as caught:
            place.repositories.get(f"{url}/none.git")
        assert "geheim" not in str(caught.value) + caught.value.hint
    for path in tmp_path.rglob("*"):
        if path.is_file() and "served" not in path.parts:
            assert b"geheim" not in path.read_bytes(), path


def test_by_gits_own_protocol(place, remote, tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "-c", "safe.directory=*", "daemon", "--reuseaddr", "--listen=127.0.0.1", f"--port={port}",
         "--export-all", "--verbose", f"--base-path={remote.served}", str(remote.served)],
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert daemon.stderr is not None and b"Ready" in daemon.stderr.readline()
        kept, _ = place.repositories.get(f"git://127.0.0.1:{port}/app")
        assert kept.facts["commit"] == remote.second
    finally:
        os.killpg(daemon.pid, 9)
        daemon.wait()
        daemon.stderr.close()
