"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container: files outside its layers, mounted over them."""

from __future__ import annotations

import os

from cais.host.files import write_all
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATHS = ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
_RESOLV_LIMIT_BYTES = 1 << 16
HOST_GATEWAY = "host-gateway"
# With the host's own network the host is where we are.
LOCAL_GATEWAY = "127.0.0.1"
# Docker's, for a host that has none but its own.
_PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4")
_SYSTEMD_STUB = "nameserver 127.0.0.53"
_SYSTEMD_RESOLV_CONF = "/run/systemd/resolve/resolv.conf"

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


class Resolver(NamedTuple):
    """``servers`` are asked instead of the host's; with ``own`` the name servers of its networks are. ``search`` with
    ``.`` alone is no domain. ``asks_host``: the host's come after ``own``."""

    servers: Sequence[str] = ()
    own: Sequence[str] = ()
    search: Sequence[str] = ()
    options: Sequence[str] = ()
    asks_host: bool = False


_HOSTS_OWN = Resolver()


def write(
    directory: str,
    *,
    hostname: str,
    network: str,
    domainname: str = "",
    extra_hosts: Sequence[tuple[str, str]] = (),
    addresses: Sequence[str] = (),
    links: Sequence[tuple[str, str]] = (),
    resolver: Resolver = _HOSTS_OWN,
    host_resolv_conf: str = "/etc/resolv.conf",
    host_hosts: str = "/etc/hosts",
) -> NetworkFiles:
    """Writes the files into ``directory``.

    ``extra_hosts`` are (name, address), ``links`` (address, names); ``addresses`` are the container's own.
    """
    files = opened(directory)
    host = _read(host_hosts) if network == "host" else ""
    own = "" if network == "host" else own_lines(hostname, domainname, addresses)
    _write(files.hosts, hosts(network, extra_hosts, host, links) + own)
    _write(files.hostname, hostname + "\n")
    write_resolver(directory, network, resolver, host_resolv_conf)
    return files


def write_resolver(
    directory: str, network: str, resolver: Resolver, host_resolv_conf: str = "/etc/resolv.conf"
) -> None:
    """/etc/resolv.conf alone. The file stays the same one: it may be mounted already."""
    text = _read(host_resolv_conf)
    if network != "host" and _SYSTEMD_STUB in text:
        text = _read(_SYSTEMD_RESOLV_CONF) or text  # what stands behind its server on the loopback
    _write(opened(directory).resolv_conf, resolv_conf(text, network, resolver))


def change_hosts(directory: str, more: str, without: Sequence[str]) -> None:
    """Adds lines to /etc/hosts, and takes those of some addresses away. The file stays the same one."""
    path = opened(directory).hosts
    if os.stat(path).st_size > _RESOLV_LIMIT_BYTES:
        return  # the container has made a list of its own
    kept = [line for line in _read(path).splitlines(keepends=True) if line.split("\t")[0] not in without]
    _write(path, "".join(kept) + more)


def opened(directory: str) -> NetworkFiles:
    """The files that were written into ``directory``."""
    return NetworkFiles(*(os.path.join(directory, name) for name in ("hosts", "hostname", "resolv.conf")))


def own_lines(hostname: str, domainname: str, addresses: Sequence[str]) -> str:
    """The lines of /etc/hosts for a container itself."""
    names = hostname if not domainname else f"{hostname}.{domainname}"
    short = hostname.partition(".")[0]
    if short != names:
        names += f" {short}"
    return "".join(f"{address}\t{names}\n" for address in addresses)


def write_for_step(
    directory: str,
    *,
    hostname: str,
    hosts: Sequence[tuple[str, str]] = (),
    gateway: str = "",
    host_resolv_conf: str = "/etc/resolv.conf",
) -> NetworkFiles:
    """The files of a build step, which says the same on every host. ``hosts`` are (name, address).

    ``gateway`` is the host seen from a network of the step's own; "" where it has none.
    """
    files = opened(directory)
    lines = [f"127.0.0.1\tlocalhost {hostname}\n", "::1\tlocalhost ip6-localhost ip6-loopback\n"]
    host = gateway or LOCAL_GATEWAY
    lines += [f"{host if address == HOST_GATEWAY else address}\t{name}\n" for name, address in hosts]
    _write(files.hosts, "".join(lines))
    _write(files.hostname, hostname + "\n")
    if gateway:
        write_resolver(directory, "none", _HOSTS_OWN, host_resolv_conf)
    else:
        _write(files.resolv_conf, _read(host_resolv_conf))
    return files


def hosts(
    network: str, extra_hosts: Sequence[tuple[str, str]], host_hosts: str, links: Sequence[tuple[str, str]] = ()
) -> str:
    """The text of /etc/hosts. With the host's network its own file is the start, as in Docker."""
    text = host_hosts if network == "host" and host_hosts else _LOOPBACK
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(f"{address}\t{names}\n" for address, names in links)
    return text + "".join(f"{address}\t{name}\n" for name, address in extra_hosts)


def resolv_conf(host_text: str, network: str, resolver: Resolver = _HOSTS_OWN) -> str:
    """The text of /etc/resolv.conf: the host's, with what the container has of its own in its place.

    A server on the host's loopback cannot be reached from another network: without any other, Docker's stand in.
    """
    lines = [line.split() for line in host_text.splitlines()]
    servers = list(resolver.servers or (words[1] for words in lines if words[:1] == ["nameserver"] and words[1:]))
    if network != "host" and not resolver.servers:
        servers = [item for item in servers if not _is_loopback(item)] or list(_PUBLIC_SERVERS)
    if resolver.own:
        servers = [*resolver.own, *(servers if resolver.asks_host else ())]
    search = list(resolver.search or _last(lines, ("search", "domain")))
    options = list(resolver.options or _last(lines, ("options",)))
    if resolver.own and not any(item.startswith("ndots:") for item in options):
        options.append("ndots:0")
    text = "".join(f"nameserver {item}\n" for item in servers)
    if search and search != ["."]:
        text += f"search {' '.join(search)}\n"
    return text + (f"options {' '.join(options)}\n" if options else "")


def _last(lines: Sequence[Sequence[str]], words: Sequence[str]) -> Sequence[str]:
    found = [line[1:] for line in lines if line and line[0] in words]
    return found[-1] if found else ()


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


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
        write_all(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)
