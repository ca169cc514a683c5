"""The variables that ``--link`` on the default network gives a container: what Docker's legacy links say. Pure.

https://docs.docker.com/engine/network/links/#environment-variables
"""

from __future__ import annotations

from cais.container.networking import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

# What a build has put into the other container's environment says nothing about it.
_LEFT_OUT = ("HOME", "PATH")


def variables(name: str, alias: str, address: str, exposed: Iterable[str], env: Iterable[str]) -> list[str]:
    """``DB_PORT=tcp://172.17.0.2:5432`` and the others, for the container ``name`` that knows another as ``alias``.

    ``exposed`` (``80/tcp``) and ``env`` are the other's.
    """
    prefix = _prefix(alias)
    ports = sorted(map(_port, exposed), key=lambda port: (port[0], port[1] != "tcp"))
    found = []
    if ports:
        found.append(f"{prefix}_PORT={_url(ports[0], address)}")
    for first, last in _ranges(ports):
        key = _key(prefix, first)
        found += [f"{key}_START={_url(first, address)}", f"{key}_PORT_START={first[0]}"]
        found += [f"{key}_END={_url(last, address)}", f"{key}_PORT_END={last[0]}"]
    for port in ports:
        key = _key(prefix, port)
        found += [f"{key}={_url(port, address)}", f"{key}_ADDR={address}", f"{key}_PORT={port[0]}"]
        found.append(f"{key}_PROTO={port[1]}")
    found.append(f"{prefix}_NAME=/{name}/{alias}")
    found += [f"{prefix}_ENV_{item}" for item in env if "=" in item and item.partition("=")[0] not in _LEFT_OUT]
    return found


def kept(started_with: Iterable[str], plan: Mapping[str, Any]) -> list[str]:
    """Those among the variables that a container has ``started_with``; ``plan`` is its own, as its record keeps it."""
    networks: Sequence[Mapping[str, Any]] = plan.get("networking", {}).get("networks", ())
    links = [text for item in networks if item["network"] == DEFAULT for text in item.get("links", ())]
    prefixes = tuple(_prefix(text.partition(":")[2]) + "_" for text in links)
    return [item for item in started_with if item.startswith(prefixes)] if prefixes else []


def _prefix(alias: str) -> str:
    return alias.upper().replace("-", "_")


def _port(target: str) -> tuple[int, str]:
    number, _, protocol = target.partition("/")
    return int(number), protocol


def _url(port: tuple[int, str], address: str) -> str:
    return f"{port[1]}://{address}:{port[0]}"


def _key(prefix: str, port: tuple[int, str]) -> str:
    return f"{prefix}_PORT_{port[0]}_{port[1].upper()}"


def _ranges(ports: Sequence[tuple[int, str]]) -> list[tuple[tuple[int, str], tuple[int, str]]]:
    """First and last of three or more that follow each other."""
    found, begin = [], 0
    for place in range(1, len(ports) + 1):
        if place == len(ports) or ports[place][0] > ports[place - 1][0] + 1:
            if place - begin > 2:
                found.append((ports[begin], ports[place - 1]))
            begin = place
    return found
