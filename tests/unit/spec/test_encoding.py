from __future__ import annotations

import time

import pytest

from cais.errors import Corrupt, Invalid
from cais.spec.encoding import DEPTH_LIMIT, decode_object, encode


def decode(raw: bytes, limit_bytes: int = 1 << 20) -> dict[str, object]:
    return decode_object(raw, "thing", limit_bytes)


def test_encoding_is_compact_and_keeps_the_order_of_keys() -> None:
    assert encode({"b": 1, "a": ["é", None, True]}) == '{"b":1,"a":["é",null,true]}'.encode()


def test_what_was_encoded_is_decoded() -> None:
    value = {"a": [1, {"b": "\ud800 lone"}], "c": {}}
    assert decode(encode(value)) == value


def test_a_document_larger_than_its_limit_is_refused() -> None:
    with pytest.raises(Invalid, match="more than the limit of 10"):
        decode(b'{"a": "0123456789"}', 10)


@pytest.mark.parametrize("depth", [DEPTH_LIMIT + 1, 5_000, 500_000])
def test_deep_nesting_is_refused_quickly(depth: int) -> None:
    before = time.process_time()
    with pytest.raises(Invalid, match="nested more than"):
        decode(b'{"a":' * depth + b"1" + b"}" * depth, 16 << 20)
    with pytest.raises(Invalid, match="nested more than"):
        decode(b'{"a":' + b"[" * depth, 16 << 20)
    assert time.process_time() - before < 2


def test_brackets_in_strings_are_not_nesting() -> None:
    text = "[" * 5000 + "{" * 5000 + '\\"['
    raw = encode({"history": text})
    assert decode(raw) == {"history": text}


def test_closing_brackets_in_strings_hide_no_nesting() -> None:
    raw = b'{"a":"' + b"]" * 100_000 + b'","b":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    with pytest.raises(Invalid, match="nested more than"):
        decode(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b'{"a":}',
        b'{"a":1} {"b":2}',
        b'{"a":' + b"9" * 10_000 + b"}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
    ],
)
def test_what_is_no_json_is_corrupt(raw: bytes) -> None:
    with pytest.raises(Corrupt, match="thing is not JSON"):
        decode(raw)


@pytest.mark.parametrize("raw", [b"[]", b"1", b"null", b'"x"'])
def test_only_objects_are_documents(raw: bytes) -> None:
    with pytest.raises(Invalid, match="not a JSON object"):
        decode(raw)


def test_a_key_given_twice_is_refused_by_name() -> None:
    with pytest.raises(Invalid, match="'digest' twice"):
        decode(b'{"x":{"digest":"a","size":1,"digest":"b"}}')
