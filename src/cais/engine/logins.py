"""Who this user is at registries: logging in and out. Credentials are kept where Docker keeps them."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import Invalid
from cais.spec.reference import DEFAULT_REGISTRY, Reference

_HUB = frozenset(("", "docker.io", "index.docker.io", "registry-1.docker.io"))


class Logins:
    """Of the user whose environment the engine was given."""

    def __init__(self, stores: Stores) -> None:
        self._registries = stores.registries

    @property
    def file(self) -> str:
        """Where credentials are written to, but for those that a program keeps."""
        return self._registries.credentials.path

    def user(self, server: str = "") -> str:
        """Who is logged in, or "". Raises Unavailable or Failed (a program that keeps credentials), Invalid."""
        login = self._registries.credentials.get(registry_of(server))
        return login.username if login is not None else ""

    def login(self, server: str, username: str, password: str) -> str:
        """Asks the registry whether it knows somebody, and keeps that. ``server`` "" is Docker's own.

        Returns the program that keeps it, or "" where it is written to ``file``, unencrypted. Raises Unauthorized,
        Unavailable, Invalid.
        """
        from cais.remote.credentials import Login

        if not username:
            raise Invalid("username is empty")
        if not password:
            raise Invalid("password is empty")
        registry = registry_of(server)
        login = Login(username, password)
        program = self._registries.credentials.store(registry, self._registries.check(registry, login))
        self._registries.close()
        return program

    def check(self, server: str) -> None:
        """Asks the registry whether it knows who is logged in. Raises Unauthorized, Unavailable."""
        registry = registry_of(server)
        login = self._registries.credentials.get(registry)
        if login is not None:
            self._registries.check(registry, login)

    def logout(self, server: str = "") -> bool:
        """Forgets who it was; False where nobody was logged in. Raises Unavailable, Failed, Denied."""
        was_there = self._registries.credentials.erase(registry_of(server))
        self._registries.close()
        return was_there


def registry_of(server: str) -> str:
    """The host of a registry as people write it: with a scheme, with a path, or not. Raises Invalid."""
    host = server.strip()
    for scheme in ("https://", "http://"):
        host = host.removeprefix(scheme)
    host = host.partition("/")[0]
    if host in _HUB:
        return DEFAULT_REGISTRY
    # A host alone needs a dot or a port to be told from the beginning of a name.
    named = host if "." in host or ":" in host or host == "localhost" else f"{host}:443"
    try:
        Reference.parse(f"{named}/x")
    except Invalid:
        raise Invalid(f"{server[:200]!r} is no registry's host")
    return host
