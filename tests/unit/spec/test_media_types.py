from __future__ import annotations

import pytest

from cais.spec import media_types as types


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (types.OCI_LAYER, "none"),
        (types.OCI_LAYER_GZIP, "gzip"),
        (types.OCI_LAYER_ZSTD, "zstd"),
        (types.OCI_LAYER_NONDISTRIBUTABLE + "+gzip", "gzip"),
        (types.DOCKER_LAYER, "none"),
        (types.DOCKER_LAYER_GZIP, "gzip"),
        (types.DOCKER_LAYER_ZSTD, "zstd"),
        (types.DOCKER_LAYER_FOREIGN, "gzip"),
        ("application/x-made-up", "none"),
    ],
)
def test_a_media_type_says_how_its_bytes_are_compressed(media_type: str, compression: str) -> None:
    assert types.compression_of(media_type) == compression


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_the_type_of_a_compression_says_that_compression(compression: str) -> None:
    assert types.compression_of(types.layer_media_type(compression)) == compression
