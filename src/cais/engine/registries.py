"""Registries: the wiring of what is remote. Settings and environment come from the door, as values."""

from __future__ import annotations

from collections.abc import Mapping

from cais.remote.credentials import Login
from cais.remote.endpoint import endpoint_of
from cais.remote.registry import Registry
from cais.remote.transport import Transport
from cais.spec.reference import Reference


class Registries:
    """All registries that one command speaks to; each has one Transport. Close it at the end.

    ``environment`` is that of the process: DOCKER_CONFIG, HOME, proxies. ``logins`` come before what is stored there.
    """

    def __init__(self, environment: Mapping[str, str], logins: Mapping[str, Login] | None = None) -> None:
        self._environment = environment
        self._logins = dict(logins or {})
        self._transports: dict[str, Transport] = {}

    def repository(self, reference: Reference, *, pushing: bool = False) -> Registry:
        """The repository of a name, at its registry. Nothing is sent before something is asked of it."""
        return Registry(self.transport(reference.registry), reference.repository, pushing=pushing)

    def transport(self, registry: str) -> Transport:
        """To a registry, by the host in its names."""
        if registry not in self._transports:
            self._transports[registry] = Transport(endpoint_of(registry), lambda: self._logins.get(registry))
        return self._transports[registry]

    def close(self) -> None:
        for transport in self._transports.values():
            transport.close()
