"""The proxy of a URL, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case. Pure."""

from __future__ import annotations

from collections.abc import Mapping

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def proxy_variables(*places: Mapping[str, str]) -> dict[str, str]:
    """The variables in lower case; an earlier place wins over a later one."""
    found: dict[str, str] = {}
    for place in places:
        for name in NAMES:
            value = place.get(name.lower()) or place.get(name)
            if value:
                found.setdefault(name.lower(), value)
    return found


def proxy_of(url: str, variables: Mapping[str, str]) -> str:
    """The URL of the proxy, or "". ``variables`` are those of ``proxy_variables``."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    proxy = variables.get(f"{parts.scheme}_proxy") or variables.get("all_proxy", "")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if not proxy or _is_excepted(parts.hostname or "", port, variables.get("no_proxy", "")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """A name excepts itself and what is below it; ``*`` all; an address or a network of them itself. With a port, only
    that one. This machine needs no proxy to reach itself."""
    import ipaddress

    host = host.lower().rstrip(".")
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address | None = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for text in exceptions.split(","):
        item = text.strip().lower()
        if item == "*":
            return True
        if address is not None:
            try:
                if address in ipaddress.ip_network(item.strip("[]"), strict=False):
                    return True
            except (ValueError, TypeError):
                pass
        name, colon, number = item.rpartition(":")
        if colon and number.isdigit() and "]" not in number:
            if int(number) != port:
                continue
            item = name
        item = item.strip("[]").removeprefix("*").strip(".")
        if item and (host == item or (address is None and host.endswith("." + item))):
            return True
    return False
