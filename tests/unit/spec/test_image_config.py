from __future__ import annotations

import json
from typing import Any

import pytest

from cais.errors import Invalid
from cais.spec import media_types as types
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig, chain_ids
from cais.spec.platform import Platform

A, B, C = (Digest.of(name) for name in (b"a", b"b", b"c"))


def test_what_was_received_keeps_its_bytes_and_unknown_fields() -> None:
    raw = json.dumps({"architecture": "arm64", "os": "linux", "future": [1], "config": {"X-New": 1}}, indent=1).encode()
    config = ImageConfig.decode(raw)
    assert config.raw == raw
    assert config.digest == Digest.of(raw)
    assert config.platform == Platform("linux", "arm64")
    changed = config.replace(created="2020-01-01T00:00:00Z")
    assert changed.fields["future"] == [1]
    assert changed.run == {"X-New": 1}
    assert config.created == ""


def test_a_field_is_taken_away_by_none() -> None:
    config = ImageConfig.scratch(Platform()).replace(author="x")
    assert "author" not in config.replace(author=None).fields


def test_chain_ids_are_those_of_the_image_specification() -> None:
    ab = Digest.of(f"{A} {B}".encode())
    assert chain_ids([]) == ()
    assert chain_ids([A, B, C]) == (A, ab, Digest.of(f"{ab} {C}".encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {"config": []},
        {"rootfs": "x"},
        {"history": {}},
        {"history": ["x"]},
        {"config": {"Env": "A=b"}},
        {"config": {"Env": [1]}},
        {"config": {"Cmd": "x"}},
        {"config": {"Entrypoint": [None]}},
        {"config": {"User": 0}},
        {"config": {"WorkingDir": []}},
        {"config": {"ExposedPorts": []}},
        {"config": {"Volumes": "x"}},
        {"config": {"Labels": []}},
        {"config": {"Labels": {"a": 1}}},
        {"rootfs": {"diff_ids": "x"}},
        {"rootfs": {"diff_ids": {}}},
        {"rootfs": {"diff_ids": [1]}},
        {"rootfs": {"diff_ids": ["sha256:1"]}},
    ],
)
def test_wrong_types_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        ImageConfig.decode(json.dumps(fields).encode())


def test_null_is_as_good_as_absent() -> None:
    run = dict.fromkeys(("Env", "Cmd", "Entrypoint", "Labels", "Volumes", "ExposedPorts", "User", "OnBuild"))
    config = ImageConfig.decode(json.dumps({"config": run, "rootfs": {"diff_ids": None}, "history": None}).encode())
    assert (config.diff_ids, config.history) == ((), ())
    assert ImageConfig.decode(b'{"config":null,"rootfs":null}').run == {}


def test_a_huge_config_is_refused() -> None:
    with pytest.raises(Invalid, match="limit"):
        ImageConfig.decode(b'{"x":"' + b"y" * types.CONFIG_LIMIT_BYTES + b'"}')
