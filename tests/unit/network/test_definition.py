"""New networks: defaults, and what is refused in Docker's words (compared with docker 26, as far as it has them)."""

from __future__ import annotations

from typing import Any

import pytest

from cais.errors import CaisError, Conflict, Denied, Invalid, NotFound, Unsupported
from cais.network.addresses import AF_INET, Subnet, parse_subnet
from cais.network.definition import NetworkOptions, define
from cais.network.records import Network

ID = "ab" * 32


def unused(family: int) -> Subnet:
    return parse_subnet("172.20.0.0/16" if family == AF_INET else "fd12::/64")


def make(name: str = "net", others: list[Network] | None = None, **options: Any) -> Network:
    return define(NetworkOptions(name, **options), ID, 1.0, others or [], unused)


def test_defaults() -> None:
    network = make()
    assert (network.driver, network.interface, network.chosen, network.ipv6) == (
        "bridge",
        "br-abababababab",
        True,
        False,
    )
    assert [(str(pool.subnet), str(pool.gateway)) for pool in network.pools] == [("172.20.0.0/16", "172.20.0.1")]


def test_ipv6_gets_a_subnet_beside() -> None:
    network = make(ipv6=True)
    assert [str(pool.gateway) for pool in network.pools] == ["172.20.0.1", "fd12::1"]
    assert make(ipv6=True, ipv4=False).pools[0].subnet == parse_subnet("fd12::/64")
    assert make(subnets=["fd00:1::/64"]).ipv6


def test_the_parts_of_a_subnet_find_each_other() -> None:
    network = make(
        subnets=["10.1.0.0/16", "10.2.0.0/16"],
        gateways=["10.2.9.9"],
        ip_ranges=["10.1.8.0/24"],
        aux_addresses={"router": "10.1.8.0", "printer": "10.2.0.2"},
    )
    first, second = network.pools
    assert (str(first.within), str(first.gateway)) == ("10.1.8.0/24", "10.1.8.1")  # its .0 is the router's
    assert (second.within, str(second.gateway)) == (None, "10.2.9.9")
    assert not network.chosen


def test_a_configuration_network_lends_its_settings() -> None:
    source = make("conf", config_only=True, subnets=["10.77.0.0/24"], labels={"a": "b"})
    assert (source.driver, source.config_only) == ("null", True)
    network = make("net", [source], config_from="conf", internal=True)
    assert (network.driver, network.internal, network.config_from) == ("bridge", True, "conf")
    assert str(network.pools[0].subnet) == "10.77.0.0/24"
    assert network.labels == {"a": "b"}


OTHER = define(NetworkOptions("other", subnets=["10.5.0.0/16"]), "cd" * 32, 1.0, [], unused)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"name": ""}, Invalid, "invalid name:"),
        ({"name": "a\nb"}, Invalid, "invalid name: 'a\\nb'"),
        ({"name": "bridge"}, Denied, "operation is not permitted on predefined bridge network"),
        ({"name": "other"}, Conflict, "network with name other already exists"),
        ({"driver": "foo"}, NotFound, 'plugin "foo" not found'),
        ({"driver": "host"}, Denied, 'only one instance of "host" network is allowed'),
        ({"driver": "overlay"}, Unsupported, "This node is not a swarm manager."),
        ({"scope": "swarm"}, Unsupported, "cannot create a swarm scoped network when swarm is not active"),
        ({"ingress": True}, Unsupported, "Ingress network can only be global scope network"),
        ({"ipam_driver": "foo"}, NotFound, 'plugin "foo" not found'),
        ({"subnets": ["foo"]}, Invalid, "invalid network config:\ninvalid subnet foo: invalid CIDR block notation"),
        (
            {"subnets": ["10.99.0.5/24"]},
            Invalid,
            "invalid network config:\ninvalid subnet 10.99.0.5/24: it should be 10.99.0.0/24",
        ),
        ({"subnets": ["10.5.9.0/24"]}, Conflict, "Pool overlaps with other one on this address space"),
        (
            {"subnets": ["10.9.0.0/24", "10.9.0.0/25"]},
            Invalid,
            "multiple overlapping subnet configuration is not supported",
        ),
        ({"gateways": ["10.9.0.1"]}, Invalid, "every ip-range or gateway must have a corresponding subnet"),
        ({"subnets": ["10.9.0.0/24"], "gateways": ["10.8.0.1"]}, Invalid, "no matching subnet for gateway 10.8.0.1"),
        ({"subnets": ["10.9.0.0/24"], "ip_ranges": ["10.8.0.0/25"]}, Invalid, "no matching subnet for range 10.8"),
        ({"subnets": ["10.9.0.0/24"], "ip_ranges": ["10.9.0.0/16"]}, Invalid, "no matching subnet for range 10.9"),
        (
            {"subnets": ["10.9.0.0/24"], "aux_addresses": {"a": "10.8.0.9"}},
            Invalid,
            "no matching subnet for aux-address 10.8.0.9",
        ),
        ({"subnets": ["10.9.0.4/32"], "aux_addresses": {"a": "10.9.0.4"}}, Invalid, "the subnet 10.9.0.4/32 has no"),
        ({"config_from": "nope"}, NotFound, 'configuration network "nope" does not exist'),
        ({"config_from": "other"}, Invalid, '"other" is not a configuration network'),
        ({"ipv4": False}, Invalid, "IPv4 or IPv6 must be enabled"),
        (
            {"options": {"com.docker.network.driver.mtu": "abc"}},
            Invalid,
            'failed to parse com.docker.network.driver.mtu value: abc (strconv.Atoi: parsing "abc": invalid syntax)',
        ),
        ({"options": {"com.docker.network.driver.mtu": "-1"}}, Invalid, "invalid MTU number: -1"),
        ({"options": {"com.docker.network.bridge.enable_icc": "x"}}, Invalid, "failed to parse com.docker"),
        ({"options": {"com.docker.network.bridge.name": 'a"; drop'}}, Invalid, "invalid bridge name"),
        ({"options": {"com.docker.network.bridge.name": "sixteen-letters-"}}, Invalid, "invalid bridge name"),
        ({"options": {"com.docker.network.bridge.name": OTHER.interface}}, Conflict, "network with bridge name"),
        ({"options": {"com.docker.network.bridge.host_binding_ipv4": "x"}}, Invalid, "failed to parse com.docker"),
        ({"options": {"com.docker.network.bridge.gateway_mode_ipv4": "x"}}, Invalid, "unknown gateway mode x"),
        ({"driver": "macvlan", "options": {"macvlan_mode": "foo"}}, Invalid, "requested macvlan mode 'foo' is not"),
        ({"driver": "ipvlan", "options": {"ipvlan_mode": "foo"}}, Invalid, "requested ipvlan mode 'foo' is not"),
    ],
)  # fmt: skip
def test_what_is_refused(options: dict[str, Any], kind: type[CaisError], message: str) -> None:
    with pytest.raises(kind) as caught:
        make(others=[OTHER], **options)
    assert caught.value.message.startswith(message)
