"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: files outside its layers, mounted over them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.errors import Invalid
from cais.spec.named import NamedTuple

PATHS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_RESOLV_LIMIT_BYTES = 1 << 16
HOST_GATEWAY = "host-gateway"
# With the host's own network the host is where we are.
LOCAL_GATEWAY = "127.0.0.1"

_LOOPBACK = (
    "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
)


class NetworkFiles(NamedTuple):
    """The paths of the three files on this host."""

    hosts: str
    hostname: str
    resolv_conf: str

    def binds(self) -> tuple[tuple[str, str], ...]:
        """``(source, target)`` of the bind mounts."""
        return tuple(zip(self, PATHS, strict=True))


def write(
    directory: str,
    *,
    hostname: str,
    network: str,
    extra_hosts: Sequence[str] = (),
    dns: Sequence[str] = (),
    host_resolv_conf: str = "/etc/resolv.conf",
    host_hosts: str = "/etc/hosts",
) -> NetworkFiles:
    """Writes the files into ``directory``. ``extra_hosts`` are ``name:address`` or ``name=address``. Raises Invalid."""
    files = NetworkFiles(*(os.path.join(directory, name) for name in ("hosts", "hostname", "resolv.conf")))
    _write(files.hosts, hosts(hostname, network, extra_hosts, _read(host_hosts) if network == "host" else ""))
    _write(files.hostname, hostname + "\n")
    _write(files.resolv_conf, resolv_conf(_read(host_resolv_conf), network, dns))
    return files


def write_for_step(
    directory: str, *, hostname: str, hosts: Sequence[tuple[str, str]] = (), host_resolv_conf: str = "/etc/resolv.conf"
) -> NetworkFiles:
    """The files of a build step, which says the same on every host. ``hosts`` are (name, address)."""
    files = NetworkFiles(*(os.path.join(directory, name) for name in ("hosts", "hostname", "resolv.conf")))
    lines = [f"127.0.0.1\tlocalhost {hostname}\n", "::1\tlocalhost ip6-localhost ip6-loopback\n"]
    lines += [f"{LOCAL_GATEWAY if address == HOST_GATEWAY else address}\t{name}\n" for name, address in hosts]
    _write(files.hosts, "".join(lines))
    _write(files.hostname, hostname + "\n")
    _write(files.resolv_conf, _read(host_resolv_conf))
    return files


def hosts(hostname: str, network: str, extra_hosts: Sequence[str], host_hosts: str) -> str:
    """The text of /etc/hosts. With the host's network its own file is the start, as in Docker."""
    text = host_hosts if network == "host" and host_hosts else _LOOPBACK
    if text and not text.endswith("\n"):
        text += "\n"
    for item in extra_hosts:
        name, separator, address = item.partition("=" if "=" in item else ":")
        if not separator or not name or not address or any(character.isspace() for character in item):
            raise Invalid(f'invalid argument {item!r} for "--add-host" flag: bad format for add-host: {item!r}')
        if address == HOST_GATEWAY:
            address = LOCAL_GATEWAY
        text += f"{address.strip('[]')}\t{name}\n"
    return text


def resolv_conf(host_text: str, network: str, dns: Sequence[str]) -> str:
    """The text of /etc/resolv.conf: ``dns`` where given, else the host's."""
    if dns:
        kept = [line for line in host_text.splitlines() if line.split()[:1] in (["search"], ["options"])]
        return "\n".join([*(f"nameserver {address}" for address in dns), *kept]) + "\n"
    return host_text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_RESOLV_LIMIT_BYTES)
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(descriptor, 0o644)
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
