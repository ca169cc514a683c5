"""Docker's own registry, in its manners: tokens for each repository, blobs at a CDN, limits of pulls, few headers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from cais.errors import CaisError, Unauthorized, Unavailable
from cais.remote.credentials import Login
from cais.remote.endpoint import Endpoint
from cais.remote.registry import Registry
from cais.remote.transport import Limits, Transport
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from http_server import Request, Server, serving

QUICK = Limits(connect_seconds=5, read_seconds=5, first_wait_seconds=0.001)
DATA = os.urandom(100_000)
BLOB = Descriptor(types.OCI_LAYER, Digest.of(DATA), len(DATA))
CONFIG = b"{}"
MANIFEST = Manifest.encode(Descriptor(types.OCI_CONFIG, Digest.of(CONFIG), len(CONFIG)), [BLOB])
LIMITS_OF_PULLS = {
    "RateLimit_Limit": "100;w=21600",
    "RateLimit_Remaining": "99;w=21600",
    "Docker_RateLimit_Source": "192.0.2.1",
}
LOGIN = Login("ada", "hunter2-the-password")


class Hub:
    """``registry`` is asked for tokens of ``tokens``, and leads to ``cdn`` for blobs. ``limited``: so many requests for
    manifests are answered with 429 before one is not."""

    def __init__(self) -> None:
        self.limited = 0
        self.retry_after = ""
        self.says_digest = True
        self.known = {"library/debian"}
        self.cdn_broken = 0

    @contextmanager
    def serving(self, login: Login | None = None) -> Iterator[Registry]:
        with serving(self.token) as self.tokens, serving(self.blob) as self.cdn, serving(self.answer) as self.registry:
            address = f"127.0.0.1:{self.registry.server_address[1]}"
            self.waits: list[float] = []
            transport = Transport(
                Endpoint("docker.io", address, ("http",)), lambda: login, limits=QUICK, wait=self.waits.append
            )
            yield Registry(transport, "library/debian")

    def token(self, request: Request) -> None:
        query = parse_qs(urlsplit(request.path).query)
        # No "token", no "expires_in" that is needed: OAuth 2's name of it alone.
        allowed = [one for one in query["scope"] if one.split(":")[1] in self.known]
        request.reply(
            json.dumps({"access_token": "for." + ".".join(allowed).replace(":", "-"), "issued_at": "x"}).encode()
        )

    def answer(self, request: Request) -> None:
        name = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        given = request.headers.get("Authorization", "")
        scope = f"repository:{name}:pull"
        if request.path == "/v2/" or scope.replace(":", "-") not in given:
            problem = ',error="insufficient_scope"' if given else ""
            challenge = f'Bearer realm="{self.tokens.url}/token",service="registry.docker.io",scope="{scope}"{problem}'
            body = b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":[{}]}]}'
            request.reply(body, 401, WWW_Authenticate=challenge)
        elif "/blobs/" in request.path:
            request.reply(status=307, Location=f"{self.cdn.url}/data?X-Amz-Signature=s3cret")
        elif self.limited:
            self.limited -= 1
            body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
            request.reply(body, 429, Retry_After=self.retry_after)
        else:
            digest = MANIFEST.descriptor.digest if self.says_digest else ""
            request.reply(
                MANIFEST.raw, Content_Type=types.OCI_MANIFEST, Docker_Content_Digest=digest, **LIMITS_OF_PULLS
            )

    def blob(self, request: Request) -> None:
        """As S3 does: who shows another credential beside the signature is refused."""
        if "Authorization" in request.headers:
            request.reply(b"<Code>InvalidArgument</Code>Only one auth mechanism allowed", 400)
            return
        start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        rest = DATA[start:]
        if self.cdn_broken:
            self.cdn_broken -= 1
            request.reply(
                rest[:30_000], 206 if start else 200, Content_Length=str(len(rest)), Content_Range=span(start)
            )
        else:
            request.reply(rest, 206 if start else 200, Content_Range=span(start))


def span(start: int) -> str:
    return f"bytes {start}-{len(DATA) - 1}/{len(DATA)}" if start else ""


def asked(server: Server) -> list[str]:
    return [f"{request.command} {request.path}" for request in server.seen]


@pytest.mark.parametrize("login", [None, LOGIN], ids=["nobody", "ada"])
def test_a_pull_from_beginning_to_end(login: Login | None) -> None:
    """A HEAD that is refused is where its token comes from; one token does for all; the CDN sees no credential."""
    hub = Hub()
    with hub.serving(login) as registry:
        found = registry.resolve("bookworm")
        assert found == MANIFEST.descriptor
        assert registry.manifest(found.digest).raw == MANIFEST.raw
        assert b"".join(registry.fetch(BLOB)) == DATA
        assert [line.split("?")[0] for line in asked(hub.tokens)] == ["GET /token"]
        assert all("Authorization" not in request.headers for request in hub.cdn.seen)
        refused = [request for request in hub.registry.seen if "Authorization" not in request.headers]
        assert len(refused) == 1, "and it is asked without a token once"


def test_a_cdn_that_breaks_off_is_asked_again_by_way_of_the_registry() -> None:
    """What it signed may have come to its end."""
    hub = Hub()
    hub.cdn_broken = 2
    with hub.serving() as registry:
        assert b"".join(registry.fetch(BLOB)) == DATA
        assert [request.headers.get("Range") for request in hub.cdn.seen] == [None, "bytes=30000-", "bytes=60000-"]
        assert len([line for line in asked(hub.registry) if "/blobs/" in line and "GET" in line]) >= 3


def test_a_head_without_a_digest() -> None:
    hub = Hub()
    hub.says_digest = False
    with hub.serving() as registry:
        assert registry.resolve("bookworm") == MANIFEST.descriptor
        assert registry.manifest("bookworm").descriptor == MANIFEST.descriptor


@pytest.mark.parametrize(("retry_after", "waited"), [("7", [7.0, 7.0]), ("", None)])
def test_a_limit_that_passes(retry_after: str, waited: list[float] | None) -> None:
    hub = Hub()
    hub.limited, hub.retry_after = 2, retry_after
    with hub.serving() as registry:
        assert registry.resolve("bookworm") == MANIFEST.descriptor
        assert len(hub.waits) == 2
        assert waited is None or hub.waits == waited


@pytest.mark.parametrize(("retry_after", "tries"), [("21600", 1), ("", QUICK.attempts)])
def test_a_limit_that_does_not_pass_is_said(retry_after: str, tries: int) -> None:
    """Nobody waits for six hours. A HEAD has no words; a GET has the registry's."""
    hub = Hub()
    hub.limited, hub.retry_after = 1000, retry_after
    with hub.serving() as registry:
        with pytest.raises(Unavailable, match="toomanyrequests"):
            registry.resolve("bookworm")
        assert 1000 - hub.limited == tries
        with pytest.raises(Unavailable, match="You have reached your pull rate limit"):
            registry.manifest("bookworm")


def test_a_repository_that_is_not_there_is_one_that_is_not_granted() -> None:
    """The token comes all the same, and does not help: that is the answer, and not asked again and again."""
    hub = Hub()
    hub.known = set()
    with hub.serving() as registry:
        with pytest.raises(Unauthorized, match="authentication required"):
            registry.manifest("bookworm")
        assert len(hub.tokens.seen) == 1


def test_who_a_registry_leads_to_asks_for_no_password() -> None:
    """A CDN that says 401 and names a server of tokens: the registry's credentials are not for it."""
    hub = Hub()
    with serving(lambda request: request.reply(b'{"token": "x"}')) as thief, hub.serving(LOGIN) as registry:
        registry.resolve("bookworm")
        for challenge in (f'Bearer realm="{thief.url}/token",service="x"', 'Basic realm="x"'):
            hub.cdn.answer = lambda request, said=challenge: request.reply(status=401, WWW_Authenticate=said)  # type: ignore[misc]
            with pytest.raises(CaisError):
                b"".join(registry.fetch(BLOB))
            assert thief.seen == []
            assert all("Authorization" not in request.headers for request in hub.cdn.seen)
        hub.cdn.answer = hub.blob
        assert b"".join(registry.fetch(BLOB)) == DATA, "and what the registry itself has asked for still holds"
        assert len(hub.tokens.seen) == 1
