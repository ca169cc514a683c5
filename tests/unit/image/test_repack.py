"""An image as a registry takes it: its layers compressed, and what is said about it said about what was made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cais.engine import Engine
from cais.errors import NotFound
from cais.image.assemble import Assembled, NewLayer, assemble, store, store_index
from cais.image.attestations import REFERENCE_DIGEST, REFERENCE_TYPE, Attestation, store_attestations
from cais.image.compress import Compression
from cais.image.repack import is_whole, packed, present_part
from cais.image.store import Images
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
SAID = Attestation("https://slsa.dev/provenance/v0.2", {"builder": {"id": "x"}, "ключ": [1, None]})


@pytest.fixture
def images(engine: Engine) -> Images:
    return engine._stores.images


def made(images: Images, text: str, platform: Platform = AMD64) -> Assembled:
    """An image of one plain layer, with its platform in its config."""
    data = text.encode()  # not looked into
    new = [NewLayer(images.content.add(data), len(data))]
    image = assemble(None, new, {}, [{"created_by": text}], created="2024-01-31T12:00:00Z", platform=platform)
    store(images.content, image)
    return image


def listed(image: Assembled, platform: Platform | None = AMD64) -> Descriptor:
    return image.target._replace(platform=platform, annotations={"of": "an entry"})


def about(images: Images, image: Assembled, said: Attestation = SAID) -> Descriptor:
    return store_attestations(images.content, image.manifest.digest, ["pkg:docker/old"], [said])


def index_of(images: Images, *entries: Descriptor) -> Descriptor:
    made = Index.encode(entries, media_type=types.DOCKER_INDEX, annotations={"of": "the index"})
    return store_index(images.content, made)


def compressed(images: Images, target: Descriptor) -> Descriptor:
    return packed(images, target, Compression("gzip"), lambda layer: False, lambda platform: [f"pkg:new@{platform}"])


def read(images: Images, item: Descriptor) -> Any:
    return json.loads(images.content.read(item.digest, 1 << 20))


def entries(images: Images, target: Descriptor) -> tuple[Descriptor, ...]:
    return Index.decode(images.content.read(target.digest, 1 << 20), target.media_type).manifests


def statement(images: Images, item: Descriptor) -> Any:
    (layer,) = Manifest.decode(images.content.read(item.digest, 1 << 20), item.media_type).layers
    return read(images, layer)


def test_what_was_said_is_said_about_the_manifest_in_its_place(images: Images) -> None:
    one, other = made(images, "one"), made(images, "other", ARM64)
    target = index_of(
        images, listed(one), listed(other, ARM64), about(images, one), about(images, other, SAID._replace(predicate={}))
    )
    found = compressed(images, target)
    assert found.media_type == types.DOCKER_INDEX
    assert read(images, found)["annotations"] == {"of": "the index"}
    first, second, of_first, of_second = entries(images, found)
    for item, old, platform in ((first, one, AMD64), (second, other, ARM64)):
        assert item.digest != old.target.digest
        assert (item.platform, item.annotations) == (platform, {"of": "an entry"})
        assert read(images, item)["layers"][0]["mediaType"].endswith("gzip")
        assert read(images, item)["config"]["digest"] == old.config.digest, "the image is the same"
    for item, image, platform in ((of_first, first, AMD64), (of_second, second, ARM64)):
        assert item.platform == Platform("unknown", "unknown")
        assert item.annotations == {REFERENCE_DIGEST: image.digest, REFERENCE_TYPE: "attestation-manifest"}
        subjects = [{"name": f"pkg:new@{platform}", "digest": {"sha256": image.digest.hex}}]
        assert statement(images, item)["subject"] == subjects
        assert statement(images, item)["predicateType"] == SAID.predicate_type
    assert statement(images, of_first)["predicate"] == SAID.predicate
    assert statement(images, of_second)["predicate"] == {}
    assert compressed(images, found).digest == found.digest, "it is done once"


def test_what_is_not_changed_is_not_said_again(images: Images) -> None:
    """One image of the index is compressed already, another one is elsewhere."""
    plain, done = made(images, "plain"), made(images, "done")
    gzipped = compressed(images, done.target)
    elsewhere = Descriptor(types.OCI_MANIFEST, Digest.of(b"elsewhere"), 9, platform=ARM64)
    kept = store_attestations(images.content, gzipped.digest, ["pkg:docker/kept"], [SAID])
    far = elsewhere._replace(annotations={REFERENCE_DIGEST: "sha256:far", REFERENCE_TYPE: "attestation-manifest"})
    target = index_of(images, gzipped, kept, elsewhere, far)
    assert compressed(images, target) == target
    both = compressed(images, index_of(images, listed(plain), gzipped, kept, elsewhere, far))
    assert entries(images, both)[1:] == (gzipped, kept, elsewhere, far)


def test_what_is_not_here_cannot_be_said_again(images: Images) -> None:
    image = made(images, "image")
    lost = about(images, image)._replace(digest=Digest.of(b"lost"))
    (item,) = entries(images, compressed(images, index_of(images, listed(image), lost)))
    assert item.digest != image.target.digest


def test_an_image_without_a_platform_is_named_by_nothing(images: Images) -> None:
    image = made(images, "image")
    found = compressed(images, index_of(images, listed(image, None), about(images, image)))
    assert [one["name"] for one in statement(images, entries(images, found)[1])["subject"]] == ["_"]


def test_artifacts_go_as_they_are(images: Images) -> None:
    data = b"{}"
    blob = Descriptor("application/vnd.example", images.content.add(data), len(data))
    artifact = Manifest.encode(blob, [blob])
    images.content.add(artifact.raw, [blob.digest])
    assert compressed(images, artifact.descriptor) == artifact.descriptor
    target = index_of(images, artifact.descriptor, index_of(images, artifact.descriptor))
    assert compressed(images, target) == target


def test_of_an_index_what_is_here(images: Images) -> None:
    image = made(images, "image")
    far = Descriptor(types.OCI_MANIFEST, Digest.of(b"far"), 3, platform=ARM64)
    target = index_of(images, listed(image), far)
    assert not is_whole(images, target)
    assert present_part(images, target) == image.target, "one image is no index"
    said = about(images, image)
    part = present_part(images, index_of(images, listed(image), far, said))
    assert entries(images, part) == (listed(image), said)
    assert is_whole(images, part)
    with pytest.raises(NotFound, match="no image"):
        present_part(images, index_of(images, far, said))
