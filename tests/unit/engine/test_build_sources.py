"""What builds read from elsewhere: ADD, contexts, named contexts; from real servers and directories."""

# ruff: noqa: SIM117 - a server and what is expected of it are two things

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from cais.engine.check import check
from cais.engine.collect import collect
from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unavailable
from git_server import Repository, served
from http_server import files, serving

pytestmark = pytest.mark.root
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def tar(contents: dict[str, str], links: dict[str, str] | None = None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, text in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return data.getvalue()


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    repository = Repository(tmp_path / "served" / "app")
    repository.commit(
        {
            "Dockerfile": "FROM scratch\nCOPY x /\n",
            "x": "1",
            ".dockerignore": "x\n",
            "sub/Dockerfile": "FROM scratch\nCOPY y /\n",
            "sub/y": "2",
        }
    )
    return repository


@pytest.fixture
def git(repository):
    with served(repository.path.parent) as server:
        yield server


class TestAdd:
    def test_files(self, work):
        with serving(files({"/a.txt": b"A", "/b": b"B"})) as server:
            text = f"FROM scratch\nADD {server.url}/a.txt {server.url}/b /d/\nADD {server.url}/b /c\n"
            assert work.files(text) == {"d/a.txt": "A", "d/b": "B", "c": "B"}

    def test_local_and_other_sources_are_one_layer(self, work):
        work.write({"l1": "1", "l2": "2"})
        with serving(files({"/u": b"U"})) as server:
            text = f"FROM scratch\nADD l1 {server.url}/u l2 <<E /d/\nin\nE\n"
            assert work.files(text) == {"d/l1": "1", "d/u": "U", "d/l2": "2", "d/E": "in\n"}
        assert work.count("snapshots") == 1

    def test_an_archive_is_unpacked_only_where_that_is_said(self, work):
        with serving(files({"/a.tgz": gzip.compress(tar({"x": "1"}))})) as server:
            assert list(work.files(f"FROM scratch\nADD {server.url}/a.tgz /\n")) == ["a.tgz"]
            assert work.files(f"FROM scratch\nADD --unpack=true {server.url}/a.tgz /\n") == {"x": "1"}

    def test_only_a_changed_file_is_a_reason(self, work):
        contents = {"/a": b"1"}
        with serving(files(contents)) as server:
            text = f"FROM scratch\nADD {server.url}/a /a\n"
            work.build(text)
            work.build(text)
            assert [name.partition(" ")[0] for name in work.cached] == ["", "ADD"] or work.ran == []
            contents["/a"] = b"2"
            work.build(text)
            reason = work.reasons[f"ADD {server.url}/a /a"]
            assert reason.startswith("the file") and "a" in reason

    def test_modes_and_owners(self, work):
        out = work.directory / "o.tar"
        with serving(files({"/a": b"1"})) as server:
            work.build(
                f"FROM scratch\nADD {server.url}/a /a\nADD --chmod=755 --chown=5:6 {server.url}/a /b\n",
                outputs=[f"type=tar,dest={out}"],
            )
        with tarfile.open(out) as archive:
            found = {item.name: (item.mode, item.uid, item.gid, item.mtime) for item in archive}
        assert found == {"a": (0o600, 0, 0, 784111777), "b": (0o755, 5, 6, 784111777)}

    def test_a_checksum(self, work):
        digest = hashlib.sha256(b"A").hexdigest()
        with serving(files({"/a": b"A"})) as server:
            text = f"ARG C\nFROM scratch\nARG C\nADD --checksum=$C {server.url}/a /a\n"
            assert work.files(text, build_args={"C": f"sha256:{digest}"}) == {"a": "A"}
            with pytest.raises(Corrupt, match="digest mismatch") as caught:
                work.build(text, build_args={"C": f"sha256:{'0' * 64}"})
            assert "4 | >>>" in caught.value.lines

    def test_what_is_not_needed_is_not_fetched(self, work):
        with serving(files({})) as server:
            text = f"FROM scratch AS no\nADD {server.url}/x /\nFROM scratch\nCOPY <<E /e\nE\n"
            assert work.files(text) == {"e": ""} and server.seen == []

    def test_a_missing_file_stops_the_build_and_says_where(self, work):
        with serving(files({})) as server:
            with pytest.raises(NotFound, match="invalid response status 404") as caught:
                work.build(f"FROM scratch\nADD {server.url}/x /\n")
        assert caught.value.span == (2, 2)

    def test_without_a_name(self, work):
        with serving(lambda request: request.reply(b"x")) as server:
            assert work.files(f"FROM scratch\nADD {server.url}/ /a\n") == {"a": "x"}
            assert work.files(f"FROM scratch\nADD {server.url}/ /d/\n") == {"d/__unnamed__": "x"}, "as BuildKit"

    def test_credentials_are_nowhere(self, work):
        with serving(files({"/a": b"A"})) as server:
            url = server.url.replace("//", "//me:geheim@")
            result = work.build(f"FROM scratch\nADD {url}/a /a\n", tags=["app"])
            with pytest.raises(CaisError) as caught:
                work.build(f"FROM scratch\nADD {url}/none /a\n")
        told = caught.value.message + caught.value.hint + caught.value.lines + repr(work.events)
        history = work.engine.images.history(result.image_id)
        assert "geheim" not in told + repr(history) and "xxxxx:xxxxx@" in repr(history)
        for path in Path(work.stores.root).rglob("*"):
            if path.is_file():
                assert b"geheim" not in path.read_bytes(), path

    def test_no_cache_fetches_again(self, work):
        with serving(files({"/a": b"A"})) as server:
            for no_cache in (False, True):
                work.build(f"FROM scratch\nADD {server.url}/a /a\n", no_cache=no_cache)
            assert [request.headers["If-None-Match"] for request in server.seen] == [None, None]

    def test_repositories(self, work, git, repository):
        text = f"FROM scratch\nADD {git.url}/app.git /all/\nADD {git.url}/app.git#:sub /sub\n"
        found = work.files(text)
        assert {"all/x", "all/.dockerignore", "all/sub/y", "sub/y", "sub/Dockerfile"} == set(found) - {
            "all/Dockerfile",
            "all/sub/Dockerfile",
        }
        assert "all/.git/HEAD" in work.files(f"FROM scratch\nADD --keep-git-dir=true {git.url}/app.git /all\n")
        commit = repository.git("rev-parse", "HEAD")
        assert work.files(f"FROM scratch\nADD --checksum={commit} {git.url}/app.git#main:sub /\n")["y"] == "2"
        with pytest.raises(Corrupt, match="expected checksum to match"):
            work.build(f"FROM scratch\nADD --checksum={'0' * 40} {git.url}/app.git#main /\n")

    def test_the_collector_and_prune(self, work):
        with serving(files({"/a": b"A"})) as server:
            work.build(f"FROM scratch\nADD {server.url}/a /a\n")
            collect(work.stores)
            work.build(f"FROM scratch\nADD {server.url}/a /a\n")
            assert server.seen[1].headers["If-None-Match"]
        assert work.engine.builder.prune().reclaimed_bytes > 0
        directory = Path(work.stores.root, "sources")
        assert {path.name for path in directory.iterdir()} == {"ingest", "locks"} and work.count("sources") == 0


class TestContext:
    def test_a_repository(self, work, git):
        assert work.files(context=f"{git.url}/app.git") == {"x": "1"}, "its ignore file does not count"
        assert work.files(context=f"{git.url}/app.git#main:sub") == {"y": "2"}
        assert work.files(context=f"{git.url}/app.git?branch=main&subdir=sub") == {"y": "2"}
        assert work.files(context=f"{git.url}/app.git", dockerfile="sub/../Dockerfile") == {"x": "1"}
        stdin = io.BytesIO(b"FROM scratch\nCOPY sub/y /in\n")
        assert work.files(context=f"{git.url}/app.git", dockerfile="-", stdin=stdin) == {"in": "2"}

    def test_what_is_not_in_it(self, work, git):
        for context, text in (
            ("app.git#none", "does not contain ref none"),
            ("app.git#:none", "failed to find 'none'"),
        ):
            with pytest.raises(NotFound, match=text):
                work.build(context=f"{git.url}/{context}")
        with pytest.raises(NotFound, match="open none: no such file"):
            work.build(context=f"{git.url}/app.git", dockerfile="none")

    def test_a_dockerfile_that_leads_out(self, work, git, repository):
        secret = work.directory / "secret"
        secret.write_text("FROM scratch\nCOPY x /stolen\n")
        (repository.path / "Dockerfile").unlink()
        os.symlink(secret, repository.path / "Dockerfile")
        repository.commit()
        with pytest.raises(NotFound, match="open Dockerfile: no such file"):
            work.build(context=f"{git.url}/app.git")

    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_an_archive(self, work, compress):
        archive = compress(tar({"Dockerfile": "FROM scratch\nCOPY . /\n", "x": "1", ".dockerignore": "x"}))
        with serving(files({"/c": archive})) as server:
            for _ in range(2):
                assert work.files(context=f"{server.url}/c")["x"] == "1"
            assert work.files(context=f"{server.url}/c", dockerfile="./Dockerfile")["x"] == "1"
        assert work.count("sources") == 2, "the archive, and what is in it"

    def test_a_lone_dockerfile(self, work):
        text = b"FROM scratch\nCOPY . /\n"
        with serving(files({"/Dockerfile": text})) as server:
            # The one file of this context is called so by BuildKit.
            assert work.files(context=f"{server.url}/Dockerfile") == {"context": text.decode()}
            work.write({"x": "1"})
            with serving(files({"/d": b"FROM scratch\nCOPY x /\n"})) as other:
                assert work.files(dockerfile=f"{other.url}/d") == {"x": "1"}

    def test_a_hostile_archive(self, work):
        for contents, links in (({"../x": "1"}, {}), ({"Dockerfile": "FROM scratch\n"}, {"Dockerfile": "/etc/passwd"})):
            with serving(files({"/c": tar(contents, links)})) as server, pytest.raises(CaisError):
                work.build(context=f"{server.url}/c")

    def test_that_it_is_fetched_is_shown(self, work, git):
        work.build(context=git.url.replace("//", "//me:geheim@") + "/app.git")
        assert next(event["name"] for event in work.events if event["event"] == "start").startswith(
            "[internal] load git source http://xxxxx:xxxxx@127.0.0.1"
        )
        assert all("geheim" not in row.name for row in work.engine.builder.list())


class TestNamedContexts:
    def test_a_directory_with_its_own_ignore_file(self, work, tmp_path):
        other = tmp_path / "other"
        other.mkdir()
        for name in ("a", "b"):
            (other / name).write_text(name)
        (other / ".dockerignore").write_text("b\n.*\n")
        text = "FROM scratch\nCOPY --from=other . /o/\nCOPY --from=other a /\n"
        assert work.files(text, contexts={"other": str(other)}) == {"o/a": "a", "a": "a"}
        assert work.files("FROM other\nCOPY <<E /e\nE\n", contexts={"other": str(other)}) == {"a": "a", "e": ""}

    def test_it_replaces_a_stage(self, work, tmp_path):
        (tmp_path / "f").write_text("given")
        text = "FROM scratch AS maker\nCOPY none /f\nFROM scratch\nCOPY --from=maker f /\n"
        (tmp_path / "c").mkdir()
        shutil.copy(tmp_path / "f", tmp_path / "c" / "f")
        assert work.files(text, contexts={"maker": str(tmp_path / "c")}) == {"f": "given"}

    @pytest.mark.parametrize("name", ["alpine", "alpine:latest", "docker.io/library/alpine"])
    @pytest.mark.parametrize("written", ["alpine", "docker.io/library/alpine:latest"])
    def test_it_replaces_an_image_however_that_is_written(self, work, name, written):
        work.build("FROM scratch\nCOPY <<E /base\nE\n", tags=["mine"])
        assert work.files(f"FROM {written}\n", contexts={name: "docker-image://mine"}) == {"base": ""}
        assert work.files(
            f"FROM scratch\nCOPY --from={written} /base /x\n", contexts={name: "docker-image://mine"}
        ) == {"x": ""}

    def test_for_one_platform(self, work, tmp_path):
        for name in ("amd64", "arm64"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "f").write_text(name)
        contexts = {f"c::linux/{name}": str(tmp_path / name) for name in ("amd64", "arm64")}
        for name in ("amd64", "arm64"):
            assert work.files("FROM c\n", contexts=contexts, platform=f"linux/{name}") == {"f": name}

    def layout(self, work, tmp_path) -> Path:
        archive = tmp_path / "layout.tar"
        work.build(
            "FROM scratch\nCOPY <<E /inside\nE\nENV of=layout\n", outputs=[f"type=oci,dest={archive}"], tags=["l:v1"]
        )
        directory = tmp_path / "layout"
        with tarfile.open(archive) as opened:
            opened.extractall(directory, filter="data")
        work.engine.builder.prune()
        return directory

    def test_an_image_layout(self, work, tmp_path):
        directory = self.layout(work, tmp_path)
        index = json.loads((directory / "index.json").read_text())
        item = index["manifests"][0]
        item["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
        (directory / "index.json").write_text(json.dumps(index))
        for value in (
            f"{directory}:v1",
            f"{directory}",
            f"{directory}@{item['digest']}",
            f"{directory}:v1@{item['digest']}",
        ):
            contexts = {"base": f"oci-layout://{value}"}
            assert work.files("FROM base\nCOPY <<E /$of\nE\n", contexts=contexts) == {"inside": "", "layout": ""}
        assert work.files("FROM scratch\nCOPY --from=base /inside /x\n", contexts=contexts) == {"x": ""}
        result = work.build("FROM base\nCOPY <<E /e\nE\n", contexts=contexts, tags=["app"])
        assert result.image_id
        collect(work.stores)
        assert work.files("FROM app\n") == {"inside": "", "e": ""}
        assert work.count("images") == 1, "the layout's image itself is none of ours"
        with pytest.raises(NotFound, match="'v2' is not in"):
            work.build("FROM base\n", contexts={"base": f"oci-layout://{directory}:v2"})

    def test_a_damaged_image_layout(self, work, tmp_path):
        directory = self.layout(work, tmp_path)
        for path in (directory / "blobs/sha256").iterdir():
            path.chmod(0o600)
            with open(path, "r+b") as file:
                file.seek(10)
                file.write(b"X")
        with pytest.raises(CaisError):
            work.build("FROM base\n", contexts={"base": f"oci-layout://{directory}"})
        assert work.count("images") == 0

    def test_a_repository_and_an_archive(self, work, git):
        with serving(files({"/a.tar": tar({"t": "T"}), "/f": b"F"})) as server:
            contexts = {"g": f"{git.url}/app.git#:sub", "t": f"{server.url}/a.tar", "f": f"{server.url}/f"}
            text = "FROM scratch\nCOPY --from=g y /\nCOPY --from=t t /\nCOPY --from=f f /\n"
            assert work.files(text, contexts=contexts) == {"y": "2", "t": "T", "f": "F"}

    @pytest.mark.parametrize(
        ("name", "value", "kind", "text"),
        [
            ("x", "/no/such", NotFound, "failed to get build context x: stat /no/such: no such file or directory"),
            ("x", "/etc/passwd", Invalid, "failed to get build context path /etc/passwd: not a directory"),
            ("x", "docker-image://UP", Invalid, "must be lowercase"),
            ("x", "docker-image://127.0.0.1:1/none", Unavailable, "connection refused"),
            ("x", "oci-layout:///no/such", NotFound, "failed to get build context x: stat /no/such"),
            ("x", "oci-layout:///etc", Invalid, "is no OCI image layout"),
            ("x", "what://ever", Invalid, "unsupported context source what for x"),
            ("Foo Bar", ".", Invalid, "invalid context name Foo Bar"),
        ],
    )
    def test_what_is_wrong(self, work, name, value, kind, text):
        with pytest.raises(kind, match=text):
            work.build("FROM x\n", contexts={name: value})


def test_a_failure_stops_what_else_is_fetched(work):
    """The other server would never end."""

    def answer(request):
        if request.path == "/fails":
            begun.wait(30)
            request.reply(b"", 404)
            return
        request.send_response(200)
        request.end_headers()
        begun.set()
        server.stopped.wait(60)

    begun = threading.Event()
    with serving(answer) as server:
        with pytest.raises(NotFound, match="/fails: invalid response status 404"):
            work.build(f"FROM scratch\nADD {server.url}/endless /\nADD {server.url}/fails /\n")


def test_an_interrupt_stops_it(work):
    """As Ctrl-C: of a process whose download never ends."""
    begun = threading.Event()

    def answer(request):
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"x")
        request.wfile.flush()
        begun.set()
        server.stopped.wait(60)

    with serving(answer) as server:
        work.write({"Dockerfile": f"FROM scratch\nADD {server.url}/a {server.url}/b /d/\n"})
        process = subprocess.Popen(
            [sys.executable, "-m", "cais", "build", str(work.context)],
            env={**os.environ, "CAIS_ROOT": str(work.directory / "other")}, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert begun.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said


def test_a_killed_download_leaves_nothing_that_counts(work):
    begun = threading.Event()

    def answer(request):
        if request.path == "/whole":
            request.reply(b"whole")
            return
        request.reply(b"x" * 100, Content_Length="1000")
        begun.set()
        server.stopped.wait(60)

    with serving(answer) as server:
        root = work.directory / "other"
        for name, path in (("a", "part"), ("b", "whole")):
            work.write({name: f"FROM scratch\nADD {server.url}/{path} /x\n"})
        environment = {**os.environ, "CAIS_ROOT": str(root)}
        command = [sys.executable, "-m", "cais", "build", "-f", str(work.context / "a"), str(work.context)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        assert begun.wait(30)
        process.kill()
        process.communicate()
        assert len(list((root / "sources" / "ingest").iterdir())) == 1
        build = ["build", "-f", str(work.context / "b"), str(work.context)]
        for words in (build, ["system", "check"], ["image", "prune", "-f"]):
            subprocess.run([sys.executable, "-m", "cais", *words], env=environment, check=True, capture_output=True)
        assert list((root / "sources" / "ingest").iterdir()) == []


def test_two_builds_of_one_repository(work, git, repository):
    """Side by side, with the first commit of a branch and then the next: each gets its own, whole."""
    first = repository.git("rev-parse", "HEAD")
    repository.commit({"x": "2"})
    environment = {**os.environ, "CAIS_ROOT": str(work.directory / "other")}
    processes = []
    for number, reference in enumerate((first, "main", first[:8], "main")):
        out = work.directory / f"out{number}"
        words = ["-m", "cais", "build", "-o", f"type=local,dest={out}", f"{git.url}/app.git#{reference}"]
        process = subprocess.Popen([sys.executable, *words], env=environment, stderr=subprocess.PIPE)
        processes.append((out, process))
    found = []
    for out, process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
        found.append((out / "x").read_text())
    assert found == ["1", "2", "1", "2"]


class TestFlagsOfAdd:
    """What ADD has for local files it has for others."""

    def test_link(self, work):
        with serving(files({"/a": b"A"})) as server:
            text = f"FROM scratch\nADD --link {server.url}/a /d/\nADD --link {server.url}/a <<E /e/\nE\n"
            assert work.files(text) == {"d/a": "A", "e/a": "A", "e/E": ""}

    def test_exclude(self, work, git):
        found = work.files(f"FROM scratch\nADD --exclude=sub --exclude=Dockerfile {git.url}/app.git /\n")
        assert set(found) == {"x", ".dockerignore"}

    def test_variables(self, work):
        with serving(files({"/v1/a": b"A"})) as server:
            text = f"FROM scratch\nARG V\nADD {server.url}/v$V/a /\n"
            assert work.files(text, build_args={"V": "1"}) == {"a": "A"}

    def test_plan(self, work):
        contents = {"/a": b"1"}
        with serving(files(contents)) as server:
            text = f"FROM scratch\nADD {server.url}/a /\n"
            states = []
            for data in (b"1", b"1", b"2"):
                contents["/a"] = data
                states.append(work.plan(text)[-1].state)
                if data == b"1":
                    work.build(text)
            assert states == ["miss", "hit", "miss"]


def test_a_check_of_what_is_kept(work):
    with serving(files({"/a": b"A"})) as server:
        text = f"FROM scratch\nADD {server.url}/a /\n"
        work.build(text)
        assert check(work.stores) == []
        next(Path(work.stores.root, "sources").glob("*/tree/a")).write_bytes(b"B")
        (found,) = check(work.stores)
        assert (found.subject, found.problem) == (f"the file of {server.url}/a", "has another content than was fetched")
        (found,) = check(work.stores, repair=True)
        assert found.mended == "forgotten" and check(work.stores) == []
        assert work.files(text) == {"a": "A"} and "If-None-Match" not in server.seen[-1].headers


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("GIT_AUTH_TOKEN", "Basic " + base64.b64encode(b"x-access-token:geheim").decode()),
        ("GIT_AUTH_TOKEN.127.0.0.1", "Basic " + base64.b64encode(b"x-access-token:geheim").decode()),
        ("GIT_AUTH_HEADER", "geheim"),
        ("GIT_AUTH_TOKEN.example.org", ""),
    ],
)
def test_a_private_repository(work, repository, secret, said):
    def before(request):
        if said and request.headers.get("Authorization") == said:
            return False
        request.reply(status=401, WWW_Authenticate="Basic")
        return True

    with served(repository.path.parent, before) as server:
        environment = {secret: "geheim\n", "PATH": os.environ["PATH"]}
        options = {"context": f"{server.url}/app.git", "secrets": [f"id={secret}"], "environment": environment}
        if said:
            assert work.files(**options) == {"x": "1"}
        else:
            with pytest.raises(CaisError, match="failed to fetch remote"):
                work.build(**options)
    for path in Path(work.stores.root).rglob("*"):
        assert not path.is_file() or b"geheim" not in path.read_bytes(), path


def test_plain_progress_names_the_context(work, git):
    environment = {**os.environ, "CAIS_ROOT": str(work.directory / "other")}
    command = [sys.executable, "-m", "cais", "build", "--progress=plain", f"{git.url}/app.git"]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stderr
    assert f"#0 [internal] load git source {git.url}/app.git\n#0 DONE " in said


@pytest.mark.parametrize(("asked", "given"), [
    ("https://example.org/sub.git", True),
    ("http://example.org/sub.git", False),
    ("https://elsewhere.org/sub.git", False),
    ("http://[/sub.git", False),
])  # fmt: skip
def test_a_token_is_told_to_nobody_else_and_not_in_the_clear(tmp_path, asked, given):
    """As a hostile repository's submodules would have it."""
    from cais.engine.build_options import BuildOptions
    from cais.engine.build_sources import Sources

    options = BuildOptions(".", secrets=("id=GIT_AUTH_TOKEN",), environment={"GIT_AUTH_TOKEN": "geheim"})
    told = Sources(None, options)._authorization(asked, "https://example.org/x.git")
    assert bool(told) == given
