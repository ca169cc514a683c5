"""Docker's config.json and credential helpers."""

from __future__ import annotations

import base64
import json
import os
import stat
import threading
from pathlib import Path

import pytest

from cais.errors import CaisError, Failed, Invalid, Unavailable
from cais.remote.credentials import CredentialFile, Login

SECRET = "hunter2:with:colons"
HUB = "https://index.docker.io/v1/"

# A credential helper that keeps a JSON object in a file beside it, and notes how it was called.
HELPER = """#!/bin/sh
cd "$(dirname "$0")"
echo "$1" >> calls
case $1 in
get) read -r url || true
     [ -e "store" ] && grep -q "\\"$url\\"" store || { echo "credentials not found in native keychain"; exit 1; }
     cat store;;
store) cat > store;;
erase) cat > /dev/null; rm -f store;;
list) [ -e store ] && echo '{"https://index.docker.io/v1/":"ada"}' || echo '{}';;
esac
"""


def file(directory: Path, fields: object = None, **more: str) -> CredentialFile:
    if fields is not None:
        (directory / "config.json").write_text(json.dumps(fields))
    return CredentialFile(str(directory), **more)


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.fixture
def helper(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    program = directory / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    return directory


def test_there_need_not_be_a_file(tmp_path: Path) -> None:
    assert file(tmp_path / "nowhere").get("localhost:5000") is None
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        (HUB, "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io/v1/", "docker.io"),
        ("reg.test:5000", "reg.test:5000"),
        ("https://reg.test:5000", "reg.test:5000"),
        ("https://reg.test:5000/v2/", "reg.test:5000"),
        ("REG.test", "reg.test"),
    ],
)
def test_keys_that_mean_a_registry(tmp_path: Path, key: str, registry: str) -> None:
    found = file(tmp_path, {"auths": {key: auth(f"ada:{SECRET}")}})
    assert found.get(registry) == Login("ada", SECRET)
    assert found.get("other.test") is None
    assert found.get("reg.test:5001") is None


def test_tokens(tmp_path: Path) -> None:
    entry = auth("ada:") | {"identitytoken": SECRET}
    assert file(tmp_path, {"auths": {"reg.test": entry}}).get("reg.test") == Login("ada", "", SECRET)
    entry = {"registrytoken": SECRET}
    assert file(tmp_path, {"auths": {"reg.test": entry}}).get("reg.test") == Login(registry_token=SECRET)


@pytest.mark.parametrize(
    "content",
    [
        b"not JSON " + SECRET.encode(),
        b'["%s"]' % SECRET.encode(),
        b'{"auths": ["%s"]}' % SECRET.encode(),
        b'{"auths": {"reg.test": "%s"}}' % SECRET.encode(),
        b'{"auths": {"reg.test": {"auth": "%s!"}}}' % SECRET.encode(),
        b'{"auths": {"reg.test": {"auth": "%s"}}}' % base64.b64encode(b"no colon").strip(),
        b'{"auths": {"reg.test": {"auth": 7, "password": "%s"}}}' % SECRET.encode(),
        b'{"credsStore": "../evil"}',
        b'{"credsStore": "x", "credsStore": "x"}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_understood_is_said_without_its_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(Invalid) as raised:
        file(tmp_path).get("reg.test")
    assert "hunter2" not in raised.value.message + raised.value.hint
    assert raised.value.__cause__ is None or "hunter2" not in str(raised.value.__cause__)


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("\n")
    assert file(tmp_path).get("reg.test") is None


def test_login_and_logout(tmp_path: Path) -> None:
    kept = file(tmp_path, {"currentContext": "x", "auths": {"other.test": auth("a:b")}, "unknown": [1, {"x": "ü"}]})
    (tmp_path / "config.json").chmod(0o644)
    assert kept.store("docker.io", Login("ada", SECRET)) == ""
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    fields = json.loads((tmp_path / "config.json").read_text())
    assert fields["auths"][HUB] == auth(f"ada:{SECRET}")
    assert (fields["currentContext"], fields["unknown"]) == ("x", [1, {"x": "ü"}])
    assert kept.get("docker.io") == Login("ada", SECRET)
    assert kept.registries() == ["other.test", HUB]
    assert kept.erase("docker.io")
    assert not kept.erase("docker.io")
    assert kept.get("docker.io") is None
    assert kept.get("other.test") == Login("a", "b")


def test_an_identity_token_is_kept_without_a_password(tmp_path: Path) -> None:
    kept = file(tmp_path)
    kept.store("reg.test", Login("ada", "password", "identity"))
    assert kept.get("reg.test") == Login("ada", "", "identity")
    assert base64.b64encode(b"ada:password").decode() not in (tmp_path / "config.json").read_text()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "docker.json").write_text("{}")
    (tmp_path / "config.json").symlink_to("real/docker.json")
    file(tmp_path).store("reg.test", Login("ada", SECRET))
    assert (tmp_path / "config.json").is_symlink()
    assert "reg.test" in (tmp_path / "real" / "docker.json").read_text()


def test_many_logins_at_once_lose_none(tmp_path: Path) -> None:
    kept = file(tmp_path)
    threads = [
        threading.Thread(target=lambda number=number: kept.store(f"reg{number}.test", Login("u", f"p{number}")))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [kept.get(f"reg{number}.test") for number in range(12)] == [Login("u", f"p{number}") for number in range(12)]


def test_a_helper_keeps_them(tmp_path: Path, helper: Path) -> None:
    path = f"{helper}:{os.environ['PATH']}"
    kept = file(
        tmp_path, {"credsStore": "test", "auths": {"https://index.docker.io": auth("old:one")}}, search_path=path
    )
    assert kept.get("docker.io") is None  # the store's word is the last
    assert kept.store("docker.io", Login("ada", SECRET)) == "docker-credential-test"
    assert SECRET not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["auths"] == {HUB: {}}
    assert kept.get("docker.io") == Login("ada", SECRET)
    assert kept.registries() == [HUB]
    assert kept.erase("docker.io")
    assert kept.get("docker.io") is None
    assert not (helper / "store").exists()


def test_a_helper_of_one_registry(tmp_path: Path, helper: Path) -> None:
    path = f"{helper}:{os.environ['PATH']}"
    fields = {"credHelpers": {"reg.test": "test"}, "auths": {"other.test": auth("a:b")}}
    kept = file(tmp_path, fields, search_path=path)
    kept.store("reg.test", Login("", "", "identity"))
    assert kept.get("reg.test") == Login(identity_token="identity")
    assert kept.get("other.test") == Login("a", "b")
    assert (helper / "calls").read_text().split() == ["store", "get"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("echo no keychain today; exit 1", Failed),
        (f'echo \'{{"Secret":"{SECRET}"}}\'; exit 1', Failed),
        (f'echo \'{{"Secret":"{SECRET}"}}\'', Failed),
        (f"echo '{SECRET}'", Failed),
        ("head -c 3000000 /dev/zero | tr '\\0' x", Failed),
        ("kill -9 $$", Failed),
    ],
)
def test_helpers_that_fail(tmp_path: Path, helper: Path, body: str, kind: type[CaisError]) -> None:
    (helper / "docker-credential-test").write_text(f"#!/bin/sh\n{body}\n")
    kept = file(tmp_path, {"credsStore": "test"}, search_path=f"{helper}:{os.environ['PATH']}")
    with pytest.raises(kind) as raised:
        kept.get("docker.io")
    assert "hunter2" not in raised.value.message


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"docker-credential-gone.*executable file not found"):
        file(tmp_path, {"credsStore": "gone"}).get("docker.io")


def test_credentials_from_a_variable(tmp_path: Path) -> None:
    text = json.dumps({"auths": {"reg.test": auth("ada:env")}})
    kept = file(tmp_path, {"auths": {"reg.test": auth("ada:file"), "other.test": auth("a:b")}}, text=text)
    assert kept.get("reg.test") == Login("ada", "env")
    assert kept.get("other.test") == Login("a", "b")


def test_nothing_secret_is_shown() -> None:
    for login in (Login("ada", SECRET), Login("", SECRET), Login("ada", "", SECRET), Login(registry_token=SECRET)):
        assert "hunter2" not in f"{login!r} {login!s} {[login]}"
