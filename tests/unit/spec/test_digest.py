from __future__ import annotations

import hashlib

import pytest

from cais.errors import Invalid
from cais.spec.digest import Digest

HEX = hashlib.sha256(b"x").hexdigest()


def test_digest_of_bytes_is_their_sha256() -> None:
    digest = Digest.of(b"x")
    assert digest == f"sha256:{HEX}"
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", HEX, HEX[:12])


def test_sha512_is_a_digest_too() -> None:
    text = "sha512:" + hashlib.sha512(b"x").hexdigest()
    assert Digest.parse(text) == text
    assert Digest.parse(text).algorithm == "sha512"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no algorithm"),
        (HEX, "no algorithm"),
        ("md5:" + "0" * 32, "unsupported algorithm"),
        ("SHA256:" + HEX, "unsupported algorithm"),
        (":" + HEX, "unsupported algorithm"),
        ("sha256:" + HEX[:-1], "63 characters"),
        ("sha256:" + HEX + "0", "65 characters"),
        ("sha256:" + HEX.upper(), "lower-case"),
        ("sha256:" + HEX[:-1] + "\n", "lower-case"),
        ("sha256:../" + HEX[:-3], "lower-case"),
        ("sha512:" + HEX, "64 characters"),
    ],
)
def test_what_is_no_digest_says_why(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        Digest.parse(text)


def test_a_huge_digest_is_not_repeated_in_its_error() -> None:
    with pytest.raises(Invalid) as caught:
        Digest.parse("sha256:" + "0" * 1_000_000)
    assert len(caught.value.message) < 400
