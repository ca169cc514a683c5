"""Objects that are structs in Docker's client, and so are printed as Go prints those: values in order, without names.

They are known by their keys: what ``inspect`` gives is JSON.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_PORTS = ("tcp", "udp", "sctp")
# The fields in their order, each with what it is where it is not there; the keys that are always there.
_STRUCTS: tuple[tuple[dict[str, Any], frozenset[str]], ...] = (
    ({"HostIp": "", "HostPort": ""}, frozenset(("HostIp", "HostPort"))),
    ({"Name": "", "MaximumRetryCount": 0}, frozenset(("Name", "MaximumRetryCount"))),
    ({"Type": "", "Config": {}}, frozenset(("Type", "Config"))),
    ({"Type": "", "Layers": []}, frozenset(("Type", "Layers"))),
    ({"Data": {}, "Name": ""}, frozenset(("Data", "Name"))),
    ({"Driver": "", "Options": {}, "Config": []}, frozenset(("Driver", "Options", "Config"))),
    ({"Subnet": "", "IPRange": "", "Gateway": "", "AuxiliaryAddresses": {}}, frozenset(("Subnet",))),
    ({"IPv4Address": "", "IPv6Address": "", "LinkLocalIPs": []}, frozenset(("IPv4Address",))),
    (
        {"Name": "", "EndpointID": "", "MacAddress": "", "IPv4Address": "", "IPv6Address": ""},
        frozenset(("EndpointID", "MacAddress")),
    ),
    (
        {"PathOnHost": "", "PathInContainer": "", "CgroupPermissions": ""},
        frozenset(("PathOnHost", "PathInContainer")),
    ),
    (
        {"Type": "", "Name": "", "Source": "", "Destination": "", "Driver": "", "Mode": "", "RW": False,
         "Propagation": ""},
        frozenset(("Type", "Destination", "RW")),
    ),
)  # fmt: skip


def struct_values(value: Mapping[str, Any]) -> list[Any] | None:
    """The values of a struct in their order; None where ``value`` is a map."""
    for fields, needed in _STRUCTS:
        if needed <= value.keys() <= fields.keys():
            known = (value.get(name) for name in fields)
            return [zero if item is None else item for item, zero in zip(known, fields.values(), strict=True)]
    return None


def text_instead(key: str, value: Any) -> str:
    """What a map has at ``key`` where JSON does not tell its kind, as Go prints it; "" where JSON does.

    Ports that are not published are lists of nothing; ports and paths that are only there are empty structs.
    """
    if value is None and key.partition("/")[2] in _PORTS:
        return "[]"
    return "{}" if value == {} and "/" in key else ""


def ulimit(value: Mapping[str, Any]) -> str:
    """A limit of each process, which prints itself; "" where it is something else."""
    return f"{value['Name']}={value['Soft']}:{value['Hard']}" if value.keys() == {"Name", "Soft", "Hard"} else ""
