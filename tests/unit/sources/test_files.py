"""Files by URL: fetched once, asked for again as little as possible, kept whole or not at all."""

# ruff: noqa: SIM117 - a server and what is expected of it are two things

from __future__ import annotations

import hashlib
import os
import stat
import threading
from pathlib import Path

import pytest

from cais.errors import CaisError, Corrupt, NotFound
from cais.sources.files import Files, file_of
from http_server import files, serving

SHA256 = hashlib.sha256(b"hello").hexdigest()


def test_a_file_with_its_name_mode_and_time(place):
    with serving(files({"/a/b.txt": b"hello"})) as server:
        kept, known = place.files.get(f"{server.url}/a/b.txt?x=1")
    assert not known and kept.kind == "file"
    path = file_of(kept)
    assert os.path.basename(path) == "b.txt" and Path(path).read_bytes() == b"hello"
    status = os.stat(path)
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_mtime == 784111777
    assert os.listdir(os.path.dirname(path)) == ["b.txt"]


def test_a_server_that_is_not_there_is_said_without_the_library_s_words(place):
    with serving(files({})) as server:
        url = f"{server.url}/x"
    with pytest.raises(CaisError) as error:
        place.files.get(url)
    assert error.value.message.startswith(f"failed to load {url}: Failed to establish a new connection")


def test_without_a_time_it_is_of_1970(place):
    with serving(lambda request: request.reply(b"x", Last_Modified="yesterday")) as server:
        assert os.stat(file_of(place.files.get(f"{server.url}/x")[0])).st_mtime == 0


def test_what_did_not_change_is_not_sent_again(place):
    contents = {"/x": b"hello"}
    with serving(files(contents)) as server:
        first, _ = place.files.get(f"{server.url}/x")
        again, known = place.files.get(f"{server.url}/x")
        assert known and again.id == first.id
        assert server.seen[1].headers["If-None-Match"]
        contents["/x"] = b"other"
        changed, known = place.files.get(f"{server.url}/x")
        assert not known and Path(file_of(changed)).read_bytes() == b"other"
    assert os.path.exists(file_of(first)), "it is held as long as this process works with it"


def test_by_time_where_there_is_no_etag(place):
    date = "Sun, 06 Nov 1994 08:49:37 GMT"

    def answer(request):
        if request.headers.get("If-Modified-Since") == date:
            request.reply(status=304)
        else:
            request.reply(b"x", Last_Modified=date)

    with serving(answer) as server:
        assert [place.files.get(f"{server.url}/x")[1] for _ in range(2)] == [False, True]


def test_a_known_checksum_needs_no_request(place):
    with serving(files({"/x": b"hello"})) as server:
        url = f"{server.url}/x"
        place.files.get(url, f"sha256:{SHA256}")
        assert place.files.get(url, f"sha256:{SHA256}")[1]
        assert place.files.get(url, f"sha512:{hashlib.sha512(b'hello').hexdigest()}")[1]
        assert len(server.seen) == 1
        place.files.get(url, f"sha256:{SHA256}", again=True)
        assert len(server.seen) == 2 and "If-None-Match" not in server.seen[1].headers


def test_a_wrong_checksum_keeps_nothing(place):
    with serving(files({"/x": b"hello"})) as server:
        with pytest.raises(Corrupt, match=f"digest mismatch sha256:{SHA256}: sha256:{'0' * 64}"):
            place.files.get(f"{server.url}/x", f"sha256:{'0' * 64}")
        assert not server.seen[0].headers.get("If-None-Match")
    assert place.store.all() == [] and os.listdir(f"{place.store.directory}/ingest") == []


def test_a_failure_keeps_what_was(place):
    contents = {"/x": b"hello"}
    with serving(files(contents)) as server:
        kept, _ = place.files.get(f"{server.url}/x")
        del contents["/x"]
        with pytest.raises(NotFound, match="invalid response status 404"):
            place.files.get(f"{server.url}/x")
    assert [item.id for item in place.store.all()] == [kept.id]


def test_the_name_that_the_server_says(place):
    with serving(lambda request: request.reply(b"x", Content_Disposition='a; filename="n.txt"')) as server:
        assert place.files.get(f"{server.url}/")[0].facts["name"] == "n.txt"
        assert place.files.get(f"{server.url}/own")[0].facts["name"] == "own"


def test_credentials_go_to_their_host_and_nowhere_else(place, tmp_path):
    with serving(files({"/y": b"y"}), host="127.0.0.2") as other:
        with serving(lambda request: request.reply(status=302, Location=f"{other.url}/y")) as server:
            place.files.get(f"http://user:geheim@{server.url[7:]}/x")
            assert server.seen[0].headers["Authorization"].startswith("Basic ")
            assert other.seen[0].headers["Authorization"] is None
    assert all("geheim" not in str(item) for item in place.store.all())
    for directory, _, names in os.walk(tmp_path):
        for name in names:
            assert b"geheim" not in Path(os.path.join(directory, name)).read_bytes(), name


def test_several_at_once_fetch_once(place):
    with serving(files({"/x": b"hello"})) as server:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(place.another().files.get(f"{server.url}/x")))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({kept.id for kept, _ in found}) == 1 and [known for _, known in found].count(False) == 1


def test_what_is_replaced_or_forgotten_is_left_to_the_collector(place):
    contents = {"/x": b"1"}
    with serving(files(contents)) as server:
        old, _ = place.files.get(f"{server.url}/x")
        contents["/x"] = b"2"
        new, _ = place.files.get(f"{server.url}/x")
    assert place.orphans() == []
    place.leases.release()
    assert place.orphans() == [old.path]
    assert place.store.forget([new.key]) == 1 and sorted(place.orphans()) == sorted([old.path, new.path])


def test_a_proxy_is_asked_for_everything(place):
    with serving(lambda request: request.reply(request.path.encode())) as proxy:
        through = Files(place.store, {"http_proxy": proxy.url.replace("//", "//me:pw@")})
        kept, _ = through.get("http://example.invalid/x")
        assert Path(file_of(kept)).read_bytes() == b"http://example.invalid/x"
        assert proxy.seen[0].headers["Proxy-Authorization"]


def test_nobody_answers(place):
    with pytest.raises(CaisError, match=r"failed to load http://xxxxx:xxxxx@127\.0\.0\.1:1/x: ") as caught:
        place.files.get("http://a:b@127.0.0.1:1/x")
    assert caught.value.kind == "unavailable" and "0x" not in caught.value.message
