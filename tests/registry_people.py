"""People, robots and repositories of a registry for tests, put into its records before or while it serves."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

from cais.catalog.administration import Administration
from cais.catalog.settings import CatalogSettings
from registry_process import Answer, RegistryProcess

PASSWORD = "correct horse battery"


@contextmanager
def administration(root: Path) -> Iterator[Administration]:
    with Administration.open(CatalogSettings(str(root))) as opened:
        yield opened


def basic(name: str, secret: str = PASSWORD) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask_for_token(server: RegistryProcess, name: str, *scopes: str, secret: str = PASSWORD, **more: str) -> Answer:
    """``name`` "": nobody."""
    query = urlencode([("service", "cais-registry"), *(("scope", scope) for scope in scopes), *more.items()])
    return server.request("GET", f"/token?{query}", headers=basic(name, secret) if name else None)


def token(server: RegistryProcess, name: str, *scopes: str, secret: str = PASSWORD) -> dict[str, str]:
    """The header of a token for ``scopes``, as far as they are allowed."""
    answer = ask_for_token(server, name, *scopes, secret=secret)
    assert answer.status == 200, answer
    return bearer(json.loads(answer.body)["token"])


def form(server: RegistryProcess, **fields: str) -> Answer:
    """The token endpoint's OAuth 2 form."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.request("POST", "/token", urlencode({"service": "cais-registry", **fields}), headers)
