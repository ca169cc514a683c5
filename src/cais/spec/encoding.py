"""JSON as it is stored and hashed: encoding that is always the same, decoding that trusts nothing."""

from __future__ import annotations

import json

from cais.errors import Corrupt, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Deeper documents than this are no manifest or configuration; the C parser would overflow its stack much later.
DEPTH_LIMIT = 100


def encode(value: object) -> bytes:
    """Canonical JSON: keys in the order given, no spaces, UTF-8. The same value gives the same bytes everywhere."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def decode_object(raw: bytes, what: str, limit_bytes: int) -> dict[str, Any]:
    """``raw`` as a JSON object. ``what`` names it in errors ("manifest").

    Raises Invalid when it is too large, nested too deep, has a key twice or is no object; Corrupt when it is no JSON.
    """
    if len(raw) > limit_bytes:
        raise Invalid(f"{what} is {len(raw)} bytes, more than the limit of {limit_bytes}")
    if raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT and _depth(raw) > DEPTH_LIMIT:
        raise Invalid(f"{what} is nested more than {DEPTH_LIMIT} levels deep")
    try:
        value = json.loads(raw, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except _DuplicateKey as error:
        raise Invalid(f"{what} has the key {error.args[0]!r} twice")
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{what} is not JSON: {error}")
    if not isinstance(value, dict):
        raise Invalid(f"{what} is not a JSON object")
    return value


def _depth(raw: bytes) -> int:
    """How deep objects and arrays are nested; brackets in strings do not count. At most a little over the limit."""
    import re

    depth = deepest = 0
    for byte in re.sub(rb'"(?:[^"\\]++|\\.)*+"', b"", raw, flags=re.DOTALL).translate(None, _NOT_BRACKETS):
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
