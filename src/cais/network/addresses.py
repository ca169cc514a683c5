"""Addresses and subnets as numbers: what is inside what, and which address is next. Pure."""

from __future__ import annotations

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

AF_INET, AF_INET6 = 2, 10


class Address(NamedTuple):
    """``family`` is AF_INET or AF_INET6."""

    family: int
    number: int

    def __str__(self) -> str:
        from _socket import inet_ntop

        return inet_ntop(self.family, self.packed)

    @property
    def packed(self) -> bytes:
        return self.number.to_bytes(4 if self.family == AF_INET else 16, "big")


class Subnet(NamedTuple):
    """``number`` is its first address."""

    family: int
    number: int
    prefix: int

    @property
    def size(self) -> int:
        """How many addresses are in it."""
        return 1 << (bits(self.family) - self.prefix)

    @property
    def last(self) -> int:
        return self.number + self.size - 1

    def has(self, address: Address) -> bool:
        """Whether an address is in it."""
        return address.family == self.family and self.number <= address.number <= self.last

    def overlaps(self, other: Subnet) -> bool:
        return self.family == other.family and self.number <= other.last and other.number <= self.last

    def __str__(self) -> str:
        return f"{Address(self.family, self.number)}/{self.prefix}"


def bits(family: int) -> int:
    return 32 if family == AF_INET else 128


def parse_address(text: str) -> Address:
    """Raises ValueError."""
    from _socket import inet_pton

    family = AF_INET6 if ":" in text else AF_INET
    try:
        return Address(family, int.from_bytes(inet_pton(family, text), "big"))
    except (OSError, UnicodeError):
        raise ValueError(text)


def parse_interface(text: str) -> tuple[Address, Subnet]:
    """``172.20.0.5/16``: the address, and the subnet around it. Raises ValueError."""
    head, slash, tail = text.partition("/")
    address = parse_address(head)
    width = bits(address.family)
    if not slash or not tail.isascii() or not tail.isdigit() or int(tail) > width or len(tail) > 3:
        raise ValueError(text)
    host_bits = width - int(tail)
    return address, Subnet(address.family, address.number >> host_bits << host_bits, int(tail))


def parse_subnet(text: str) -> Subnet:
    """Bits behind the prefix are dropped. Raises ValueError."""
    return parse_interface(text)[1]


def next_free(within: Subnet, subnet: Subnet, taken: Collection[int]) -> Address | None:
    """The lowest address of the range ``within`` that is neither in ``taken`` nor the network's own or broadcast."""
    number, last = within.number, within.last
    if subnet.family == AF_INET and subnet.prefix < 31:
        last = min(last, subnet.last - 1)
    if subnet.prefix < bits(subnet.family) - 1:
        number = max(number, subnet.number + 1)
    while number <= last:
        if number not in taken:
            return Address(subnet.family, number)
        number += 1
    return None


def pieces(pools: Iterable[tuple[str, int]]) -> Iterable[Subnet]:
    """The subnets of each pool ``(network, prefix of a piece)``, in order."""
    for text, prefix in pools:
        pool = parse_subnet(text)
        size = 1 << (bits(pool.family) - prefix)
        for number in range(pool.number, pool.last + 1, size):
            yield Subnet(pool.family, number, prefix)


# Docker's default address pools.
POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/15", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)


def free_subnet(used: Sequence[Subnet], pools: Iterable[tuple[str, int]] = POOLS) -> Subnet | None:
    """The first piece of the pools that overlaps nothing in ``used``."""
    for piece in pieces(pools):
        if not any(piece.overlaps(other) for other in used):
            return piece
    return None


def mac_of(address: Address) -> str:
    """The hardware address that Docker gives to an IPv4 address: no two of a network are the same, and none is stale in
    a neighbour's table when an address is given to another container."""
    tail = address.packed[-4:]
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + tail)
