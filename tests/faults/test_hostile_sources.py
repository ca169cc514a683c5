"""Servers that lie, stall, never end, and send a build where it must not go."""

# ruff: noqa: SIM117 - a server and what is expected of it are two things

from __future__ import annotations

import gzip

import pytest

from cais.errors import CaisError, Corrupt, Denied, Failed, Invalid, Unavailable
from cais.sources.http import Answer, Limits, fetch
from http_server import serving

QUICK = Limits(size_bytes=1000, connect_seconds=5, window_seconds=0.3, window_bytes=100)


def get(url: str, **options: object) -> tuple[Answer, bytes]:
    pieces: list[bytes] = []
    answer = fetch(url, pieces.append, limits=QUICK, **options)  # type: ignore[arg-type]
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
        get(server.url)


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
        get(server.url)


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
