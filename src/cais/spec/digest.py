"""Digest: ``algorithm:hex``, the name of a blob (image-spec, descriptor.md#digests)."""

from __future__ import annotations

import sys

from cais.errors import Invalid

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX_DIGITS = frozenset("0123456789abcdef")


class Digest(str):
    """A checked digest; a ``str``, so that it is its own text form, key and JSON value."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """``sha256:<64 lower-case hex>`` or ``sha512:<128>``. Raises Invalid otherwise, saying what is wrong."""
        algorithm, colon, encoded = text.partition(":")
        length = _HEX_LENGTH.get(algorithm)
        if not colon:
            raise Invalid(f"invalid digest {text[:160]!r}: it has no algorithm (expected sha256:...)")
        if length is None:
            raise Invalid(f"invalid digest {text[:160]!r}: unsupported algorithm {algorithm[:40]!r}")
        if len(encoded) != length:
            raise Invalid(f"invalid digest {text[:160]!r}: {len(encoded)} characters after the colon, not {length}")
        if not _HEX_DIGITS.issuperset(encoded):
            raise Invalid(f"invalid digest {text[:160]!r}: not lower-case hexadecimal")
        return cls(text)

    @classmethod
    def of(cls, data: bytes, algorithm: str = "sha256") -> Digest:
        """The digest of ``data``."""
        return cls(f"{algorithm}:{_hex(algorithm, data)}")

    def fits(self, data: bytes) -> bool:
        """Whether this is the digest of ``data``."""
        return _hex(self.algorithm, data) == self.hex

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The twelve characters that people see."""
        return self.hex[:12]


# Loading OpenSSL costs 2.5 ms, as much as its sha256 is faster than Python's own for this many bytes.
_SMALL_BYTES = 1 << 20


def _hex(algorithm: str, data: bytes) -> str:
    if algorithm == "sha256" and len(data) < _SMALL_BYTES:
        # Not by trying: to look for what is not there takes longer than to hash it.
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256  # type: ignore[import-not-found]
        return str(sha256(data).hexdigest())
    import hashlib

    return hashlib.new(algorithm, data).hexdigest()
