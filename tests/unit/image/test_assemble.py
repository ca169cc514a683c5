from __future__ import annotations

import pytest

from cais.errors import Failed
from cais.image.assemble import Base, NewLayer, assemble
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Manifest
from cais.spec.platform import Platform

LAYER = NewLayer(Digest.of(b"layer"), 5)
TIME = "2024-01-31T12:00:00Z"


def test_a_first_layer_is_referred_to_by_its_diff_id() -> None:
    made = assemble(
        None, [LAYER], {"Cmd": ["sh"], "User": None}, [{"created_by": "COPY"}], created=TIME, platform=Platform()
    )
    assert made.manifest.layers == (Descriptor(types.OCI_LAYER, LAYER.diff_id, 5),)
    assert made.manifest.config == made.config.descriptor
    assert made.config.diff_ids == (LAYER.diff_id,)
    assert made.config.run == {"Cmd": ["sh"]}
    assert made.config.fields["created"] == TIME
    assert made.config.platform == Platform()
    assert ImageConfig.decode(made.config.raw).digest == made.config.digest
    assert Manifest.decode(made.manifest.raw, made.target.media_type).digest == made.target.digest


def test_the_same_parts_give_the_same_image() -> None:
    first, second = (
        assemble(None, [LAYER], {"Env": ["A=1"]}, [{"created_by": "x"}], created=TIME, annotations={"k": "v"})
        for _ in range(2)
    )
    assert first.target == second.target
    assert first.config.raw == second.config.raw


def test_layers_of_the_base_keep_their_blobs() -> None:
    received = Descriptor(types.DOCKER_LAYER_GZIP, Digest.of(b"gz"), 3)
    config = ImageConfig(
        {
            "architecture": "arm64", "os": "linux", "variant": "v9", "author": "someone", "container": "gone",
            "config": {"Env": ["A=1"]}, "history": [{"created_by": "base"}],
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(b"plain")]},
        }
    )  # fmt: skip
    base = Base(config, Manifest.encode(config.descriptor, [received], media_type=types.DOCKER_MANIFEST))
    made = assemble(base, [LAYER], {"Env": ["A=1"]}, [{"created_by": "RUN"}], created=TIME)
    assert [layer.digest for layer in made.manifest.layers] == [received.digest, LAYER.diff_id]
    assert made.manifest.layers[0].media_type == types.OCI_LAYER_GZIP
    assert made.manifest.media_type == types.OCI_MANIFEST
    assert made.config.diff_ids == (Digest.of(b"plain"), LAYER.diff_id)
    assert [entry["created_by"] for entry in made.config.history] == ["base", "RUN"]
    assert made.config.platform == Platform("linux", "arm64", "v9")
    assert made.config.fields["author"] == "someone"
    assert "container" not in made.config.fields


def test_a_history_that_forgets_a_layer_is_a_fault() -> None:
    with pytest.raises(Failed, match="history has 0 entries"):
        assemble(None, [LAYER], {}, [{"created_by": "ENV", "empty_layer": True}], created=TIME)
