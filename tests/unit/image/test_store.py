from __future__ import annotations

from collections.abc import Callable

import pytest

from cais.engine import Engine
from cais.errors import Corrupt, Invalid, NotFound
from cais.image.records import ImageRecord
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform

Make = Callable[..., ImageRecord]


def test_every_way_to_say_which_image(engine: Engine, make_image: Make) -> None:
    record = make_image("me/app:1", "app")
    for text in (
        "me/app:1", "app", "app:latest", "docker.io/library/app", f"app@{record.target.digest}",
        record.id, record.id.hex, record.id.short, record.id.hex[:3], f"sha256:{record.id.hex[:8]}",
        record.target.digest,
    ):  # fmt: skip
        assert engine.images.get(text).id == record.id, text
    image = engine.images.get("app")
    assert [name.familiar for name in image.names] == ["app:latest", "me/app:1"]
    assert image.digest == record.target.digest
    assert image.config.diff_ids


@pytest.mark.parametrize("text", ["nothing", "app:2", "app@sha256:" + "0" * 64, "sha256:" + "0" * 64, "0" * 12, "fff"])
def test_an_image_that_there_is_not(engine: Engine, make_image: Make, text: str) -> None:
    make_image("app")
    with pytest.raises(NotFound, match="No such image: "):
        engine.images.get(text)


@pytest.mark.parametrize("text", ["", "App", "a b", "sha256:xyz!"])
def test_what_is_no_name_and_no_id(engine: Engine, text: str) -> None:
    with pytest.raises(Invalid, match="invalid reference format"):
        engine.images.get(text)


def test_a_prefix_of_several_ids_is_refused(engine: Engine, make_image: Make) -> None:
    ids = [make_image(f"a:{number}", layers=({"x": b"%d" % number},)).id for number in range(17)]
    digits = [id.hex[0] for id in ids]
    ambiguous = next(digit for digit in digits if digits.count(digit) > 1)
    with pytest.raises(Invalid, match="multiple IDs found"):
        engine.images.get(ambiguous)


def test_a_name_wins_over_an_id(engine: Engine, make_image: Make) -> None:
    other = make_image("other")
    named = make_image(other.id.hex[:6], layers=({"x": b""},))
    assert engine.images.get(other.id.hex[:6]).id == named.id


def test_tagging(engine: Engine, make_image: Make) -> None:
    record = make_image("app")
    engine.images.tag(record.id.short, "localhost:5000/me/app:v1")
    assert engine.images.get("localhost:5000/me/app:v1").id == record.id
    with pytest.raises(Invalid, match="refusing to create a tag with a digest reference"):
        engine.images.tag("app", f"app@{record.target.digest}")
    with pytest.raises(NotFound):
        engine.images.tag("nothing", "x")
    with pytest.raises(Invalid):
        engine.images.tag("app", "Upper")


def test_layers_are_unpacked_on_first_use_and_the_size_is_exact_then(engine: Engine, make_image: Make) -> None:
    record = make_image("app", layers=({"a": b"1"}, {"b": b"2"}))
    store = engine._stores.images
    assert not engine._stores.snapshots.exists(Digest(record.chain))
    chain = store.ensure_unpacked(engine.images.get("app"))
    assert chain == record.chain
    assert engine._stores.snapshots.exists(chain)
    assert store.ensure_unpacked(engine.images.get("app")) == chain


def test_a_layer_that_is_not_its_diff_id_is_corrupt_and_leaves_no_snapshot(engine: Engine) -> None:
    stores = engine._stores
    data = stores.content.add(b"\0" * 1024)
    diff_id = Digest.of(b"another")
    config = ImageConfig({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    stores.content.add(config.raw)
    manifest = Manifest.encode(config.descriptor, [Descriptor(types.OCI_LAYER, data, 1024)])
    stores.content.add(manifest.raw)
    record = stores.images.register(manifest.descriptor)
    with pytest.raises(Corrupt, match=f"cannot unpack the layer {data}: the layer that should be {diff_id}"):
        stores.images.ensure_unpacked(stores.images.read(record))
    assert stores.database.rows("SELECT * FROM snapshots") == []


def test_an_index_is_the_image_of_this_host_s_platform(engine: Engine, make_image: Make) -> None:
    stores = engine._stores
    manifests = []
    for text in ("linux/s390x", str(stores.platform)):
        platform = Platform.parse(text)
        config = ImageConfig.scratch(platform)
        stores.content.add(config.raw)
        manifest = Manifest.encode(config.descriptor, [])
        stores.content.add(manifest.raw)
        manifests.append(manifest.descriptor._replace(platform=platform))
    manifests.append(Descriptor(types.OCI_MANIFEST, Digest.of(b"not here"), 8, platform=Platform.parse("linux/386")))
    index = Index.encode(manifests)
    stores.content.add(index.raw)
    record = stores.images.register(index.descriptor)
    assert record.manifest.digest == manifests[1].digest
    assert record.target.digest == index.digest
    assert engine.images.get(index.digest).config.platform == stores.platform
    other = engine.images.get(index.digest, Platform.parse("linux/s390x"))
    assert other.manifest.digest == manifests[0].digest
    with pytest.raises(NotFound, match="does not provide the specified platform"):
        engine.images.get(index.digest, Platform.parse("linux/386"))


def test_what_is_no_image_is_not_registered(engine: Engine) -> None:
    stores = engine._stores
    blob = stores.content.add(b"{}")
    manifest = Manifest.encode(Descriptor("application/x-something", blob, 2), [])
    stores.content.add(manifest.raw)
    with pytest.raises(Invalid, match="is no image"):
        stores.images.register(manifest.descriptor)
    assert engine.images.list() == []
