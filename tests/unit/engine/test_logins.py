"""Logging in and out, and searching, at real registries."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.engine import Engine, Settings
from cais.engine.logins import registry_of
from cais.errors import Invalid, Unauthorized, Unavailable
from image_hosts import Host
from registry_servers import PASSWORD, USER, Server

pytestmark = pytest.mark.root


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Of a user with a directory of its own for what Docker's client keeps."""
    with Engine(Settings(str(tmp_path / "root"), driver="copies"), {"DOCKER_CONFIG": str(tmp_path / "docker")}) as made:
        yield made


def test_in_and_out(engine: Engine, private_registry: Server, tmp_path: Path) -> None:
    address = private_registry.address
    with pytest.raises(Unauthorized):
        engine.logins.login(address, USER, "wrong")
    assert not (tmp_path / "docker/config.json").exists()
    assert engine.logins.login(address, USER, PASSWORD) == ""
    assert engine.logins.file == str(tmp_path / "docker/config.json")
    assert (tmp_path / "docker/config.json").stat().st_mode & 0o777 == 0o600
    assert list(json.loads((tmp_path / "docker/config.json").read_text())["auths"]) == [address]
    assert engine.logins.user(f"http://{address}/v2/") == USER
    engine.logins.check(address)
    assert engine.logins.logout(address)
    assert engine.logins.user(address) == ""
    assert not engine.logins.logout(address)


def test_who_is_logged_in_pushes_and_pulls(here: Host, engine: Engine, private_registry: Server) -> None:
    name = f"{private_registry.address}/app:1"
    with pytest.raises(Unauthorized, match=r"^pull access denied for .*/app, repository does not exist or may require"):
        engine.images.pull(name)
    target = Host.__new__(Host)
    target.engine, target.stores = engine, engine._stores
    target.image(name, {"a": b"a"})
    with pytest.raises(Unauthorized, match=r"^unauthorized: authentication required$") as raised:
        engine.images.push(name)
    assert raised.value.hint == f"Log in: cais login {private_registry.address}"
    engine.logins.login(private_registry.address, USER, PASSWORD)
    assert engine.images.push(name)[0].digest == engine.images.pull(name)[0].digest
    engine.logins.logout(private_registry.address)
    with pytest.raises(Unauthorized):
        engine.images.pull(name)


def test_who_is_logged_in_is_not_told_to_log_in(engine: Engine, private_registry: Server, tmp_path: Path) -> None:
    address = private_registry.address
    entry = {"auth": b64encode(f"{USER}:wrong".encode()).decode()}
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text(json.dumps({"auths": {address: entry}}))
    with pytest.raises(Unauthorized) as raised:
        engine.images.pull(f"{address}/app:1")
    assert raised.value.hint == f"You are logged in as {USER}. As somebody else: cais login {address}"


@pytest.mark.parametrize(("username", "password"), [("", "x"), ("x", "")])
def test_nothing_is_nobody(engine: Engine, username: str, password: str) -> None:
    with pytest.raises(Invalid, match="is empty"):
        engine.logins.login("localhost:1", username, password)


def test_nobody_is_there(engine: Engine) -> None:
    with pytest.raises(Unavailable, match="connection refused"):
        engine.logins.login("localhost:1", "ada", "x")


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://example.org/v2/", "example.org"),
        ("localhost:5000", "localhost:5000"),
        ("localhost", "localhost"),
        ("quay", "quay"),
    ],
)
def test_servers_as_people_write_them(text: str, registry: str) -> None:
    assert registry_of(text) == registry


@pytest.mark.parametrize("text", ["a b", "-x", "ada@example.org", "example.org:port", "[::1"])
def test_servers_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match=r"is no registry's host"):
        registry_of(text)


def test_search_goes_by_the_catalog_where_there_is_no_better(here: Host, repository: str) -> None:
    here.image(f"{repository}:1", {"a": b"a"})
    here.push(f"{repository}:1")
    assert [item.name for item in here.engine.search(repository)] == [repository]
    assert here.engine.search(repository, {"is-official": ["true"]}) == []
    assert here.engine.search(f"{repository}-nothing") == []


@pytest.mark.parametrize("filters", [{"color": ["red"]}, {"stars": ["many"]}, {"is-official": ["perhaps"]}])
def test_filters_that_are_none(here: Host, filters: dict[str, list[str]]) -> None:
    with pytest.raises(Invalid, match=r"^invalid filter '"):
        here.engine.search("localhost:1/x", filters)
    with pytest.raises(Invalid, match=r"^limit 101 is outside the range of \[1, 100\]$"):
        here.engine.search("localhost:1/x", limit=101)
