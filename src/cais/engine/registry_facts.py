"""What ``info`` says of registries and proxies, named as in Docker's."""

from __future__ import annotations

from cais.errors import CaisError
from cais.spec.proxies import proxy_variables
from cais.spec.reference import DEFAULT_REGISTRY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.engine.registries import Registries
    from cais.remote.routes import Rule

# Registries on the loopback are spoken to without certificates.
_INSECURE = ("::1/128", "127.0.0.0/8")


def registry_facts(registries: Registries, environment: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    """``registries.toml`` that cannot be read is one of the ``warnings``: all else is said nevertheless."""
    rules: tuple[Rule, ...] = ()
    try:
        rules = registries.rules
    except CaisError as error:
        warnings.append(error.message)
    hub = _index(DEFAULT_REGISTRY, next((rule for rule in rules if rule.prefix == DEFAULT_REGISTRY), None))
    proxies = proxy_variables(environment)
    others = {rule.prefix: _index(rule.prefix, rule) for rule in rules if "/" not in rule.prefix}
    return {
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "AllowNondistributableArtifactsCIDRs": None,
            "AllowNondistributableArtifactsHostnames": None,
            "InsecureRegistryCIDRs": list(_INSECURE),
            "IndexConfigs": {**others, DEFAULT_REGISTRY: hub},
            "Mirrors": hub["Mirrors"],
        },
        **{field: _masked(proxies.get(name, "")) for field, name in _PROXIES.items()},
    }


_PROXIES = {"HttpProxy": "http_proxy", "HttpsProxy": "https_proxy", "NoProxy": "no_proxy"}


def _index(name: str, rule: Rule | None) -> dict[str, Any]:
    mirrors = rule.mirrors if rule is not None else ()
    return {
        "Name": name,
        "Mirrors": [f"{'http' if mirror.insecure else 'https'}://{mirror.location}/" for mirror in mirrors],
        "Secure": rule is None or not rule.insecure,
        "Official": name == DEFAULT_REGISTRY,
    }


def _masked(value: str) -> str:
    """A proxy without the password that may stand in it."""
    scheme, separator, rest = value.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{separator}xxxxx:xxxxx@{host}" if at else value
