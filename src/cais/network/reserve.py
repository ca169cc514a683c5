"""Ports of the host: whether one is free, kept from others while a container has it, and who has it if it is not."""

from __future__ import annotations

import errno
import os

from cais.network.addresses import AF_INET, AF_INET6, parse_address

_SOCKET_KINDS = {"tcp": 1, "udp": 2, "sctp": 1}
_SCTP = 132
_EPHEMERAL = (49153, 65535)


def bind(protocol: str, host_ip: str, port: int) -> int:
    """A socket bound there, as a descriptor: nobody else can bind it while that is open. Raises OSError.

    It does not listen: what the firewall does not send on to the container is refused, as if nothing were there.
    """
    import _socket

    family = parse_address(host_ip).family
    found = _socket.socket(family, _SOCKET_KINDS[protocol] | _socket.SOCK_CLOEXEC, _SCTP if protocol == "sctp" else 0)
    try:
        if family == AF_INET6:
            found.setsockopt(41, 26, 1)  # IPV6_V6ONLY: the other family is bound by itself
        try:
            found.bind((host_ip, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or protocol == "udp":
                raise
            # Connections that ended a moment ago are no owner: with this option only one who listens is.
            found.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            found.bind((host_ip, port))
            if protocol == "tcp":
                # One that has listened, and has the option no more, keeps off those who have it, too.
                found.listen(1)
                found.shutdown(_socket.SHUT_RD)
            found.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 0)
        return found.detach()
    except BaseException:
        found.close()
        raise


def ephemeral_range() -> tuple[int, int]:
    """The ports that the kernel gives to those who do not care."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="utf-8") as file:
            first, last = file.read().split()
            return int(first), int(last)
    except (OSError, ValueError):
        return _EPHEMERAL


def holder(protocol: str, host_ip: str, port: int) -> str:
    """``nginx (process 4711)`` for the process that has bound it, or "" where it cannot be seen."""
    inodes = _inodes(protocol, host_ip, port)
    if not inodes:
        return ""
    names = {f"socket:[{inode}]" for inode in inodes}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") not in names:
                        continue
                except OSError:
                    continue
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return f"{file.read().strip()} (process {pid})"
        except OSError:
            continue
    return ""


def _inodes(protocol: str, host_ip: str, port: int) -> set[str]:
    """Of the sockets whose local address is in the way of this one: proc_net_tcp's column 2 and 10."""
    wanted = parse_address(host_ip)
    found = set()
    for suffix in ("", "6"):
        try:
            with open(f"/proc/net/{protocol}{suffix}", encoding="utf-8") as lines:
                rows = [line.split() for line in lines][1:]
        except OSError:
            continue
        for row in rows:
            address, _, number = row[1].partition(":")
            if int(number, 16) != port or (row[3] == "06" and protocol == "tcp"):  # TIME_WAIT
                continue
            words = bytes.fromhex(address)
            number_there = int.from_bytes(
                b"".join(words[start : start + 4][::-1] for start in range(0, len(words), 4)), "big"
            )
            same = len(words) == (4 if wanted.family == AF_INET else 16)
            if number_there == 0 or wanted.number == 0 or (same and number_there == wanted.number):
                found.add(row[9])
    return found - {"0"}
