"""Registries: the wiring of what is remote. Settings and environment come from the door, as values."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.errors import CaisError
from cais.remote.credentials import CredentialFile, Login
from cais.remote.endpoint import Endpoint, endpoint_of
from cais.remote.mirrored import Mirrored
from cais.remote.registry import Registry
from cais.remote.routes import Route, Rule, is_insecure, read_rules, require_open, routes
from cais.remote.transport import Transport
from cais.spec.proxies import proxy_variables
from cais.spec.reference import DEFAULT_REGISTRY, Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.remote.listing import Found

SYSTEM_DIRECTORIES = ("/etc/cais", "/etc/docker")
FILE_NAME = "registries.toml"
_MOST_WARNINGS = 10


class Registries:
    """All registries that one command speaks to; each has one Transport. Close it at the end.

    ``environment`` is that of the process: HOME, XDG_CONFIG_HOME, DOCKER_CONFIG, DOCKER_AUTH_CONFIG, PATH and the
    variables of proxies. ``logins`` come before what is stored there. ``system`` are directories of the host with
    ``certs.d``, the first of them with ``registries.toml``. Methods raise Invalid where a file of settings cannot be
    understood.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        logins: Mapping[str, Login] | None = None,
        system: tuple[str, ...] = SYSTEM_DIRECTORIES,
    ) -> None:
        self._logins = dict(logins or {})
        home = environment.get("HOME", "")
        config = environment.get("XDG_CONFIG_HOME", "")
        own = os.path.join(config if os.path.isabs(config) else os.path.join(home, ".config"), "cais")
        mine = (own,) if home or os.path.isabs(config) else ()
        self._certificates = [os.path.join(directory, "certs.d") for directory in (*mine, *system)]
        self._rule_files = [os.path.join(directory, FILE_NAME) for directory in (*mine, *system[:1])]
        docker = environment.get("DOCKER_CONFIG", "") or (os.path.join(home, ".docker") if home else "")
        self.credentials = CredentialFile(
            docker, environment.get("PATH", ""), environment.get("DOCKER_AUTH_CONFIG", "")
        )
        self._proxies = proxy_variables(environment)
        self._rules: tuple[Rule, ...] | None = None
        self._transports: dict[tuple[str, bool], Transport] = {}
        self._warnings: dict[str, None] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What registries have warned of, each once, for the user to read."""
        return tuple(self._warnings)

    def repository(self, reference: Reference, *, pushing: bool = False, insecure: bool = False) -> Registry:
        """The repository of a name, behind its mirrors. Nothing is sent before something is asked of it.

        ``insecure``: plain http and any certificate will do, whatever the settings say. Raises Denied where these block
        it.
        """
        places = [
            Registry(self._to(route._replace(insecure=route.insecure or insecure)), route.repository, pushing=pushing)
            for route in routes(self.rules, reference, pushing=pushing)
        ]
        return Mirrored(places[-1], places[:-1]) if len(places) > 1 else places[0]

    def transport(self, registry: str) -> Transport:
        """To a registry itself, by the host in its names."""
        route = Route(registry, "x")
        return self._to(route._replace(insecure=is_insecure(self.rules, route)))

    def check(self, registry: str, login: Login) -> Login:
        """Whether a registry lets somebody in, and what is to be kept of it: an identity token rather than a password,
        where there is one. Raises Unauthorized, Unavailable, ..."""
        route = Route(registry, "x")
        transport = self._made(route._replace(insecure=is_insecure(self.rules, route)), login)
        try:
            identity_token = transport.ping()
        finally:
            transport.close()
        return Login(login.username, identity_token=identity_token) if identity_token else login

    def user(self, registry: str) -> str:
        """Who is logged in there, for a hint; "" where that cannot be found out."""
        try:
            login = self._logins.get(registry) or self.credentials.get(registry)
        except CaisError:
            return ""
        return "" if login is None else login.username

    def search(self, registry: str, term: str, limit: int = 25) -> list[Found]:
        """What a registry finds for a term. Raises Invalid, Unavailable, Unsupported, Blocked."""
        from cais.remote.listing import search

        require_open(self.rules, registry)
        if registry != DEFAULT_REGISTRY:
            return search(self.transport(registry), term, limit)
        # Docker's own registry is searched at the host of its index.
        transport = self._transport(endpoint_of(registry)._replace(address="index.docker.io"))
        try:
            return search(transport, term, limit)
        finally:
            transport.close()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Of the user's and the system's ``registries.toml``."""
        if self._rules is None:
            self._rules = read_rules(self._rule_files)
        return self._rules

    def close(self) -> None:
        """Connections end; whoever asks again has new ones, and reads credentials anew."""
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def _to(self, route: Route) -> Transport:
        key = (route.registry, route.insecure)
        if key not in self._transports:
            self._transports[key] = self._made(route)
        return self._transports[key]

    def _made(self, route: Route, login: Login | None = None) -> Transport:
        return self._transport(endpoint_of(route.registry, insecure=route.insecure), login)

    def _transport(self, endpoint: Endpoint, login: Login | None = None) -> Transport:
        registry = endpoint.registry
        return Transport(
            endpoint,
            lambda: login or self._logins.get(registry) or self.credentials.get(registry),
            certificates=self._certificates,
            proxies=self._proxies,
            offline=login is not None,
            warned=lambda text: self._warned(f"{registry}: {text}"),
        )

    def _warned(self, line: str) -> None:
        if len(self._warnings) < _MOST_WARNINGS:
            self._warnings[line] = None
