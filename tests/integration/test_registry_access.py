"""Access to a registry that serves: over HTTP, by everything that a client may send."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from registry_people import PASSWORD, administration, ask_for_token, basic, bearer, form, token
from registry_process import Answer, RegistryProcess, digest_of, image, registry_process

LAYER, CONFIG = b"a layer" * 100, b'{"architecture":"amd64","os":"linux"}'
SECRETS: list[str] = []


def push(server: RegistryProcess, name: str, who: dict[str, str], tag: str = "1") -> None:
    for data in (LAYER, CONFIG):
        where = f"/v2/{name}/blobs/uploads/?digest={digest_of(data)}"
        assert server.request("POST", where, data, who).status == 201
    done = server.request("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(image(CONFIG, LAYER)).encode(), who)
    assert done.status == 201, done


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """Two workers; root (an administrator), alice, bob, the robot ci; images in alice/app and open/app, which is
    public. What was ever secret here stands in ``SECRETS``, and must not be in the log."""
    root = tmp_path_factory.mktemp("registry")
    with administration(root) as records:
        records.accounts.add("root", PASSWORD, admin=True)
        records.accounts.add("alice", PASSWORD)
        records.accounts.add("bob", PASSWORD)
        SECRETS.append(records.robots.create("ci", [("alice/app", ["pull"])], lasts_seconds=None))
    with registry_process(root, "--workers", "2", "--set", f"log.access={root}/log", anonymous="read") as process:
        push(process, "alice/app", basic("alice"))
        push(process, "open/app", basic("root"))
        with administration(root) as records:
            records.publish("open/app", True)
        yield process


def challenge(answer: Answer) -> str:
    return answer.headers.get("www-authenticate", "")


def manifest(server: RegistryProcess, name: str, who: dict[str, str] | None = None, method: str = "GET") -> Answer:
    return server.request(method, f"/v2/{name}/manifests/1", headers=who)


def test_a_client_is_told_where_tokens_are(server: RegistryProcess) -> None:
    answer = server.request("GET", "/v2/")
    assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert challenge(answer) == f'Bearer realm="{server.url}/token",service="cais-registry"'
    answer = server.request("GET", "/v2/", headers={"X-Forwarded-Proto": "https", "Host": "registry.example"})
    assert 'realm="https://registry.example/token"' in challenge(answer)
    for host in ('a"b', "a b", "é".encode().decode("latin-1")):
        answer = server.request("GET", "/v2/", headers={"Host": host})
        assert answer.status == 400 or challenge(answer).count('"') == 4
    assert server.request("GET", "/v2/", headers=basic("alice")).status == 200
    assert server.request("GET", "/v2/", headers=token(server, "")).status == 200


def test_who_may_pull(server: RegistryProcess) -> None:
    robot = basic("ci", SECRETS[0])
    for name, who, status in [
        ("alice/app", basic("alice"), 200), ("alice/app", basic("root"), 200), ("alice/app", robot, 200),
        ("alice/app", basic("bob"), 404), ("alice/app", None, 401),
        ("open/app", None, 200), ("open/app", basic("bob"), 200), ("open/app", robot, 200),
    ]:  # fmt: skip
        for method in ("GET", "HEAD"):
            assert manifest(server, name, who, method).status == status, (name, who, method)
        if who is not None and "Basic" in who["Authorization"]:
            blob = server.request("GET", f"/v2/{name}/blobs/{digest_of(LAYER)}", headers=who)
            assert blob.status == status


def test_every_way_in_is_guarded(server: RegistryProcess) -> None:
    """Each endpoint refuses who may nothing, and reveals nothing: the same for a repository that is not there."""
    digest = digest_of(LAYER)
    began = server.request("POST", "/v2/alice/app/blobs/uploads/", headers=basic("alice"))
    upload = began.headers["location"].rpartition("/")[2]
    paths = [
        ("GET", "manifests/1"), ("HEAD", "manifests/1"), ("GET", f"manifests/{digest}"), ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"), ("GET", f"blobs/{digest}"), ("HEAD", f"blobs/{digest}"),
        ("DELETE", f"blobs/{digest}"),
        ("POST", "blobs/uploads/"), ("POST", f"blobs/uploads/?mount={digest}&from=open/app"),
        ("POST", f"blobs/uploads/?digest={digest}"), ("GET", f"blobs/uploads/{upload}"),
        ("PATCH", f"blobs/uploads/{upload}"), ("PUT", f"blobs/uploads/{upload}?digest={digest}"),
        ("DELETE", f"blobs/uploads/{upload}"), ("GET", "tags/list"), ("GET", f"referrers/{digest}"),
    ]  # fmt: skip
    bob = token(server, "bob", "repository:alice/app:pull,push,delete", "repository:alice/none:pull,push,delete")

    def answer(method: str, name: str, rest: str, who: dict[str, str] | None) -> tuple[object, ...]:
        found = server.request(method, f"/v2/{name}/{rest}", b"{}" if method in ("PUT", "PATCH") else None, who)
        assert found.status in (401, 403, 404), (method, rest, who, found)
        return found.status, challenge(found).replace(name, "NAME"), found.body.decode().replace(name, "NAME")

    for method, rest in paths:
        for who in (None, bob, basic("bob")):
            assert answer(method, "alice/app", rest, who) == answer(method, "alice/none", rest, who)
        assert answer(method, "alice/app", rest, None)[0] == 401
        reading = method in ("GET", "HEAD") and "uploads" not in rest
        assert answer(method, "alice/app", rest, basic("bob"))[0] == (404 if reading else 403)
        assert 'error="insufficient_scope"' in str(answer(method, "alice/app", rest, bob)[1])
    assert manifest(server, "alice/app", basic("alice")).status == 200, "nothing was changed"
    assert server.request("GET", f"/v2/alice/app/blobs/uploads/{upload}", headers=basic("alice")).status == 204


def test_a_token_is_for_its_scope_and_no_other(server: RegistryProcess) -> None:
    reading = token(server, "alice", "repository:alice/app:pull")
    assert manifest(server, "alice/app", reading).status == 200
    refused = server.request("POST", "/v2/alice/app/blobs/uploads/", headers=reading)
    assert (refused.status, refused.code) == (401, "DENIED")
    assert 'scope="repository:alice/app:pull,push",error="insufficient_scope"' in challenge(refused)
    refused = manifest(server, "alice/other", reading)
    assert refused.status == 401 and 'scope="repository:alice/other:pull"' in challenge(refused)
    assert server.request("GET", "/v2/_catalog", headers=reading).status == 401
    assert server.request("DELETE", "/v2/alice/app/manifests/1", headers=reading).status == 401


def test_tokens_as_docker_asks_for_them(server: RegistryProcess) -> None:
    answer = ask_for_token(server, "alice", "repository:alice/app:pull,push repository:bob/x:pull", account="alice")
    assert answer.status == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json["scope"] == "repository:alice/app:pull,push"
    assert answer.json["token"] == answer.json["access_token"]
    assert answer.json["expires_in"] == 300 and answer.json["issued_at"].endswith("Z")
    assert "refresh_token" not in answer.json
    nobody = ask_for_token(server, "", "repository:open/app:pull,push", "repository:alice/app:pull")
    assert nobody.json["scope"] == "repository:open/app:pull"
    assert ask_for_token(server, "alice").json["scope"] == ""


def test_a_login_is_kept_without_the_password(server: RegistryProcess) -> None:
    asked = {"offline_token": "true", "client_id": "docker"}
    kept = ask_for_token(server, "alice", **asked).json["refresh_token"]
    SECRETS.append(kept)
    answer = form(server, grant_type="refresh_token", refresh_token=kept, scope="repository:alice/app:pull")
    assert answer.status == 200 and answer.json["refresh_token"] == kept
    assert manifest(server, "alice/app", bearer(answer.json["access_token"])).status == 200
    answer = form(server, grant_type="password", username="alice", password=PASSWORD, access_type="offline",
                  scope="repository:alice/app:pull")  # fmt: skip
    assert answer.json["refresh_token"] not in ("", kept)
    for wrong in ({"refresh_token": kept[:-1]}, {"refresh_token": ""}, {}):
        refused = form(server, grant_type="refresh_token", **wrong)
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
    assert "refresh_token" not in ask_for_token(server, "ci", secret=SECRETS[0], **asked).json


@pytest.mark.parametrize(
    ("method", "query", "body", "status"),
    [
        ("GET", "scope=nonsense", None, 400), ("GET", "service=elsewhere", None, 400), ("GET", "scope=%ff", None, 400),
        ("GET", "&".join(f"scope=repository:r{n}:pull" for n in range(70)), None, 400),
        ("GET", "&".join(f"x{n}=" for n in range(300)), None, 400),
        ("POST", "", "grant_type=authorization_code", 400), ("POST", "", "", 400), ("POST", "", "é".encode(), 400),
        ("POST", "", "grant_type=password&username=alice&password=wrong", 401),
        ("POST", "", b"x" * 70_000, 400), ("PUT", "", "", 405), ("DELETE", "", None, 405),
    ],
)  # fmt: skip
def test_requests_for_tokens_that_are_none(
    server: RegistryProcess, method: str, query: str, body: str | bytes | None, status: int
) -> None:
    answer = server.request(method, f"/token?{query}", body)
    assert answer.status == status, answer
    assert b"wrong" not in answer.body


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_forged_tokens(server: RegistryProcess) -> None:
    good = token(server, "bob", "repository:bob/x:pull")["Authorization"].removeprefix("Bearer ")
    head, body, signature = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "==="))
    claims["access"] = [{"type": "repository", "name": "alice/app", "actions": ["pull"]}]
    header = json.loads(base64.urlsafe_b64decode(head + "==="))
    for text in [
        f"{part({**header, 'alg': 'none'})}.{part(claims)}.",
        f"{part({**header, 'alg': 'HS256'})}.{part(claims)}.{signature}",
        f"{head}.{part(claims)}.{signature}", f"{head}.{part(claims)}.", good[:-2], good[:40], "x", "..", "x" * 8000,
    ]:  # fmt: skip
        refused = manifest(server, "alice/app", bearer(text))
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED"), text[:80]
        assert 'error="invalid_token"' in challenge(refused)
        assert text not in refused.body.decode()
    huge = manifest(server, "alice/app", bearer("x" * 200_000))
    assert huge.status in (400, 401, 413, 431)


def test_a_mount_reveals_nothing(server: RegistryProcess) -> None:
    """Of a repository that may not be read: as if the blob were nowhere. Of one that may: without an upload."""

    def mount(digest: str, source: str, who: dict[str, str]) -> Answer:
        return server.request("POST", f"/v2/bob/x/blobs/uploads/?mount={digest}&from={source}", headers=who)

    there, nowhere = digest_of(LAYER), digest_of(b"nowhere")
    scopes = ("repository:bob/x:pull,push", "repository:alice/app:pull", "repository:open/app:pull")
    for who in (basic("bob"), token(server, "bob", *scopes)):
        for digest, source in [
            (there, "alice/app"),
            (nowhere, "alice/app"),
            (there, "alice/none"),
            (nowhere, "open/app"),
        ]:
            answer = mount(digest, source, who)
            assert answer.status == 202, (digest, source)
            assert set(answer.headers) - {"x-request-id"} == {
                "date", "docker-distribution-api-version", "x-content-type-options", "location", "range",
                "docker-upload-uuid", "content-length",
            }  # fmt: skip
        assert server.request("HEAD", f"/v2/bob/x/blobs/{there}", headers=who).status == 404
    # A token that is not for a source that may be read: which one would be, whether the blob is there or not.
    for digest in (there, nowhere):
        narrow = mount(digest, "open/app", token(server, "bob", scopes[0]))
        assert (narrow.status, narrow.code) == (401, "DENIED")
        assert f'scope="{scopes[0]} {scopes[2]}",error="insufficient_scope"' in challenge(narrow)
    assert mount(there, "alice/app", token(server, "bob", scopes[0])).status == 202, "nor would another token help"
    unknown = server.request("POST", f"/v2/bob/x/blobs/uploads/?mount={there}&from=open/app")
    assert f'scope="{scopes[0]} {scopes[2]}"' in challenge(unknown)
    assert mount(there, "open/app", token(server, "bob", *scopes)).status == 201
    assert server.request("DELETE", f"/v2/bob/x/blobs/{there}", headers=basic("bob")).status == 202
    # Without a source any repository will do, of those that may be read.
    anywhere = f"/v2/bob/x/blobs/uploads/?mount={there}"
    assert server.request("POST", anywhere, headers=token(server, "bob", *scopes[:2])).status == 202
    assert server.request("POST", anywhere, headers=token(server, "bob", *scopes)).status == 201
    assert server.request("DELETE", f"/v2/bob/x/blobs/{there}", headers=basic("bob")).status == 202
    assert server.request("POST", anywhere, headers=basic("bob")).status == 201
    assert server.request("DELETE", f"/v2/bob/x/blobs/{there}", headers=basic("bob")).status == 202


def test_lists_show_what_may_be_seen(server: RegistryProcess) -> None:
    def catalog(who: dict[str, str] | None, query: str = "") -> Answer:
        return server.request("GET", f"/v2/_catalog{query}", headers=who)

    refused = catalog(None)
    assert refused.status == 401 and 'scope="registry:catalog:*"' in challenge(refused)
    scope = "registry:catalog:*"
    for name, seen in [("alice", ["alice/app", "open/app"]), ("bob", ["open/app"]), ("", ["open/app"])]:
        found = catalog(token(server, name, scope)).json["repositories"]
        assert [one for one in found if not one.startswith("bob/")] == seen
        if name:
            assert catalog(basic(name)).json["repositories"] == found
    first = catalog(basic("alice"), "?n=1")
    assert first.json["repositories"] == ["alice/app"]
    assert catalog(basic("alice"), first.headers["link"].partition("?")[2].partition(">")[0].join(("?", ""))).json[
        "repositories"
    ] == ["open/app"]
    assert server.request("GET", "/v2/open/app/tags/list").json["tags"] == ["1"]


def test_what_is_changed_counts_at_the_next_request(server: RegistryProcess) -> None:
    with administration(server.root) as records:
        records.accounts.add("carol", PASSWORD)
        assert manifest(server, "alice/app", basic("carol")).status == 404
        records.grants.put("carol", "alice/*", ["pull"])
        assert manifest(server, "alice/app", basic("carol")).status == 200
        records.accounts.set_password("carol", "another horse")
        assert manifest(server, "alice/app", basic("carol")).status == 401
        records.accounts.change("carol", disabled=True)
        assert manifest(server, "alice/app", basic("carol", "another horse")).status == 401
        records.accounts.remove("carol")


def test_any_replica_believes_what_another_has_signed(server: RegistryProcess) -> None:
    scope = "repository:alice/app:pull"
    with registry_process(server.root, "--workers", "1", anonymous="read") as other:
        kept = ask_for_token(server, "alice", offline_token="true").json["refresh_token"]
        for here, there in ((server, other), (other, server)):
            assert manifest(there, "alice/app", token(here, "alice", scope)).status == 200
            resumed = form(here, grant_type="refresh_token", refresh_token=kept, scope=scope).json["access_token"]
            assert manifest(there, "alice/app", bearer(resumed)).status == 200
        with administration(server.root) as records:
            records.keys.rotate()
        for here, there in ((server, other), (other, server)):
            assert manifest(there, "alice/app", token(here, "alice", scope)).status == 200


def test_who_guesses_is_held_off(server: RegistryProcess) -> None:
    """One process counts for itself: all requests of one connection come to one."""
    connection = server.connect()
    answers = [
        server.request("GET", "/v2/", headers=basic("mallory", f"guess {number}"), connection=connection)
        for number in range(12)
    ]
    connection.close()
    assert [answer.status for answer in answers[:10]] == [401] * 10
    assert {(answer.status, answer.code) for answer in answers[10:]} == {(429, "TOOMANYREQUESTS")}
    assert int(answers[-1].headers["retry-after"]) > 0
    assert server.request("GET", "/v2/", headers=basic("alice")).status == 200


def test_who_asks_is_what_a_balancer_says(tmp_path: Path) -> None:
    """And what anybody else says of that is not believed."""

    def statuses(server: RegistryProcess, count: int, address: str) -> list[int]:
        headers = {**basic("nobody"), "X-Forwarded-For": address, "X-Forwarded-Proto": "https"}
        return [server.request("GET", "/v2/", headers=headers).status for _ in range(count)]

    for proxies, expected in (("127.0.0.0/8", [401] * 3), ("192.0.2.1", [429] * 3)):
        words = ("--workers", "1", "--set", f"proxies={proxies}")
        with registry_process(tmp_path / proxies.partition("/")[0], *words, anonymous="read") as server:
            assert statuses(server, 11, "203.0.113.1") == [401] * 10 + [429]
            assert statuses(server, 3, "203.0.113.2") == expected
            assert "cais registry user add --admin" in server.log(), "nobody can sign in here"
            answer = server.request("GET", "/v2/", headers={"X-Forwarded-For": "203.0.113.3", "Host": "r.example"})
            assert 'realm="http://r.example/token"' in challenge(answer)


def test_no_secret_is_in_the_log(server: RegistryProcess) -> None:
    """After all of the above, and what can be given in wrong places."""
    secret = "S3cr3t-in-a-strange-place"
    for path in ("/v2/", "/v2/_catalog", "/token"):
        server.request("GET", path, headers={"Authorization": f"Bearer {secret}"})
        server.request("GET", path, headers={"Authorization": f"{secret} x"})
        server.request("GET", path, headers=basic("alice", secret))
        server.request("GET", path, headers=basic(f"{secret}x", "y"))
    form(server, grant_type="password", username="alice", password=secret)
    server.request("GET", f"/token?password={secret}&scope={secret}")
    log = server.log() + (server.root / "log").read_text()
    for text in [PASSWORD, secret, *SECRETS, base64.b64encode(f"alice:{PASSWORD}".encode()).decode(), "eyJ"]:
        assert text not in log
    assert '"who":"alice"' in log.replace(" ", ""), "who it was is in it"


def test_tokens_end(tmp_path: Path) -> None:
    with administration(tmp_path) as records:
        records.accounts.add("alice", PASSWORD)
    with registry_process(tmp_path, "--set", "access.token_lifetime=2s", "--workers", "1", anonymous="none") as server:
        short = token(server, "alice", "repository:alice/app:pull")
        assert manifest(server, "alice/app", short).status == 404
        deadline = time.monotonic() + 20
        while (answer := manifest(server, "alice/app", short)).status != 401:
            assert time.monotonic() < deadline, answer
        assert 'error="invalid_token"' in challenge(answer)
        assert ask_for_token(server, "", "repository:alice/app:pull").status == 401, "nothing is open"


def test_a_new_registry_gets_its_administrator_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    environment = {
        "CAIS_REGISTRY_ACCESS_ADMIN": "root", "CAIS_REGISTRY_ACCESS_ADMIN_PASSWORD_FILE": str(tmp_path / "password"),
        "CAIS_REGISTRY_ACCESS_PUBLIC": "true",
    }  # fmt: skip
    with registry_process(tmp_path / "root", environment=environment, anonymous="read") as server:
        push(server, "team/app", basic("root"))
        assert manifest(server, "team/app").status == 200, "repositories are public here"
    status = os.stat(tmp_path / "root" / "registry.db")
    assert status.st_mode & 0o077 == 0
    with administration(tmp_path / "root") as records:
        records.accounts.set_password("root", "another horse")
    with registry_process(tmp_path / "root", environment=environment, anonymous="read") as server:
        assert server.request("GET", "/v2/", headers=basic("root")).status == 401, "the settings do not set it again"
        assert server.request("GET", "/v2/", headers=basic("root", "another horse")).status == 200


def test_a_connection_without_a_host_is_answered(server: RegistryProcess) -> None:
    connection = http.client.HTTPConnection(server.address, timeout=30)
    connection.putrequest("GET", "/v2/", skip_host=True)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status in (400, 401)
    connection.close()
