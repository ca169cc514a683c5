"""Passwords are checked beside the rest: who guesses does not keep others from what they have a token for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from cais.catalog.attempts import TooManyAttempts
from cais.catalog.catalog import Catalog, prepare
from cais.catalog.scopes import parse
from cais.catalog.settings import AccessSettings, CatalogSettings
from cais.registry.application import Application
from cais.registry.sign_ins import SignIns
from cais.registry.threads import Threads
from registry_people import PASSWORD, administration, basic

_PATIENCE_SECONDS = 30


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    settings = CatalogSettings(str(tmp_path), access=AccessSettings())
    prepare(settings)
    with administration(tmp_path) as records:
        records.accounts.add("alice", PASSWORD)
    opened = Catalog.open(settings)
    yield opened
    opened.close()


async def status(application: Application, method: str, path: str, authorization: str) -> int:
    """That of the answer."""
    found: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        found.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "method": method, "scheme": "http", "raw_path": path.encode(), "path": path,
        "query_string": b"",
        "headers": [(b"authorization", authorization.encode()), (b"content-length", b"0")], "client": ("192.0.2.1", 1),
    }  # fmt: skip
    await application(scope, receive, send)
    return int(found[0]["status"])


def test_a_token_goes_on_while_passwords_are_guessed(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    access = catalog.access
    who = access.identify(basic("alice")["Authorization"])
    token = "Bearer " + access.issue(who, parse(["repository:alice/app:pull,push"]))[0].token
    release, begun = threading.Event(), threading.Semaphore(0)

    def slow(name: str, password: str, kept: str, address: str) -> bool:
        begun.release()
        release.wait(_PATIENCE_SECONDS)
        return False

    monkeypatch.setattr(access._passwords, "right", slow)

    async def play() -> None:
        with closing(Threads(2, "catalog")) as threads:
            application = Application(catalog, threads)
            guesses = [
                asyncio.ensure_future(
                    status(
                        application,
                        "POST",
                        "/v2/alice/app/blobs/uploads/",
                        basic("alice", str(number))["Authorization"],
                    )
                )
                for number in range(10)
            ]
            guesses.append(
                asyncio.ensure_future(status(application, "GET", "/token", basic("alice", "x")["Authorization"]))
            )
            while not begun.acquire(blocking=False):
                await asyncio.sleep(0.001)
            try:
                upload = status(application, "POST", "/v2/alice/app/blobs/uploads/", token)
                assert await asyncio.wait_for(upload, _PATIENCE_SECONDS / 2) == 202
                assert not any(guess.done() for guess in guesses)
            finally:
                release.set()
            assert set(await asyncio.gather(*guesses)) == {401}

    asyncio.run(play())


def test_who_was_right_before_does_not_wait_for_guesses(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred requests at once with a password that is known, and with the secret of a robot."""
    with administration(Path(catalog.settings.root)) as records:
        secret = records.robots.create("ci", [], lasts_seconds=None)
    catalog.access.identify(basic("alice")["Authorization"])
    monkeypatch.setattr("cais.registry.sign_ins._WAITING_LIMIT", 0)

    async def play() -> None:
        with closing(Threads(2, "catalog")) as threads:
            application = Application(catalog, threads)
            for path in ("/v2/", "/token"):
                for who in (basic("alice"), basic("ci", secret)):
                    asked = [status(application, "GET", path, who["Authorization"]) for _ in range(75)]
                    assert set(await asyncio.gather(*asked)) == {200}
                assert await status(application, "GET", path, basic("alice", "guess")["Authorization"]) == 429

    asyncio.run(play())


def test_a_crowd_is_turned_away() -> None:
    async def play() -> None:
        sign_ins, release = SignIns(), threading.Event()
        waiting = [asyncio.ensure_future(sign_ins.run(release.wait, _PATIENCE_SECONDS)) for _ in range(100)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAttempts):
            await sign_ins.run(release.wait, _PATIENCE_SECONDS)
        release.set()
        assert all(await asyncio.gather(*waiting))
        assert await sign_ins.run(lambda: "again") == "again"

    asyncio.run(play())
