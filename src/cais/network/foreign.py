"""Other people's firewalls: where one of them drops whatever is forwarded, what belongs to a bridge of ours may pass.

Our own table says what that is, before theirs is asked. Only rules of ours, marked by their comment, are added to and
taken from the chains of others; nothing else there is touched.
"""

from __future__ import annotations

from cais.network.programs import run
from cais.spec.named import NamedTuple

_MARK = "cais "
# Its chains accept what they know and reject the rest, whatever their policy.
_REJECTING = ("firewalld",)


class _Chain(NamedTuple):
    family: str
    table: str
    name: str
    hook: str
    rejects: bool


def open_for(interface: str, *, dns: bool) -> None:
    """What passes our table passes theirs; with ``dns`` the host's input takes questions to the name server there."""
    text = ""
    for chain in _chains():
        if not chain.rejects:
            continue
        where = f"insert rule {chain.family} {chain.table} {chain.name}"
        comment = f'comment "{_MARK}{interface}"'
        if chain.hook == "forward":
            text += f'{where} iifname "{interface}" accept {comment}\n'
            text += f'{where} oifname "{interface}" accept {comment}\n'
        elif dns:
            text += f'{where} iifname "{interface}" meta l4proto {{ tcp, udp }} th dport 53 accept {comment}\n'
    if text:
        run("nft", "-f", "-", given=text)
    for program, chain_name in _legacy():
        for arguments in _legacy_rules(interface, chain_name, dns):
            run(program, "-w", "-I", chain_name, *arguments)


def close_for(interface: str) -> None:
    """Takes our rules for a bridge away again."""
    text = ""
    for chain in _chains():
        if chain.table.startswith("cais"):
            continue
        listed = run("nft", "-a", "list", "chain", chain.family, chain.table, chain.name)
        if listed is None or f'"{_MARK}{interface}"' not in listed.output:
            continue
        for line in listed.output.splitlines():
            if f'comment "{_MARK}{interface}"' in line:
                handle = line.rpartition("# handle ")[2]
                text += f"delete rule {chain.family} {chain.table} {chain.name} handle {handle}\n"
    if text:
        run("nft", "-f", "-", given=text)
    for program, chain_name in _legacy(all=True):
        for arguments in _legacy_rules(interface, chain_name, True):
            run(program, "-w", "-D", chain_name, *arguments)


def _chains() -> list[_Chain]:
    """The base chains of others for what is forwarded, or comes in."""
    listed = run("nft", "list", "chains")
    found: list[_Chain] = []
    family = table = name = ""
    for line in listed.output.splitlines() if listed is not None else ():
        words = line.split()
        if words[:1] == ["table"]:
            family, table = words[1:3]
        elif words[:1] == ["chain"]:
            name = words[1]
        elif words[:2] == ["type", "filter"] and words[3] in ("forward", "input") and family in ("ip", "ip6", "inet"):
            rejects = "policy drop" in line or table in _REJECTING
            if not table.startswith("cais"):
                found.append(_Chain(family, table, name, words[3], rejects))
    return found


def _legacy(all: bool = False) -> list[tuple[str, str]]:
    """(program, chain) of the iptables that are not nftables, where they drop; ``all``: wherever there are any."""
    found = []
    for version in ("", "6"):
        try:
            with open(f"/proc/net/ip{version}_tables_names", encoding="ascii") as names:
                if "filter" not in names.read().split():
                    continue
        except OSError:
            continue
        program = f"ip{version}tables-legacy"
        for chain in ("FORWARD", "INPUT"):
            listed = run(program, "-w", "-S", chain)
            if listed is not None and (f"-P {chain} DROP" in listed.output or (all and _MARK in listed.output)):
                found.append((program, chain))
    return found


def _legacy_rules(interface: str, chain: str, dns: bool) -> list[list[str]]:
    mark = ["-m", "comment", "--comment", f"{_MARK}{interface}", "-j", "ACCEPT"]
    if chain == "FORWARD":
        return [["-i", interface, *mark], ["-o", interface, *mark]]
    return [["-i", interface, "-p", kind, "--dport", "53", *mark] for kind in ("udp", "tcp")] if dns else []
