from __future__ import annotations

from typing import Any

import pytest

from cais.errors import Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.platform import Platform

DIGEST = Digest.of(b"")


def test_every_field_survives_a_round_trip() -> None:
    value = {
        "mediaType": types.OCI_MANIFEST,
        "digest": DIGEST,
        "size": 7,
        "annotations": {"a": "b"},
        "platform": {"architecture": "arm", "os": "linux", "variant": "v7"},
        "artifactType": "application/x",
        "urls": ["https://example.org/x"],
        "data": "e30=",
        "of.the.future": {"deep": [1, None]},
    }
    descriptor = Descriptor.from_json(value)
    assert descriptor.platform == Platform("linux", "arm", "v7")
    assert descriptor.to_json() == value


def test_a_plain_descriptor_has_three_fields() -> None:
    assert Descriptor(types.OCI_LAYER, DIGEST, 0).to_json() == {
        "mediaType": types.OCI_LAYER,
        "digest": DIGEST,
        "size": 0,
    }


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "sha256:x",
        {},
        {"digest": 1, "size": 1},
        {"digest": "sha256:zz", "size": 1},
        {"digest": DIGEST},
        {"digest": DIGEST, "size": -1},
        {"digest": DIGEST, "size": True},
        {"digest": DIGEST, "size": 1.0},
        {"digest": DIGEST, "size": "1"},
        {"digest": DIGEST, "size": 1 << 63},
        {"digest": DIGEST, "size": 1, "mediaType": 3},
        {"digest": DIGEST, "size": 1, "artifactType": []},
        {"digest": DIGEST, "size": 1, "annotations": {"a": 1}},
        {"digest": DIGEST, "size": 1, "annotations": []},
        {"digest": DIGEST, "size": 1, "platform": "linux/amd64"},
    ],
)
def test_a_descriptor_that_lies_about_its_types_is_refused(value: Any) -> None:
    with pytest.raises(Invalid):
        Descriptor.from_json(value)
