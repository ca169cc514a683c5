from __future__ import annotations

import pytest

from cais.network.addresses import (
    AF_INET,
    AF_INET6,
    Subnet,
    free_subnet,
    mac_of,
    next_free,
    parse_address,
    parse_interface,
    parse_subnet,
)


@pytest.mark.parametrize("text", ["10.0.0.0/8", "172.17.0.0/16", "192.0.2.7/32", "fd00:1::/64", "::/0", "0.0.0.0/0"])
def test_subnets_are_shown_as_they_were_written(text: str) -> None:
    assert str(parse_subnet(text)) == text


@pytest.mark.parametrize(
    "text", ["", "foo", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/٣"]
)
def test_what_is_no_subnet(text: str) -> None:
    with pytest.raises(ValueError):
        parse_interface(text)


def test_inside_and_overlapping() -> None:
    subnet = parse_subnet("10.1.0.0/16")
    assert subnet.has(parse_address("10.1.255.255"))
    assert not subnet.has(parse_address("10.2.0.0"))
    assert not subnet.has(parse_address("::"))
    assert subnet.overlaps(parse_subnet("10.0.0.0/8"))
    assert not subnet.overlaps(parse_subnet("10.2.0.0/16"))
    assert not subnet.overlaps(parse_subnet("::/0"))


@pytest.mark.parametrize(
    ("within", "subnet", "taken", "found"),
    [
        ("10.0.0.0/24", "10.0.0.0/24", [], "10.0.0.1"),
        ("10.0.0.0/24", "10.0.0.0/24", ["10.0.0.1", "10.0.0.2", "10.0.0.4"], "10.0.0.3"),
        ("10.0.0.128/25", "10.0.0.0/24", [], "10.0.0.128"),
        ("10.0.0.252/30", "10.0.0.0/24", ["10.0.0.252", "10.0.0.253", "10.0.0.254"], None),  # not the broadcast address
        ("10.0.0.0/31", "10.0.0.0/31", ["10.0.0.0"], "10.0.0.1"),
        ("10.0.0.0/30", "10.0.0.0/30", ["10.0.0.1", "10.0.0.2"], None),
        ("fd00::/126", "fd00::/126", ["fd00::1", "fd00::2"], "fd00::3"),
    ],
)
def test_the_next_address(within: str, subnet: str, taken: list[str], found: str | None) -> None:
    numbers = [parse_address(text).number for text in taken]
    address = next_free(parse_subnet(within), parse_subnet(subnet), numbers)
    assert (None if address is None else str(address)) == found


def test_subnets_are_chosen_from_dockers_pools() -> None:
    used: list[Subnet] = []
    chosen = []
    while (piece := free_subnet(used)) is not None:
        chosen.append(str(piece))
        used.append(piece)
    assert chosen[:2] == ["172.17.0.0/16", "172.18.0.0/16"]
    assert chosen[14:17] == ["172.31.0.0/16", "192.168.0.0/20", "192.168.16.0/20"]
    assert len(chosen) == 15 + 16


def test_a_pool_that_the_host_has_in_part_is_not_chosen() -> None:
    assert str(free_subnet([parse_subnet("172.17.5.0/24"), parse_subnet("172.18.0.0/15")])) == "172.20.0.0/16"


def test_hardware_addresses_are_dockers() -> None:
    assert mac_of(parse_address("172.17.0.2")) == "02:42:ac:11:00:02"


def test_families() -> None:
    assert parse_address("::1").family == AF_INET6
    assert parse_address("127.0.0.1").family == AF_INET
