"""JSON as it is stored and hashed: encoding that is always the same, decoding that trusts nothing."""

from __future__ import annotations

from cais.errors import Corrupt, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# Deeper documents than this are no manifest or configuration; the C parser would overflow its stack much later.
DEPTH_LIMIT = 100


def encode(value: object) -> bytes:
    """Canonical JSON: keys in the order given, no spaces, UTF-8. The same value gives the same bytes everywhere."""
    return "".join(_write(value, 0)).encode("utf-8", "surrogatepass")


def decode(text: str | bytes) -> Any:
    """Any value of JSON that Cais has written itself. Raises ValueError."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogatepass")
    return _read(text, _scan)


def decode_object(raw: bytes, what: str, limit_bytes: int) -> dict[str, Any]:
    """``raw`` as a JSON object. ``what`` names it in errors ("manifest").

    Raises Invalid when it is too large, nested too deep, has a key twice or is no object; Corrupt when it is no JSON.
    """
    if len(raw) > limit_bytes:
        raise Invalid(f"{what} is {len(raw)} bytes, more than the limit of {limit_bytes}")
    if raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT and _depth(raw) > DEPTH_LIMIT:
        raise Invalid(f"{what} is nested more than {DEPTH_LIMIT} levels deep")
    try:
        value = _read(raw.decode("utf-8", "surrogatepass").removeprefix("\ufeff"), _scan_strictly)
    except _DuplicateKey as error:
        raise Invalid(f"{what} has the key {error.args[0]!r} twice")
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what} is not JSON: {error}")
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not a JSON object")
    return value


def _depth(raw: bytes) -> int:
    """How deep objects and arrays are nested; brackets in strings do not count. At most a little over the limit."""
    depth = deepest = 0
    outside_strings = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    for byte in b"".join(outside_strings).translate(None, _NOT_BRACKETS):
        if byte in b"{[":
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > DEPTH_LIMIT:
                    break
        else:
            depth -= 1
    return deepest


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


class _DuplicateKey(Exception):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKey(key)
            seen.add(key)
    return value


_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


class _Plain:
    """What the standard library's scanner asks of its decoder."""

    strict = True
    object_hook = None
    object_pairs_hook: Any = None
    parse_float = float
    parse_int = int
    parse_constant: Any = float


class _Strict(_Plain):
    object_pairs_hook = staticmethod(_no_duplicates)
    parse_constant = staticmethod(_no_constant)


def _read(text: str, scan: Callable[[str, int], tuple[Any, int]]) -> Any:
    text = text.strip(" \t\n\r")
    try:
        value, end = scan(text, 0)
    except StopIteration:
        end = -1
    if end != len(text):
        import json

        json.loads(text)  # which says what is wrong, and where
        raise ValueError("it is not JSON")
    return value


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is no value of JSON")


# `json` itself costs 4 ms at each start, most of it for the regular expressions of what is written in Python there.
_scan: Any
_scan_strictly: Any
_write: Any
try:
    from _json import encode_basestring, make_encoder, make_scanner

    _scan, _scan_strictly = make_scanner(_Plain), make_scanner(_Strict)  # type: ignore[arg-type]
    _write = make_encoder(None, _refuse, encode_basestring, None, ":", ",", False, False, True)
except (ImportError, TypeError):  # another Python than those that we know
    import json

    _scan, _scan_strictly = (
        json.JSONDecoder(object_pairs_hook=rules.object_pairs_hook, parse_constant=rules.parse_constant).raw_decode
        for rules in (_Plain, _Strict)
    )

    def _write(value: object, _: int) -> Any:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
