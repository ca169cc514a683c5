"""The parts of a tar header that need decoding: numbers, PAX records, maps of sparse files. Pure; all raise Corrupt."""

from __future__ import annotations

from cais.errors import Corrupt

_XATTR = b"SCHILY.xattr."
_LIBARCHIVE_XATTR = b"LIBARCHIVE.xattr."
_DIGITS = frozenset(b"0123456789")


def number(field: bytes, what: str) -> int:
    """An octal number, or GNU's base-256 one: the first bit set, two's complement without it."""
    usual = field[:-1]
    if field[-1] <= 32 and usual.isdigit():
        try:
            return int(usual, 8)
        except ValueError:
            raise Corrupt(f"the archive is corrupt: {field!r} is not a number, where the {what} should be")
    first = field[0]
    if first & 0x80:
        value = int.from_bytes(field, "big")
        if first & 0x40:
            return value - (1 << 8 * len(field))
        return value - (0x80 << 8 * (len(field) - 1))
    text = field.partition(b"\0")[0].strip(b" ")
    if not text:
        text = field.strip(b" \0") or b"0"
    try:
        if b"_" in text:
            raise ValueError
        return int(text, 8)
    except ValueError:
        raise Corrupt(f"the archive is corrupt: {field!r} is not a number, where the {what} should be")


def decimal(text: bytes) -> int:
    """Raises Corrupt for anything but 1 to 20 digits."""
    if not 0 < len(text) <= 20 or not _DIGITS.issuperset(text):
        raise Corrupt(f"the archive is corrupt: {text[:40]!r} is not a number")
    return int(text)


def records(data: bytes) -> tuple[dict[bytes, bytes], list[tuple[int, int]]]:
    """PAX records: ``length key=value\\n`` each, and the pairs of GNU's sparse form 0.0, whose keys repeat."""
    found: dict[bytes, bytes] = {}
    pairs: list[tuple[int, int]] = []
    offset: int | None = None
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 21)
        length = decimal(data[at:space]) if space > 0 else 0
        end = at + length
        equals = data.find(b"=", space, end)
        if equals < 0 or end > len(data) or end <= space or data[end - 1] != 0x0A:
            if not data[at:].strip(b"\0"):
                break
            raise Corrupt("the archive is corrupt: broken record in an extended header")
        key, value = data[space + 1 : equals], data[equals + 1 : end - 1]
        if key == b"GNU.sparse.offset":
            offset = decimal(value)
        elif key == b"GNU.sparse.numbytes":
            if offset is None:
                raise Corrupt("the archive is corrupt: broken map of a sparse file")
            pairs.append((offset, decimal(value)))
            offset = None
        elif b"\0" in value and key in (b"path", b"linkpath", b"GNU.sparse.name"):
            raise Corrupt("the archive is corrupt: a name in it has a zero byte")
        found[key] = value
        at = end
    return found, pairs


def integer(found: dict[bytes, bytes], key: bytes, otherwise: int) -> int:
    """A whole number; an empty value takes the record back, as POSIX has it."""
    value = found.get(key)
    if not value:
        return otherwise
    return -decimal(value[1:]) if value[:1] == b"-" else decimal(value)


def seconds(found: dict[bytes, bytes], otherwise: int) -> int:
    """The modification time in whole seconds, rounded down."""
    value = found.get(b"mtime")
    if not value:
        return otherwise
    whole, _, fraction = value.partition(b".")
    if fraction and not _DIGITS.issuperset(fraction):
        raise Corrupt(f"the archive is corrupt: {value[:40]!r} is not a time")
    if whole[:1] == b"-":
        return -decimal(whole[1:] or b"0") - (1 if fraction.strip(b"0") else 0)
    return decimal(whole or b"0")


def xattrs(found: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Extended attributes, as star writes them, or as libarchive does (percent-encoded name, base64 value)."""
    result: dict[bytes, bytes] = {}
    for key, value in found.items():
        if key.startswith(_XATTR):
            result[key[len(_XATTR) :]] = value
        elif key.startswith(_LIBARCHIVE_XATTR):
            import binascii

            name = _percent_decoded(key[len(_LIBARCHIVE_XATTR) :])
            try:
                result.setdefault(name, binascii.a2b_base64(value + b"=" * (-len(value) % 4)))
            except binascii.Error:
                raise Corrupt(f"the archive is corrupt: broken value of the extended attribute {name!r}")
    return result


def sparse_pairs(data: bytes, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """``found`` and the (offset, size) pairs of GNU's old form: 12 bytes each, ended by an empty one."""
    for at in range(0, len(data), 24):
        if not data[at]:
            break
        found.append((number(data[at : at + 12], "offset"), number(data[at + 12 : at + 24], "size")))
    return found


def _percent_decoded(text: bytes) -> bytes:
    first, *others = text.split(b"%")
    parts = [first]
    for part in others:
        try:
            parts.append(bytes([int(part[:2], 16)]) + part[2:])
        except ValueError:
            parts.append(b"%" + part)
    return b"".join(parts)
