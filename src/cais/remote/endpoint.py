"""Where a registry listens, and how it may be spoken to there. Pure."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple
from cais.spec.reference import DEFAULT_REGISTRY

# Docker's own registry has another host than the name that people give it, and a third one for its credentials.
_ADDRESSES = {DEFAULT_REGISTRY: "registry-1.docker.io"}
HUB_CREDENTIALS = "https://index.docker.io/v1/"


class Endpoint(NamedTuple):
    """``registry`` is the host (and port) of a name, as its credentials are filed; ``address`` the host that answers.

    ``schemes`` are tried in this order until one is understood. ``verify``: whether its certificate is checked.
    """

    registry: str
    address: str
    schemes: tuple[str, ...] = ("https",)
    verify: bool = True

    @property
    def is_private(self) -> bool:
        """Whether plain http is acceptable here, also for credentials."""
        return "http" in self.schemes


class Origin(NamedTuple):
    """Scheme, host and port of a URL: what credentials are bound to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        standard = self.port == (443 if self.scheme == "https" else 80)
        return f"{self.scheme}://{host}" + ("" if standard else f":{self.port}")


def endpoint_of(registry: str, *, insecure: bool = False) -> Endpoint:
    """Of a registry by the host in its names: https; on loopback plain http before it; where the settings name it
    ``insecure``, plain http after it, and any certificate will do.

    On loopback nobody listens in between, and asking over http first costs no TLS; elsewhere TLS is tried first.
    """
    address = _ADDRESSES.get(registry, registry)
    if is_loopback(host_of(address)):
        return Endpoint(registry, address, ("http", "https"), verify=not insecure)
    return Endpoint(registry, address, ("https", "http") if insecure else ("https",), verify=not insecure)


def credentials_key(registry: str) -> str:
    """What Docker files a registry's credentials under."""
    return HUB_CREDENTIALS if registry == DEFAULT_REGISTRY else registry


def host_of(address: str) -> str:
    """Without its port, in lower case; of an IPv6 address without the brackets."""
    host = address
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return host.lower()


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, without port) can only be this machine."""
    if host == "localhost" or host.endswith(".localhost") or host == "::1":
        return True
    numbers = host.split(".")
    return len(numbers) == 4 and numbers[0] == "127" and all(part.isdigit() and int(part) < 256 for part in numbers)


def leads_here(host: str, address: str) -> bool:
    """Whether a registry at ``address``, which is elsewhere, names ``host`` and means this machine: however that is
    written (``127.1``, ``0``, ``::ffff:127.0.0.1``, ``localhost.``)."""
    return _is_here(host) and not _is_here(host_of(address))


def _is_here(host: str) -> bool:
    from _socket import AF_INET6, inet_aton, inet_pton

    if is_loopback(host.removesuffix(".")):
        return True
    try:
        number = inet_pton(AF_INET6, host.partition("%")[0]) if ":" in host else inet_aton(host)
    except OSError:
        return False
    if len(number) == 16:
        number = number.removeprefix(bytes(10) + b"\xff\xff")
    # The address that is none is this machine's, too.
    return number[0] in (0, 127) if len(number) == 4 else number[:15] == bytes(15) and number[15] < 2


def origin_of(url: str) -> Origin:
    """Raises Invalid where ``url`` is no http(s) URL with a host, or has credentials of its own."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise Invalid(f"{url[:200]!r} is no URL")
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid(f"{shown(url)!r} is no http(s) URL")
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"the URL of {host} has credentials in it")
    return Origin(parts.scheme, host, port or (443 if parts.scheme == "https" else 80))


def joined(base: str, location: str) -> str:
    """The URL that a Location of an answer from ``base`` means. Raises Invalid."""
    from urllib.parse import urljoin

    try:
        return urljoin(base, location).partition("#")[0]
    except ValueError:
        raise Invalid(f"{shown(location)!r} is no URL")


def shown(url: str) -> str:
    """A URL for a message: without what stands before an @ and behind a ?, which may be secret."""
    head = url.partition("?")[0]
    scheme, slashes, rest = head.partition("//")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"[:200]
