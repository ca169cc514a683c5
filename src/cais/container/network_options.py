"""What a container's flags ask of its networks, with Docker's rules of what goes together. Pure."""

from __future__ import annotations

from cais.container.networking import DEFAULT, HOST_GATEWAY, SHARED, Attachment, Networking
from cais.container.options import RunOptions
from cais.container.published import is_address, parse_expose, parse_publish
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def networking(wanted: RunOptions, image_ports: Sequence[str] = ()) -> Networking:
    """What the options ask for. ``image_ports``: the image's EXPOSE. Raises Invalid with Docker's words."""
    _check_words(wanted)
    attachments = _attachments(wanted)
    mode = attachments[0].network
    ports = tuple(binding for text in wanted.publish for binding in parse_publish(text))
    asked = [port for text in wanted.expose for port in parse_expose(text)]
    if mode.startswith(SHARED):
        _check_shared(wanted, mode, attachments[0])
    if mode == "host" and attachments[0].links:
        raise _invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined "
            "behavior"
        )
    exposed = dict.fromkeys((*map(_with_protocol, image_ports), *asked, *(binding.target for binding in ports)))
    joins = not mode.startswith(SHARED) and mode not in ("none", "host")
    if mode in ("none", DEFAULT, "host") and (wanted.ip or wanted.ip6 or attachments[0].ip or attachments[0].ip6):
        raise _invalid(
            f"invalid config for network {mode}: invalid endpoint settings: user specified IP address is supported on "
            "user defined networks only"
        )
    return Networking(
        mode,
        tuple(attachments) if joins else (),
        ports,
        wanted.publish_all,
        tuple(sorted(exposed)),
        tuple(wanted.dns),
        tuple(wanted.dns_options),
        tuple(wanted.dns_search),
        tuple(wanted.add_hosts),
        wanted.domainname,
    )


def _with_protocol(port: str) -> str:
    return port if "/" in port else f"{port}/tcp"


def _attachments(wanted: RunOptions) -> list[Attachment]:
    """The networks in their order; the flags for one network are for the first."""
    found: list[Attachment] = []
    for text in wanted.networks or (DEFAULT,):
        item = parse_network(text)
        if not found:
            item = _with_flags(item, wanted)
        if not item.network.strip():
            raise _invalid("no name set for network")
        if not _is_user_defined(item.network):
            if item.aliases:
                raise _invalid("network-scoped aliases are only supported for user-defined networks")
            if item.links and item.network not in (DEFAULT, "host") and not item.network.startswith(SHARED):
                raise _invalid("links are only supported for user-defined networks")
        if any(item.network == other.network for other in found):
            raise _invalid(f'network "{item.network}" is specified multiple times')
        check_attachment(item)
        found.append(item)
    if len({_is_user_defined(item.network) for item in found}) > 1:
        raise _invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
    if len(found) > 1 and not _is_user_defined(found[0].network):
        raise _invalid("conflicting options: a container has one network of host, none, bridge and another container's")
    return found


def _with_flags(item: Attachment, wanted: RunOptions) -> Attachment:
    for own, given, what in (
        (item.aliases, wanted.network_aliases, "--network-alias and per-network alias"),
        (item.ip, wanted.ip, "--ip and per-network IPv4 address"),
        (item.ip6, wanted.ip6, "--ip6 and per-network IPv6 address"),
        (item.mac, wanted.mac_address, "--mac-address and per-network MAC address"),
        (item.link_local, wanted.link_local_ips, "--link-local-ip and per-network link-local IP addresses"),
    ):
        if own and given:
            raise _invalid(f"conflicting options: cannot specify both {what}")
    return item._replace(
        aliases=item.aliases or tuple(wanted.network_aliases),
        ip=item.ip or wanted.ip,
        ip6=item.ip6 or wanted.ip6,
        mac=item.mac or wanted.mac_address,
        link_local=item.link_local or tuple(wanted.link_local_ips),
        links=tuple(map(parse_link, wanted.links)),
    )


def _is_user_defined(network: str) -> bool:
    return network not in (DEFAULT, "host", "none") and not network.startswith(SHARED)


def parse_network(text: str) -> Attachment:
    """``--network``: a name, or ``name=..,alias=..,ip=..,driver-opt=..``. Raises Invalid with Docker's words."""
    if "=" not in text:
        return Attachment(_name(text))

    def wrong(reason: str) -> Invalid:
        return _invalid(f'invalid argument "{text}" for "--network" flag: {reason}')

    name, single, several = "", {"ip": "", "ip6": "", "mac-address": ""}, {"alias": [], "link-local-ip": []}  # type: tuple[str, dict[str, str], dict[str, list[str]]]
    options: list[str] = []
    priority = 0
    for field in text.split(","):
        key, equals, value = field.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise wrong(f"invalid field {field}")
        if key == "name":
            name = value
        elif key in single:
            single[key] = value
        elif key in several:
            several[key].append(value)
        elif key == "driver-opt":
            if not value.partition("=")[0] or "=" not in value:
                raise wrong("invalid key value pair format in driver options")
            options.append(value)
        elif key == "gw-priority":
            try:
                priority = int(value)
            except ValueError:
                raise wrong(f"invalid gw-priority ({value}): invalid syntax")
        else:
            raise wrong(f"invalid field key {key}")
    if not name:
        raise wrong("network name/id is not specified")
    return Attachment(
        _name(name), tuple(several["alias"]), single["ip"], single["ip6"], single["mac-address"],
        tuple(several["link-local-ip"]), (), tuple(options), priority,
    )  # fmt: skip


def _name(text: str) -> str:
    if text == SHARED:
        raise _invalid("invalid container format container:<name|id>")
    return DEFAULT if text == "default" else text


def parse_link(text: str) -> str:
    """``name`` or ``name:alias``, with its alias."""
    name, colon, alias = text.partition(":")
    if not name or (colon and not alias) or ":" in alias:
        raise _invalid(f'invalid argument "{text}" for "--link" flag: bad format for links: {text}')
    return f"{name}:{alias or name.removeprefix('/')}"


def check_attachment(item: Attachment) -> None:
    """Whether its addresses are such. Raises Invalid."""
    for text, family in ((item.ip, 4), (item.ip6, 6)):
        if text and not is_address(text, family):
            raise _invalid(f"invalid endpoint settings: invalid IPv{family} address: {text}")
    for text in item.link_local:
        if not is_address(text):
            raise _invalid(f"invalid endpoint settings: invalid link-local IP address: {text}")
        if not text.lower().startswith(("169.254.", "fe80:")):
            raise _invalid(f"invalid link local IP address: {text}")
    parts = item.mac.replace("-", ":").split(":")
    if item.mac and not (len(parts) == 6 and all(len(part) == 2 and _is_hex(part) for part in parts)):
        raise _invalid(f"{item.mac} is not a valid mac address")


def _is_hex(text: str) -> bool:
    return set(text.lower()) <= set("0123456789abcdef")


def _check_words(wanted: RunOptions) -> None:
    for text in wanted.dns:
        if not is_address(text):
            raise _invalid(f'invalid argument "{text}" for "--dns" flag: IP address is not correctly formatted: {text}')
    for text in wanted.dns_search:
        words = text.removesuffix(".").split(".")
        if text != "." and not all(word and not word.startswith("-") and not _odd(word) for word in words):
            raise _invalid(f'invalid argument "{text}" for "--dns-search" flag: {text} is not a valid domain')
    for text in wanted.dns_options:
        if not text or _odd(text, ":"):
            raise _invalid(f'invalid argument "{text}" for "--dns-option" flag: it is one word, as in resolv.conf')
    for text in wanted.add_hosts:
        split_host(text)
    for text, flag in ((wanted.hostname, "hostname"), (wanted.domainname, "domainname")):
        if len(text) > 63 or any(character.isspace() or character in "/\0" for character in text):
            raise _invalid(f"invalid {flag} format: {text}")


def _odd(word: str, allowed: str = "") -> bool:
    return not all(character.isalnum() or character in "-_" + allowed for character in word)


def split_host(text: str) -> tuple[str, str]:
    """(name, address) of ``--add-host``; the address may be ``host-gateway``. Raises Invalid with Docker's words."""
    name, separator, address = text.partition("=" if "=" in text else ":")
    if not separator or not name or not address or any(character.isspace() for character in name):
        raise _invalid(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host: "{text}"')
    plain = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if plain != HOST_GATEWAY and not is_address(plain):
        raise _invalid(f'invalid argument "{text}" for "--add-host" flag: invalid IP address in add-host: "{address}"')
    return name, plain


def _check_shared(wanted: RunOptions, mode: str, first: Attachment) -> None:
    """What a container that uses another's network cannot have of its own."""
    for given, what in (
        (wanted.hostname, "hostname and the network mode"),
        (wanted.dns, "dns and the network mode"),
        (wanted.add_hosts, "custom host-to-IP mapping and the network mode"),
        (wanted.publish or wanted.publish_all, "port publishing and the container type network mode"),
        (wanted.expose, "port exposing and the container type network mode"),
    ):
        if given:
            raise _invalid(f"conflicting options: {what}")
    if first.links:
        raise _invalid(
            "conflicting options: container type network can't be used with links. This would result in undefined "
            "behavior"
        )
    if first.mac:
        raise _invalid("conflicting options: mac-address and the network mode")


def _invalid(message: str) -> Invalid:
    return Invalid(message, exit_code=125)
