"""Other people's firewalls: where one of them drops whatever is forwarded, what belongs to a bridge of ours may pass.

Our own table says what that is, before theirs is asked. Only rules of ours, marked by their comment, are added to and
taken from the chains of others; nothing else there is touched.
"""

from __future__ import annotations

from cais.network.netlink import Netlink, Request, attributes
from cais.network.programs import run
from cais.spec.named import NamedTuple

_MARK = "cais "
# Its chains accept what they know and reject the rest, whatever their policy.
_REJECTING = ("firewalld",)

_NETFILTER = 12  # the protocol
_GETCHAIN = 10 << 8 | 4
_TABLE, _NAME, _HOOK, _POLICY, _KIND = 1, 3, 4, 5, 7
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_HOOKS = {1: "input", 2: "forward"}


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
    """The base chains of others for what is forwarded, or comes in; asked by netlink, as nft takes its time."""
    found = []
    try:
        with Netlink(_NETFILTER) as netlink:
            for answer in netlink.dump(Request(_GETCHAIN, 0, b"\0\0\0\0")):
                chain = _chain(answer)
                if chain is not None and not chain.table.startswith("cais"):
                    found.append(chain)
    except OSError:
        return []  # a kernel without nftables
    return found


def _chain(answer: bytes) -> _Chain | None:
    values = attributes(answer, 4)
    hook = int.from_bytes(attributes(values.get(_HOOK, b"")).get(1, b"\xff"), "big")
    if answer[0] not in _FAMILIES or hook not in _HOOKS or values.get(_KIND) != b"filter\0":
        return None
    table, name = (values[key].rstrip(b"\0").decode("utf-8", "replace") for key in (_TABLE, _NAME))
    drops = not any(values.get(_POLICY, b"\1"))
    return _Chain(_FAMILIES[answer[0]], table, name, _HOOKS[hook], drops or table in _REJECTING)


def _legacy(all: bool = False) -> list[tuple[str, str]]:
    """(program, chain) of the iptables that are not nftables, where they drop; ``all``: wherever there are any."""
    found = []
    for version in ("", "6"):
        try:
            with open(f"/proc/net/ip{version}_tables_names", encoding="utf-8") as names:
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
