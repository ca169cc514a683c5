from __future__ import annotations

import random

import pytest

from cais.build.ops.mask import Mask, patterns_of


def masked(data: bytes, *values: bytes, sizes=(1, 2, 3, 7, 4096)) -> set[bytes]:
    """What is shown of ``data``, cut into pieces in several ways."""
    found = set()
    for size in sizes:
        mask = Mask(patterns_of(values))
        pieces = [mask.feed(data[at : at + size]) for at in range(0, len(data), size)]
        found.add(b"".join(pieces) + mask.rest())
    return found


@pytest.mark.parametrize(
    ("data", "values", "shown"),
    [
        (b"the value is s3cret!", [b"s3cret"], b"the value is ***!"),
        (b"s3cs3crets3cre", [b"s3cret"], b"s3c***s3cre"),
        (b"s3cret\ns3cret", [b"s3cret\n"], b"***\n***"),
        (b"-----KEY-----\nAAAABBBB\nCC\n", [b"-----KEY-----\nAAAABBBB\nCC\n"], b"***\n"),
        (b"x AAAABBBB y CC", [b"-----KEY-----\nAAAABBBB\nCC\n"], b"x *** y CC"),
        (b"aaaaaab", [b"aaaab"], b"aa***"),
        (b"one-two", [b"one-", b"one-two"], b"***"),
    ],
)
def test_secrets_are_replaced_wherever_the_pieces_end(data, values, shown):
    assert masked(data, *values) == {shown}


def test_nothing_of_a_secret_comes_through_in_random_pieces():
    chance = random.Random(7)
    secret = b"abababac" * 3
    for _ in range(300):
        data = b"".join(chance.choice([secret, b"ab", b"abababa", b"-"]) for _ in range(20))
        mask, shown, at = Mask(patterns_of([secret])), b"", 0
        while at < len(data):
            size = chance.randrange(1, 9)
            shown += mask.feed(data[at : at + size])
            at += size
        assert secret not in shown + mask.rest()


def test_what_is_no_secret_is_shown_at_once():
    mask = Mask(patterns_of([b"s3cret"]))
    assert mask.feed(b"hello\n") == b"hello\n"
    assert mask.feed(b"s3") == b"" and mask.feed(b"x") == b"s3x"


def test_short_values_and_lines_cannot_be_told_from_other_text():
    assert patterns_of([b"abc", b" a\n", b""]) == []
    assert patterns_of([b"one\nlonger line"]) == [b"one\nlonger line", b"longer line"]
