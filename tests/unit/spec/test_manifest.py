from __future__ import annotations

import json
from typing import Any

import pytest

from cais.errors import CaisError, Corrupt, Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest, decode
from cais.spec.platform import Platform

CONFIG = Descriptor(types.OCI_CONFIG, Digest.of(b"config"), 6)
LAYER = Descriptor(types.OCI_LAYER_GZIP, Digest.of(b"layer"), 5)


def test_raw_bytes_and_unknown_fields_are_kept() -> None:
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": types.DOCKER_MANIFEST,
            "config": CONFIG.to_json(),
            "layers": [{**LAYER.to_json(), "urls": ["https://example.org"]}],
            "future": {"x": 1},
        },
        indent=3,
    ).encode()
    manifest = Manifest.decode(raw)
    assert manifest.raw == raw
    assert manifest.digest == Digest.of(raw)
    assert manifest.media_type == types.DOCKER_MANIFEST
    assert manifest.fields["future"] == {"x": 1}
    assert manifest.children[0] == CONFIG
    assert manifest.children[1].extra == {"urls": ["https://example.org"]}


def test_encoding_is_always_the_same_and_decodes() -> None:
    manifest = Manifest.encode(CONFIG, [LAYER], annotations={"a": "b"})
    assert manifest.raw == Manifest.encode(CONFIG, [LAYER], annotations={"a": "b"}).raw
    again = Manifest.decode(manifest.raw, types.OCI_MANIFEST)
    assert (again.config, again.layers, again.annotations) == (CONFIG, (LAYER,), {"a": "b"})


def test_a_manifest_without_media_type_takes_its_descriptor_s() -> None:
    raw = json.dumps({"schemaVersion": 2, "config": CONFIG.to_json(), "layers": []}).encode()
    assert Manifest.decode(raw).media_type == types.OCI_MANIFEST
    assert Manifest.decode(raw, types.DOCKER_MANIFEST).media_type == types.DOCKER_MANIFEST
    assert isinstance(decode(raw), Manifest)


def document(**changes: Any) -> bytes:
    fields = {"schemaVersion": 2, "mediaType": types.OCI_MANIFEST, "config": CONFIG.to_json(), "layers": []}
    return json.dumps({**fields, **changes}).encode()


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (document(schemaVersion=1), ""),
        (document(schemaVersion="2"), ""),
        (document(mediaType="application/json"), ""),
        (document(mediaType=7), ""),
        (document(mediaType=types.OCI_INDEX), ""),
        (document(), types.DOCKER_MANIFEST),
        (document(config=None), ""),
        (document(config={"digest": "x", "size": 1}), ""),
        (document(layers={}), ""),
        (document(layers=["x"]), ""),
        (document(manifests=[]), ""),
        (b"{}", ""),
    ],
)
def test_a_manifest_that_contradicts_itself_or_its_descriptor_is_refused(raw: bytes, media_type: str) -> None:
    with pytest.raises(Invalid):
        Manifest.decode(raw, media_type)


def test_a_manifest_that_is_no_json_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        Manifest.decode(b"{")


def test_a_manifest_over_the_limit_is_refused() -> None:
    with pytest.raises(Invalid, match="limit"):
        Manifest.decode(document(annotations={"x": "y" * types.MANIFEST_LIMIT_BYTES}))


@pytest.mark.parametrize("annotations", [[], "x", {"a": 1}])
def test_annotations_are_strings(annotations: Any) -> None:
    with pytest.raises(Invalid, match="annotations"):
        Manifest.decode(document(annotations=annotations))
    with pytest.raises(Invalid, match="annotations"):
        Index.decode(json.dumps({"schemaVersion": 2, "manifests": [], "annotations": annotations}).encode())


def test_an_index_chooses_the_exact_variant_then_the_first_that_fits() -> None:
    def entry(text: str, name: str) -> Descriptor:
        return Descriptor(types.OCI_MANIFEST, Digest.of(name.encode()), 1, platform=Platform.parse(text))

    v6, v7, amd64 = entry("linux/arm/v6", "6"), entry("linux/arm/v7", "7"), entry("linux/amd64", "a")
    index = Index.decode(Index.encode([v6, v7, amd64]).raw)
    assert index.choose(Platform.parse("linux/arm/v7")) == v7
    assert index.choose(Platform.parse("linux/amd64")) == amd64
    assert index.choose(Platform("linux", "arm")) == v6
    assert index.choose(Platform.parse("linux/s390x")) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"manifests": {}},
        {"manifests": [1]},
        {"manifests": [], "layers": []},
        {"manifests": [], "mediaType": types.OCI_MANIFEST},
        {"manifests": [{"digest": "sha256:0", "size": 0}]},
    ],
)
def test_a_malformed_index_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Index.decode(json.dumps({"schemaVersion": 2, **fields}).encode())


@pytest.mark.parametrize("raw", [b"{}", b"[]", b'{"schemaVersion":2,"mediaType":"x"}', b"", b'{"schemaVersion":1}'])
def test_what_is_neither_is_refused(raw: bytes) -> None:
    with pytest.raises(CaisError):
        decode(raw)
