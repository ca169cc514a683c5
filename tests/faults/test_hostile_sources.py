"""Servers that lie, stall, never end, and send a build where it must not go."""

# ruff: noqa: SIM117 - a server and what is expected of it are two things

from __future__ import annotations

import gzip
import io
import os

import pytest

from cais.errors import CaisError, Corrupt, Denied, Failed, Invalid, Unavailable
from cais.sources.http import Answer, Limits, fetch
from http_server import serving

LIMITS = Limits(size_bytes=1000, connect_seconds=60, window_seconds=60, window_bytes=100)
IMPATIENT = LIMITS._replace(window_seconds=0.3)  # only for a server that shall be found to stall


def get(url: str, *, limits: Limits = LIMITS, **options: object) -> tuple[Answer, bytes]:
    pieces: list[bytes] = []
    answer = fetch(url, pieces.append, limits=limits, **options)  # type: ignore[arg-type]
    return answer, b"".join(pieces)


@pytest.mark.parametrize(("status", "kind"), [(404, "not_found"), (403, "denied"), (401, "unauthorized"),
                                              (500, "unavailable"), (429, "unavailable"), (204, "failed"),
                                              (206, "failed"), (304, "failed")])  # fmt: skip
def test_no_success(status: int, kind: str) -> None:
    with serving(lambda request: request.reply(b"", status)) as server:
        with pytest.raises(CaisError, match=f"invalid response status {status}") as caught:
            get(server.url)
    assert caught.value.kind == kind


def test_too_large_by_its_own_word() -> None:
    with serving(lambda request: request.reply(b"", Content_Length="1001")) as server:
        with pytest.raises(Invalid, match="larger than 1000 bytes, which is the limit"):
            get(server.url)


def test_too_large_without_a_word() -> None:
    def answer(request):
        request.send_response(200)
        request.end_headers()
        try:
            while not server.stopped.is_set():
                request.wfile.write(b"x" * 500)
        except OSError:
            pass

    with serving(answer) as server, pytest.raises(Invalid, match="larger than 1000 bytes, which is the limit"):
        get(server.url)


def test_cut_off() -> None:
    with serving(lambda request: request.reply(b"1234567890", Content_Length="500")) as server:
        with pytest.raises(Corrupt, match="it was cut off after 10"):
            get(server.url)


def test_cut_off_in_chunks() -> None:
    def answer(request):
        request.reply(b"5\r\nhello\r\n", Transfer_Encoding="chunked", Content_Length="")

    with serving(answer) as server, pytest.raises(Corrupt, match="it was cut off"):
        get(server.url)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\nbody"])
def test_never_ending(begun: bytes) -> None:
    def answer(request):
        request.wfile.write(begun)
        server.stopped.wait(60)

    with serving(answer) as server, pytest.raises(Unavailable, match=r"the server stalls|timed out"):
        get(server.url, limits=IMPATIENT)


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_byte_now_and_then(begun: bytes) -> None:
    """Each read is in time; all of them together never are."""

    def answer(request):
        request.wfile.write(begun)
        try:
            while not server.stopped.wait(0.05):
                request.wfile.write(b"x")
        except OSError:
            pass

    with serving(answer) as server, pytest.raises(Unavailable, match="the server stalls"):
        get(server.url, limits=IMPATIENT)


def test_redirects_in_a_circle() -> None:
    with serving(lambda request: request.reply(status=302, Location=request.path)) as server:
        with pytest.raises(Failed, match="redirects in a circle"):
            get(f"{server.url}/x")


def test_redirects_without_end() -> None:
    with serving(lambda request: request.reply(status=301, Location=request.path + "x")) as server:
        with pytest.raises(Failed, match="stopped after 10 redirects"):
            get(f"{server.url}/x")
        assert len(server.seen) == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://h/x", "gopher://h/x", "http://u:p@h/x"])
def test_redirects_to_what_is_no_plain_url(target: str) -> None:
    with serving(lambda request: request.reply(status=302, Location=target)) as server:
        with pytest.raises(Denied, match="it redirects to") as caught:
            get(server.url)
        assert "u:p@" not in caught.value.message


def test_redirects_from_a_public_host_to_an_inner_one() -> None:
    """Of real servers, the first of which is taken for a public one."""

    def is_inner(address: str) -> bool:
        return address != "127.0.0.2"

    with serving(lambda request: request.reply(b"metadata")) as inner:
        target = inner.url
        with serving(lambda request: request.reply(status=302, Location=f"{target}/x"), host="127.0.0.2") as public:
            with pytest.raises(Denied, match=r"redirects from a public host to 127\.0\.0\.1"):
                get(public.url, is_inner=is_inner)
            # A name says nothing; who is reached does.
            target = target.replace("127.0.0.1", "localhost")
            with pytest.raises(Denied, match="redirects from a public host to localhost"):
                get(public.url, is_inner=is_inner)
        assert inner.seen == [], "it was asked nothing"
        assert get(inner.url, is_inner=is_inner)[1] == b"metadata", "what the user wrote is his to say"


def test_an_inner_host_that_a_name_leads_to(monkeypatch) -> None:
    """The name looks public; its address is not, which is seen when it is connected."""
    import socket

    real = socket.getaddrinfo

    def lead_inside(host, *rest, **more):
        return real("127.0.0.1" if host == "evil.example" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lead_inside)
    with serving(lambda request: request.reply(b"metadata")) as inner:
        target = f"http://evil.example:{inner.server_address[1]}/x"
        with serving(lambda request: request.reply(status=302, Location=target), host="127.0.0.2") as public:
            with pytest.raises(Denied, match=r"redirects from a public host to evil\.example"):
                get(public.url, is_inner=lambda address: address != "127.0.0.2")
        assert inner.seen == []


def test_what_the_server_stores_is_not_decoded() -> None:
    body = gzip.compress(b"plain")
    with serving(lambda request: request.reply(body, Content_Encoding="gzip")) as server:
        assert get(server.url)[1] == body
        assert server.seen[0].headers["Accept-Encoding"] == "identity"


def test_no_http_at_all() -> None:
    def answer(request):
        request.wfile.write(b"SSH-2.0-OpenSSH_9\r\n\x1b[2J")

    with serving(answer) as server, pytest.raises(CaisError, match="failed to load") as caught:
        get(server.url)
    assert "\x1b" not in caught.value.message


# Repositories.


@pytest.fixture
def repositories(tmp_path):
    from cais.host.database import Database
    from cais.host.leases import SCHEMA as LEASES
    from cais.host.leases import Leases
    from cais.sources.command import Git, GitLimits
    from cais.sources.git import Repositories
    from cais.sources.store import SCHEMA, SourceStore

    root = str(tmp_path)
    database = Database(f"{root}/cais.db", 2, lambda: {"leases": LEASES, "sources": SCHEMA})
    leases = Leases(root, database)
    store = SourceStore(root, database, leases)
    limits = GitLimits(seconds=30, idle_seconds=1.0, size_bytes=1 << 20)
    found = Repositories(store, Git({"PATH": os.environ["PATH"]}, {}, limits))
    found.store = store
    yield found
    leases.release()
    database.close()


def test_a_git_server_that_says_nothing(repositories) -> None:
    with serving(lambda request: server.stopped.wait(60)) as server:
        with pytest.raises(Unavailable, match="nothing came for 1 seconds: it stalls"):
            repositories.get(f"{server.url}/x.git")


def test_a_repository_that_is_too_large(repositories, tmp_path) -> None:
    from git_server import Repository, served

    large = Repository(tmp_path / "served" / "large")
    large.commit({"random": os.urandom(8 << 20)})
    repositories._git._limits = repositories._git._limits._replace(idle_seconds=20)

    def dribble(request) -> bool:
        """The pack, slowly enough for a look at its size, and then no end."""
        if "git-upload-pack" not in request.path or request.command != "POST":
            return False
        wfile, request.wfile = request.wfile, io.BytesIO()
        answer(request)
        data = request.wfile.getvalue()
        is_pack = len(data) > 1 << 20
        wfile.write(data[:-1] if is_pack else data)
        wfile.flush()
        if is_pack:
            server.stopped.wait(60)
        request.wfile = wfile
        return True

    from git_server import backend

    answer = backend(tmp_path / "served")
    with served(tmp_path / "served", dribble) as server:
        with pytest.raises(Invalid, match="larger than 1048576 bytes, which is the limit"):
            repositories.get(f"{server.url}/large.git")
    assert [item.kind for item in repositories.store.all()] == ["repository"]


def test_submodules_of_a_public_repository_on_this_machine(monkeypatch) -> None:
    from cais.sources import modules

    monkeypatch.setattr(modules, "_is_inner", lambda host: host == "127.0.0.1")
    with pytest.raises(Denied, match="which is of this machine"):
        modules.check_reach("https://public.example/x.git", modules.Module("m", "0" * 40, "http://127.0.0.1/y.git"))
    modules.check_reach("http://127.0.0.1/x.git", modules.Module("m", "0" * 40, "http://127.0.0.1/y.git"))


@pytest.mark.parametrize(("url", "parent", "absolute"), [
    ("../b.git", "https://h/x/a.git", "https://h/x/b.git"),
    ("./b", "https://h/x/a.git", "https://h/x/a.git/b"),
    ("../../y/b", "https://h/x/a.git", "https://h/y/b"),
    ("../b", "git@h:x/a", "git@h:x/b"),
    ("../../b", "git@h:x/a", "git@h:b"),
])  # fmt: skip
def test_relative_submodules(url: str, parent: str, absolute: str) -> None:
    from cais.sources.modules import _absolute

    assert _absolute(url, parent) == absolute


def test_relative_submodules_above_their_host() -> None:
    from cais.sources.modules import _absolute

    with pytest.raises(Invalid, match="leads above its host"):
        _absolute("../../../../etc", "https://h/x/a.git")


@pytest.mark.parametrize("name", ["../evil", ".git/hooks/x", "a/../../b"])
def test_paths_that_lead_out(repositories, tmp_path, name) -> None:
    """A tree made by hand, as git would never make it."""
    from git_server import Repository, served

    bad = Repository(tmp_path / "served" / "bad")
    bad.commit({"f": "x"})
    blob = bad.git("rev-parse", "HEAD:f")
    entry = b"100644 " + name.encode() + b"\0" + bytes.fromhex(blob)
    (tmp_path / "tree").write_bytes(entry)
    tree = bad.git("hash-object", "--literally", "-t", "tree", "-w", str(tmp_path / "tree"))
    commit = bad.git("commit-tree", "-m", "x", tree)
    bad.git("update-ref", "refs/heads/main", commit)
    with served(tmp_path / "served") as server, pytest.raises(CaisError):
        repositories.get(f"{server.url}/bad.git")
    assert not (tmp_path / "evil").exists() and not list(tmp_path.glob("sources/*/evil"))
    assert [item.kind for item in repositories.store.all()] == ["repository"]


def tree_of(repository, *entries: tuple[str, str, str]) -> str:
    """A tree object with ``entries`` (mode, name, object) as they are: names may come twice."""
    data = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(id) for mode, name, id in entries)
    file = repository.path.parent / "tree"
    file.write_bytes(data)
    return repository.git("hash-object", "--literally", "-t", "tree", "-w", str(file))


@pytest.mark.parametrize("first", ["120000", "40000"])
def test_a_link_where_a_submodule_or_a_subdirectory_is(repositories, tmp_path, first) -> None:
    """One name twice in a tree: a link that leads out, and a directory in which something is to be written."""
    from git_server import Repository, served

    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    inner = Repository(tmp_path / "served" / "inner")
    commit = inner.commit({"planted": "x"})
    bad = Repository(tmp_path / "served" / "bad")
    (bad.path / "target").write_text(str(outside))
    link = bad.git("hash-object", "-w", "target")
    with served(tmp_path / "served") as server:
        text = f'[submodule "m"]\n\tpath = m/inner\n\turl = {server.url}/inner\n'
        (bad.path / "modules").write_text(text)
        modules = bad.git("hash-object", "-w", "modules")
        below = tree_of(bad, ("160000", "inner", commit))
        twice = sorted([("120000", "m", link), ("40000", "m", below)], key=lambda item: item[0] != first)
        tree = tree_of(bad, ("100644", ".gitmodules", modules), *twice)
        bad.git("update-ref", "refs/heads/main", bad.git("commit-tree", "-m", "x", tree))
        for subdirectory in ("", "m"):
            try:
                kept, _ = repositories.get(f"{server.url}/bad", subdirectory=subdirectory)
            except CaisError:
                continue
            root = os.path.join(kept.path, "tree")
            assert not os.path.islink(root)
    assert os.listdir(outside) == ["inner"] and os.listdir(outside / "inner") == []
