"""Credentials of registries, as Docker keeps them: ``config.json`` and programs called ``docker-credential-*``."""

from __future__ import annotations

from cais.spec.named import NamedTuple


class Login(NamedTuple):
    """A user and a password, or an identity token (OAuth2). Shows neither."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    # Given to the registry as it is, without asking a token server.
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r}, ...)" if self.username else "Login(...)"
