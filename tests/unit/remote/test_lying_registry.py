"""A registry that lies, stalls, breaks off and asks for what is not its business: an HTTP server of the test."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

import pytest
import zstandard

from cais.errors import CaisError, Corrupt, Denied, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from cais.remote.answers import retry_after, warnings
from cais.remote.authorization import parse_challenges
from cais.remote.credentials import Login
from cais.remote.endpoint import Endpoint, endpoint_of
from cais.remote.listing import search
from cais.remote.referrers import referrers
from cais.remote.registry import Registry
from cais.remote.transport import Limits, Transport
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from http_server import Request, Server, serving

SECRET = "hunter2-the-password"
LOGIN = Login("ada", SECRET)
BASIC = "Basic " + base64.b64encode(f"ada:{SECRET}".encode()).decode()
DATA = os.urandom(300_000)
BLOB = Descriptor(types.OCI_LAYER, Digest.of(DATA), len(DATA))
# What takes minutes in the world takes moments here.
QUICK = Limits(connect_seconds=60, read_seconds=60, first_wait_seconds=0.001)
IMPATIENT = QUICK._replace(read_seconds=0.3)  # only for a server that shall be found to stall

Answer = Callable[[Request], None]


class Waits(list[float]):
    """What a transport would have waited, in seconds."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def registry_at(
    server: Server, login: Login | None = None, waits: Waits | None = None, limits: Limits = QUICK, pushing: bool = True
) -> Registry:
    address = f"127.0.0.1:{server.server_address[1]}"
    transport = Transport(endpoint_of(address), lambda: login, limits=limits, wait=Waits() if waits is None else waits)
    return Registry(transport, "x", pushing=pushing)


def answering(answer: Answer) -> Answer:
    """``answer``, behind the question what is spoken here."""

    def answered(request: Request) -> None:
        if request.path == "/v2/":
            request.reply()
        else:
            answer(request)

    return answered


@contextlib.contextmanager
def lying(answer: Answer, **more: object) -> Iterator[tuple[Registry, Server]]:
    with serving(answering(answer)) as server:
        yield registry_at(server, **more), server  # type: ignore[arg-type]


def fetched(registry: Registry, blob: Descriptor = BLOB) -> bytes:
    return b"".join(registry.fetch(blob))


# Warnings


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ('299 - "old"', ["old"]),
        ('299 - "one", 299 - "say \\"two\\""', ["one", 'say "two"']),
        ('299 - "\x1b[31mred"', ["[31mred"]),
        ('299 - ""', []),
        ('110 anderson/1.3.37 "stale"', []),
        ("299 - old", []),
        ('299 - "never ends', []),
        ('299 - "' + "x" * 5000 + '"', ["x" * 500]),
    ],
)
def test_what_a_registry_warns_of(header: str, texts: list[str]) -> None:
    assert warnings([header]) == texts
    told: list[str] = []
    with serving(answering(manifest_answer(GOOD.raw, Warning=header))) as server:
        endpoint = endpoint_of(f"127.0.0.1:{server.server_address[1]}")
        Registry(Transport(endpoint, limits=QUICK, warned=told.append), "x").manifest("latest")
    assert told == texts


# Manifests


def manifest_answer(raw: bytes, media_type: str = types.OCI_MANIFEST, **headers: str) -> Answer:
    return lambda request: request.reply(raw, Content_Type=media_type, **headers)


GOOD = Manifest.encode(Descriptor(types.OCI_CONFIG, Digest.of(b"{}"), 2), [BLOB])


def test_a_manifest_under_another_digest() -> None:
    with lying(manifest_answer(GOOD.raw)) as (registry, _), pytest.raises(Corrupt, match="has the digest"):
        registry.manifest(Digest.of(b"other"))


def test_a_tag_whose_digest_is_a_lie() -> None:
    answer = manifest_answer(GOOD.raw, Docker_Content_Digest=Digest.of(b"other"))
    with lying(answer) as (registry, _), pytest.raises(Corrupt):
        registry.manifest("latest")


def test_a_head_for_another_digest() -> None:
    answer = manifest_answer(GOOD.raw, Docker_Content_Digest=Digest.of(b"other"))
    with lying(answer) as (registry, _), pytest.raises(Corrupt):
        registry.resolve(GOOD.digest)


@pytest.mark.parametrize("digest", ["", "sha256:xyz", "md5:00", "x" * 10_000])
def test_a_head_that_says_nothing_useful_is_no_answer(digest: str) -> None:
    with lying(manifest_answer(GOOD.raw, Docker_Content_Digest=digest)) as (registry, server):
        assert registry.resolve("latest") == GOOD.descriptor
        assert [request.command for request in server.seen] == ["HEAD", "GET"]


@pytest.mark.parametrize("said", ["", "5000000"])
def test_a_manifest_too_large(said: str) -> None:
    def answer(request: Request) -> None:
        request.send_response(200)
        if said:
            request.send_header("Content-Length", said)
        request.end_headers()
        with contextlib.suppress(OSError):
            while not request.server.stopped.is_set():
                request.wfile.write(b" " * 65536)

    with lying(answer) as (registry, _), pytest.raises(Corrupt, match="limit"):
        registry.manifest("latest")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_manifest_that_grows_when_it_is_decoded(encoding: str) -> None:
    bomb = b" " * (200 << 20)
    raw = gzip.compress(bomb, 9) if encoding == "gzip" else zstandard.compress(bomb)
    with lying(manifest_answer(raw, Content_Encoding=encoding)) as (registry, _), pytest.raises(Corrupt, match="limit"):
        registry.manifest("latest")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_manifest_that_came_encoded_all_the_same(encoding: str) -> None:
    raw = gzip.compress(GOOD.raw, mtime=0) if encoding == "gzip" else zstandard.compress(GOOD.raw)
    with lying(manifest_answer(raw, Content_Encoding=encoding)) as (registry, _):
        assert registry.manifest("latest").raw == GOOD.raw


@pytest.mark.parametrize(
    ("encoding", "raw"), [("gzip", b"no gzip"), ("br", b"x"), ("gzip", gzip.compress(b"x", mtime=0)[:-4])]
)
def test_an_encoding_that_is_none(encoding: str, raw: bytes) -> None:
    answer = manifest_answer(raw, Content_Encoding=encoding)
    with lying(answer) as (registry, _), pytest.raises((Corrupt, Unsupported)):
        registry.manifest("latest")


def test_an_old_form() -> None:
    answer = manifest_answer(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws")
    with lying(answer) as (registry, _), pytest.raises(Unsupported, match="schema 1"):
        registry.manifest("latest")


def test_a_page_that_leads_back() -> None:
    def answer(request: Request) -> None:
        request.reply(b'{"tags": ["a"]}', Link='</v2/x/tags/list?n=1>; rel="next"')

    with lying(answer) as (registry, _), pytest.raises(Corrupt, match="already"):
        list(registry.tags(page=1))


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"tags": ' + b"[" * 100_000, b"[]", b"", b"\xff", b'{"tags":[],"tags":[]}', b"<html>"]
)
def test_lists_that_are_none(body: bytes) -> None:
    with lying(lambda request: request.reply(body)) as (registry, _), pytest.raises((Corrupt, Invalid)):
        list(registry.tags())


def test_lists_of_something_else() -> None:
    with lying(lambda request: request.reply(b'{"tags": [1, null, "a", {}], "manifests": 7}')) as (registry, _):
        assert list(registry.tags()) == ["a"]
        assert search(registry.transport, "x", 25) == []


def test_referrers_that_are_none() -> None:
    answer = lambda request: request.reply(b'{"manifests": [{"digest": "x"}]}')  # noqa: E731
    with lying(answer) as (registry, _), pytest.raises(CaisError):
        referrers(registry, GOOD.digest)


# Blobs


def test_more_bytes_than_there_should_be() -> None:
    with lying(lambda request: request.reply(DATA + b"x")) as (registry, _), pytest.raises(Corrupt, match="more than"):
        fetched(registry)


def test_a_body_without_end() -> None:
    def answer(request: Request) -> None:
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while not request.server.stopped.is_set():
                request.wfile.write(b"x" * 65536)

    with lying(answer) as (registry, _), pytest.raises(Corrupt, match="more than"):
        fetched(registry)


def _broken(request: Request, *, ranges: bool = True, step: int = 100_000) -> None:
    """Breaks off after ``step`` bytes, whatever is asked for."""
    start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")) if ranges else 0
    request.send_response(206 if start else 200)
    request.send_header("Content-Length", str(len(DATA) - start))
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
    request.end_headers()
    request.wfile.write(DATA[start : start + step])


def test_it_goes_on_from_the_byte_after_the_break() -> None:
    with lying(_broken) as (registry, server):
        assert fetched(registry) == DATA
        ranges = [request.headers.get("Range") for request in server.seen]
        assert ranges == [None, "bytes=100000-", "bytes=200000-"]


def test_a_range_that_is_ignored() -> None:
    broken = [True]

    def answer(request: Request) -> None:
        if broken:
            broken.clear()
            _broken(request)
        else:
            request.reply(DATA)

    with lying(answer) as (registry, _):
        assert fetched(registry) == DATA


def test_a_range_that_lies() -> None:
    def answer(request: Request) -> None:
        if "Range" in request.headers:
            request.reply(DATA, status=206, Content_Range=f"bytes 5-{len(DATA) - 1}/{len(DATA)}")
        else:
            _broken(request)

    with lying(answer) as (registry, _), pytest.raises(Corrupt, match="range"):
        fetched(registry)


def test_it_does_not_go_on_for_ever() -> None:
    waits = Waits()
    with lying(lambda request: _broken(request, step=0), waits=waits) as (registry, server):
        with pytest.raises(Unavailable, match="after 0 of 300000"):
            fetched(registry)
        assert len(server.seen) == QUICK.attempts
        assert waits == sorted(waits)
    with lying(lambda request: _broken(request, step=1)) as (registry, server):
        with pytest.raises(Unavailable):
            fetched(registry)
        assert len(server.seen) < 200


def test_a_server_that_stalls() -> None:
    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(DATA)))
        request.end_headers()
        request.wfile.write(DATA[:1000])
        request.wfile.flush()
        request.server.stopped.wait(30)

    limits = IMPATIENT._replace(attempts=2)
    with lying(answer, limits=limits) as (registry, _), pytest.raises(Unavailable, match="after 1000 of 300000"):
        fetched(registry)


def test_a_body_that_comes_byte_by_byte() -> None:
    """Each byte comes in time, and all of them would take hours."""

    def answer(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(DATA)))
        request.end_headers()
        with contextlib.suppress(OSError):
            for byte in DATA:
                request.wfile.write(bytes((byte,)))
                if request.server.stopped.wait(0.02):
                    break

    with lying(answer, limits=IMPATIENT) as (registry, server), pytest.raises(Unavailable, match="stalls"):
        fetched(registry)
    assert len(server.seen) == 1


def test_a_head_that_comes_byte_by_byte() -> None:
    def answer(request: Request) -> None:
        with contextlib.suppress(OSError):
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while not request.server.stopped.wait(0.05):
                request.wfile.write(b"x")
                request.wfile.flush()

    with lying(answer, limits=IMPATIENT._replace(attempts=1)) as (registry, _), pytest.raises(Unavailable):
        registry.exists(BLOB)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 999999 ?\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_http(raw: bytes) -> None:
    def answer(request: Request) -> None:
        request.wfile.write(raw)

    with lying(answer, limits=QUICK._replace(attempts=2)) as (registry, _):
        for ask in (lambda: fetched(registry), lambda: registry.manifest("latest"), lambda: list(registry.tags())):
            with pytest.raises(CaisError) as raised:
                ask()
            assert "\n" not in raised.value.message


# Refusals and retries


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Invalid), (401, Unauthorized), (403, Denied), (404, NotFound), (418, CaisError), (500, Unavailable)],
)
def test_refusals(status: int, kind: type[CaisError]) -> None:
    body = json.dumps({"errors": [{"code": "SOME_CODE", "message": "in\nits \x1b[31m own words"}]}).encode()
    with lying(lambda request: request.reply(body, status=status)) as (registry, _):
        with pytest.raises(kind) as raised:
            registry.manifest("latest")
        assert raised.value.message == "some code: in its [31m own words"


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"{}", b'{"errors": 7}', b"[" * 60_000, b"x" * (1 << 20)])
def test_refusals_without_words(body: bytes) -> None:
    answer = lambda request: request.reply(body, status=502)  # noqa: E731
    with lying(answer) as (registry, _), pytest.raises(Unavailable, match="answered with the status 502"):
        registry.manifest("latest")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    answers = [lambda request: request.reply(status=status)] * 2 + [manifest_answer(GOOD.raw)]
    waits = Waits()
    with lying(lambda request: answers.pop(0)(request), waits=waits) as (registry, _):
        assert registry.manifest("latest").raw == GOOD.raw
        assert len(waits) == 2


def test_retry_after_is_obeyed() -> None:
    answers = [lambda request: request.reply(status=429, Retry_After="7"), manifest_answer(GOOD.raw)]
    waits = Waits()
    with lying(lambda request: answers.pop(0)(request), waits=waits) as (registry, _):
        registry.manifest("latest")
        assert waits == [7.0]


def test_retry_after_is_bounded() -> None:
    waits = Waits()
    with lying(lambda request: request.reply(status=429, Retry_After="86400"), waits=waits) as (registry, _):
        with pytest.raises(Unavailable, match="toomanyrequests"):
            registry.manifest("latest")
        assert waits == []


def test_retry_after_as_text() -> None:
    now = 1_700_000_000.0
    assert retry_after("120", now) == 120
    assert retry_after(formatdate(now + 30, usegmt=True), now) == 30
    assert retry_after(formatdate(now - 30, usegmt=True), now) == 0
    for text in ("", "soon", "-5", "1e9", "9" * 5000, "\u0665"):
        assert retry_after(text, now) is None or retry_after(text, now) >= 0


# Redirects


def test_a_redirect_takes_no_credential_to_another_host() -> None:
    def elsewhere(request: Request) -> None:
        request.reply(DATA)

    def answer(request: Request) -> None:
        if "Authorization" not in request.headers:
            request.reply(status=401, WWW_Authenticate='Basic realm="x"')
        elif request.path == "/v2/x/here":
            request.reply(DATA)
        else:
            request.reply(status=307, Location=other.url + "/data?signature=y")

    with serving(elsewhere) as other, lying(answer, login=LOGIN) as (registry, server):
        assert fetched(registry) == DATA
        assert server.seen[-1].headers["Authorization"] == BASIC
        assert [request.headers.get("Authorization") for request in other.seen] == [None]


def test_a_redirect_on_the_same_host_keeps_it() -> None:
    def answer(request: Request) -> None:
        if "Authorization" not in request.headers:
            request.reply(status=401, WWW_Authenticate='Basic realm="x"')
        elif request.path == "/v2/x/here":
            request.reply(DATA)
        else:
            request.reply(status=302, Location="here")

    with lying(lambda request: answer(request), login=LOGIN) as (registry, server):
        assert server.seen == []
        with pytest.raises(CaisError):
            fetched(registry)  # "here" is relative to the blob
        answered = answer

        def absolute(request: Request) -> None:
            if request.path.startswith("/v2/x/blobs/") and "Authorization" in request.headers:
                request.reply(status=302, Location="/v2/x/here")
            else:
                answered(request)

        server.answer = absolute
        assert fetched(registry) == DATA


@pytest.mark.parametrize("location", ["/v2/x/loop", "?again"])
def test_redirects_without_end(location: str) -> None:
    count = [0]

    def answer(request: Request) -> None:
        count[0] += 1
        request.reply(status=302, Location=f"{location}" if location != "?again" else f"/v2/{count[0]}")

    with lying(answer) as (registry, _), pytest.raises(Unavailable, match="redirects without end"):
        fetched(registry)
    assert count[0] < 20


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "http://a:b@127.0.0.1/", "http://[::1", "\x7f"]
)
def test_redirects_to_what_is_no_url(location: str) -> None:
    answer = lambda request: request.reply(status=302, Location=location)  # noqa: E731
    with lying(answer) as (registry, _), pytest.raises(CaisError):
        fetched(registry)


# Token servers


@contextlib.contextmanager
def with_tokens(tokens: Answer, login: Login | None = None) -> Iterator[tuple[Registry, Server]]:
    """A registry that wants a token of a server that answers so; the second value is that server."""
    with serving(tokens) as server, lying(token_registry(server.url + "/token"), login=login) as (registry, _):
        yield registry, server


def token_registry(realm: str, *, check: str = "Bearer good", **parameters: str) -> Answer:
    more = "".join(f',{name}="{value}"' for name, value in parameters.items())

    def answer(request: Request) -> None:
        if request.headers.get("Authorization") == check:
            request.reply(GOOD.raw, Content_Type=types.OCI_MANIFEST)
        else:
            request.reply(status=401, WWW_Authenticate=f'Bearer realm="{realm}",service="test"{more}')

    return answer


def test_a_token_is_asked_for_once() -> None:
    def tokens(request: Request) -> None:
        request.reply(b'{"token": "good", "expires_in": 300}')

    with serving(tokens) as server, lying(token_registry(server.url + "/token"), login=LOGIN) as (registry, _):
        for _ in range(3):
            registry.manifest("latest")
        assert len(server.seen) == 1
        asked = server.seen[0]
        query = parse_qs(urlsplit(asked.path).query)
        assert query == {"service": ["test"], "scope": ["repository:x:pull,push"], "account": ["ada"]}
        assert asked.headers["Authorization"] == BASIC
        assert registry.transport.endpoint.registry not in asked.headers.values()


def test_an_anonymous_token() -> None:
    with with_tokens(lambda request: request.reply(b'{"access_token": "good"}')) as (registry, server):
        registry.manifest("latest")
        assert "Authorization" not in server.seen[0].headers


def test_an_identity_token_goes_in_a_form() -> None:
    def tokens(request: Request) -> None:
        request.form = parse_qs(request.rfile.read(int(request.headers["Content-Length"])).decode())  # type: ignore[attr-defined]
        request.reply(b'{"access_token": "good"}')

    with serving(tokens) as server:
        with lying(token_registry(server.url + "/token"), login=Login("ada", "", SECRET)) as (registry, _):
            registry.manifest("latest")
        asked = server.seen[0]
        assert (asked.command, asked.form["refresh_token"]) == ("POST", [SECRET])  # type: ignore[attr-defined]
        assert SECRET not in asked.path


def test_a_token_that_expires_is_fetched_again() -> None:
    valid = ["Bearer one"]

    def tokens(request: Request) -> None:
        request.reply(b'{"token": "%s"}' % (b"one" if len(server.seen) == 1 else b"two"))

    def answer(request: Request) -> None:
        if request.headers.get("Authorization") != valid[0]:
            request.reply(status=401, WWW_Authenticate=f'Bearer realm="{server.url}/token",error="invalid_token"')
        else:
            request.reply(GOOD.raw, Content_Type=types.OCI_MANIFEST)

    with serving(tokens) as server, lying(answer) as (registry, _):
        registry.manifest("latest")
        valid[0] = "Bearer two"
        registry.manifest("latest")
        assert len(server.seen) == 2


def test_a_token_that_never_helps() -> None:
    with serving(lambda request: request.reply(b'{"token": "bad"}')) as server:
        with lying(token_registry(server.url + "/token")) as (registry, _), pytest.raises(Unauthorized):
            registry.manifest("latest")
        assert len(server.seen) == 1


def test_a_password_goes_to_no_token_server_over_plain_http() -> None:
    """The registry is on this machine, and its server of tokens is said to be elsewhere."""
    asked = token_registry("http://192.0.2.1/token")
    with lying(asked, login=LOGIN) as (registry, _), pytest.raises(Denied, match="plain http: not asked"):
        registry.manifest("latest")


def test_a_far_registry_does_not_lead_here() -> None:
    """Nothing is sent: what asks, refuses before."""
    from cais.remote.authorization import Authorization

    def ask(*_: object) -> dict[str, object]:
        raise AssertionError("it was asked")

    for realm in (
        "http://127.0.0.1:80/token",
        "https://localhost/token",
        "https://localhost./token",
        "https://127.1/token",
        "https://2130706433/token",
        "https://0/token",
        "https://[::]/token",
        "https://[::1]/token",
        "https://[::ffff:127.0.0.1]/token",
        "http://reg.test/token",
        "file:///x",
        "x",
        "",
    ):
        authorization = Authorization(Endpoint("reg.test", "reg.test"), lambda: LOGIN, ask)
        assert authorization.challenged(f'Bearer realm="{realm}"', ("s",), "")
        with pytest.raises(Denied) as raised:
            authorization.header(("s",))
        assert SECRET not in raised.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b'{"token": 7}', b'{"token": ""}', b'{"token": "a b"}', b'{"token": "a\\r\\nX: y"}', b"[" * 100_000,
        b'{"token": "' + b"x" * 70_000 + b'"}', b" " * (1 << 20), b'{"token": "\xc3\xbc"}',
    ],
)  # fmt: skip
def test_answers_that_are_no_token(body: bytes) -> None:
    answer = lambda request: request.reply(body)  # noqa: E731
    with with_tokens(answer, LOGIN) as (registry, _), pytest.raises(CaisError) as raised:
        registry.manifest("latest")
    assert SECRET not in raised.value.message


def test_token_servers_that_redirect_get_no_password_elsewhere() -> None:
    with serving(lambda request: request.reply(b'{"token": "good"}')) as thief:
        answer = lambda request: request.reply(status=307, Location=thief.url)  # noqa: E731
        with with_tokens(answer, LOGIN) as (registry, _), pytest.raises(CaisError):
            registry.manifest("latest")
        assert thief.seen == []


@pytest.mark.parametrize("expires", ["-5", "0", '"x"', "1e400", "null", "1e18", "true"])
def test_lifetimes_that_are_none(expires: str) -> None:
    body = b'{"token": "good", "expires_in": %s}' % expires.encode()
    with with_tokens(lambda request: request.reply(body)) as (registry, server):
        registry.manifest("latest")
        assert len(server.seen) == 1


def test_challenges() -> None:
    found = parse_challenges('Basic realm="a, b", Bearer realm="https://x/t?a=b",service=s,scope="r:x:pull r:y:pull"')
    assert [challenge.kind for challenge in found] == ["basic", "bearer"]
    assert found[0].parameters == {"realm": "a, b"}
    assert found[1].parameters == {"realm": "https://x/t?a=b", "service": "s", "scope": "r:x:pull r:y:pull"}
    assert parse_challenges('Bearer realm="a\\"b"')[0].parameters == {"realm": 'a"b'}
    for text in ("", ",,,", "=", '"', 'Bearer realm="', "Bearer " * 10_000, '\\"' * 10_000, 'a="b' * 10_000):
        parse_challenges(text)


def test_nothing_secret_is_shown() -> None:
    """Neither in what is raised, nor in what a debugger shows of our objects."""

    def answer(request: Request) -> None:
        sent = request.headers.get("Authorization", "")
        request.reply(status=401, WWW_Authenticate='Basic realm="x"') if not sent else request.reply(status=500)

    with lying(answer, login=LOGIN) as (registry, _):
        try:
            registry.manifest("latest")
        except CaisError as error:
            text = "".join(traceback.TracebackException.from_exception(error, capture_locals=False).format())
        shown = [repr(item) for item in (registry, registry.transport, registry.transport._authorization.login)]
        shown += [repr(vars(registry.transport._authorization)), text]
    for secret in (SECRET, BASIC.split()[1]):
        assert secret not in "".join(shown)


# Uploads


class Uploads:
    """A registry that takes uploads, and can be told to break one off."""

    def __init__(self) -> None:
        self.received = b""
        self.break_after: list[int] = []
        self.busy: list[str] = []  # with which Retry-After bytes are refused
        self.forget = False
        self.stored: dict[str, bytes] = {}
        self.log: list[str] = []

    def __call__(self, request: Request) -> None:
        self.log.append(f"{request.command} {urlsplit(request.path).path}")
        if request.command == "POST":
            self.received = b""
            request.reply(status=202, Location="/v2/x/blobs/uploads/1?state=a")
        elif request.command == "GET":
            if self.forget:
                request.reply(status=404)
            else:
                last = max(0, len(self.received) - 1)
                request.reply(status=204, Location="/v2/x/blobs/uploads/1?state=b", Range=f"0-{last}")
        elif request.command == "PUT":
            self._put(request)

    def _put(self, request: Request) -> None:
        left = int(request.headers["Content-Length"])
        if self.break_after:
            self.received += request.rfile.read(self.break_after.pop(0))
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            request.connection.close()
            return
        if self.busy:
            request.rfile.read(left)
            request.reply(status=503, Retry_After=self.busy.pop(0))
            return
        self.received += request.rfile.read(left)
        digest = parse_qs(urlsplit(request.path).query)["digest"][0]
        if Digest(digest).fits(self.received):
            self.stored[digest] = self.received
            request.reply(status=201, Location=f"/v2/x/blobs/{digest}")
        else:
            request.reply(b'{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}', status=400)


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.offsets: list[int] = []

    def exists(self, blob: Descriptor) -> bool:
        return True

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        self.offsets.append(offset)
        return iter([self.data[start : start + 4096] for start in range(offset, len(self.data), 4096)])


def test_an_upload_goes_on_where_it_broke() -> None:
    uploads, source = Uploads(), Bytes(DATA)
    uploads.break_after = [100_000, 50_000]
    with lying(uploads) as (registry, _):
        registry.take(BLOB, source)
    assert uploads.stored == {BLOB.digest: DATA}
    assert source.offsets == [0, 100_000, 150_000]


def test_an_upload_to_a_registry_that_is_busy_comes_again_when_it_said() -> None:
    uploads, waits = Uploads(), Waits()
    uploads.busy = ["7", "11"]
    with lying(uploads, waits=waits) as (registry, _):
        registry.take(BLOB, Bytes(DATA))
        assert (uploads.stored, waits) == ({BLOB.digest: DATA}, [7, 11])
        uploads.busy = ["21600"] * 50
        with pytest.raises(Unavailable):
            registry.take(BLOB, Bytes(DATA))
        assert (len(uploads.busy), len(waits)) == (49, 2), "nobody waits for six hours"


def test_an_upload_that_was_forgotten_begins_again() -> None:
    uploads, source = Uploads(), Bytes(DATA)
    uploads.break_after, uploads.forget = [100_000], True
    with lying(uploads) as (registry, _):
        registry.take(BLOB, source)
    assert uploads.stored == {BLOB.digest: DATA}
    assert source.offsets == [0, 0]


def test_an_upload_that_breaks_all_the_time() -> None:
    uploads = Uploads()
    uploads.break_after = [0] * 50
    with lying(uploads) as (registry, _), pytest.raises(Unavailable):
        registry.take(BLOB, Bytes(DATA))
    assert len(uploads.break_after) == 50 - QUICK.attempts


def test_a_digest_that_the_registry_refuses() -> None:
    with lying(Uploads()) as (registry, _), pytest.raises(Corrupt, match="digest invalid"):
        registry.take(BLOB._replace(digest=Digest.of(b"other")), Bytes(DATA))


def test_a_token_that_expires_during_a_long_push() -> None:
    uploads, valid, issued = Uploads(), ["Bearer 1"], [0]

    def tokens(request: Request) -> None:
        issued[0] += 1
        request.reply(b'{"token": "%d"}' % issued[0])

    def answer(request: Request) -> None:
        if request.headers.get("Authorization") != valid[0]:
            if request.command == "PUT":
                request.rfile.read(int(request.headers["Content-Length"]))
            request.reply(status=401, WWW_Authenticate=f'Bearer realm="{server.url}/token"')
            return
        if request.command == "POST":
            valid[0] = "Bearer 2"  # the first token is worth nothing from now on
        uploads(request)

    with serving(tokens) as server, lying(answer) as (registry, _):
        registry.take(BLOB, Bytes(DATA))
    assert uploads.stored == {BLOB.digest: DATA}


@pytest.mark.parametrize("location", ["", "file:///x", "http://a:b@127.0.0.1/x"])
def test_an_upload_that_goes_nowhere(location: str) -> None:
    answer = lambda request: request.reply(status=202, Location=location)  # noqa: E731
    with lying(answer) as (registry, _), pytest.raises(CaisError):
        registry.take(BLOB, Bytes(DATA))


def test_an_upload_to_another_host_takes_no_credential() -> None:
    other_uploads = Uploads()

    def answer(request: Request) -> None:
        if "Authorization" not in request.headers:
            request.reply(status=401, WWW_Authenticate='Basic realm="x"')
        else:
            request.reply(status=202, Location=f"{other.url}/elsewhere")

    with serving(other_uploads) as other, lying(answer, login=LOGIN) as (registry, _):
        registry.take(BLOB, Bytes(DATA))
        assert [request.headers.get("Authorization") for request in other.seen] == [None]
    assert other_uploads.stored == {BLOB.digest: DATA}


def test_a_manifest_that_is_stored_as_something_else() -> None:
    answer = lambda request: request.reply(status=201, Docker_Content_Digest=Digest.of(b"other"))  # noqa: E731
    with lying(answer) as (registry, _), pytest.raises(Corrupt, match="stored the manifest"):
        registry.put_manifest(GOOD.raw, types.OCI_MANIFEST, "v1")


def test_many_threads_ask_for_one_token() -> None:
    with serving(lambda request: request.reply(b'{"token": "good"}')) as server:
        with lying(token_registry(server.url + "/token")) as (registry, there):
            threads = [threading.Thread(target=registry.manifest, args=("latest",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(server.seen) == 1
        assert len(there.seen) == 1 + 8  # one of them has been refused, and has told the others


def test_a_search_of_anything() -> None:
    rows = [{"name": "a\x1b[31mb", "description": "x\ny" * 5000, "star_count": -1}, {"name": 7}, 5, {"name": "c"}]
    body = json.dumps({"results": rows}).encode()
    with lying(lambda request: request.reply(body)) as (registry, _):
        found = search(registry.transport, "x", 25)
        assert [item.name for item in found] == ["a [31mb", "c"]
        assert all(item.stars == 0 and "\n" not in item.description for item in found)
