from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cais.engine import Engine
from cais.errors import CaisError, Corrupt, Invalid, NotFound
from cais.image.records import ImageRecord
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.platform import Platform

Make = Callable[..., ImageRecord]


def saved(engine: Engine, *names: str, platform: Platform | None = None) -> dict[str, bytes]:
    out = io.BytesIO()
    engine.images.save(names, out, platform)
    out.seek(0)
    found = {}
    with tarfile.open(fileobj=out) as archive:
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file is not None else b""
            assert (member.uid, member.gid, member.mtime) == (0, 0, 0)
    return found


def tags(files: dict[str, bytes]) -> list[list[str] | None]:
    return [entry["RepoTags"] for entry in json.loads(files["manifest.json"])]


def test_a_repository_means_all_its_tags(engine: Engine, make_image: Make) -> None:
    make_image("app:1", "app:2", layers=({"a": b"1"},))
    make_image("app:3", layers=({"a": b"3"},))
    make_image("other")
    assert tags(saved(engine, "app")) == [["app:1", "app:2"], ["app:3"]]
    assert tags(saved(engine, "app:2")) == [["app:2"]]
    assert tags(saved(engine, "other", "app:3", "app:3")) == [["other:latest"], ["app:3"]]


def test_an_id_is_saved_without_a_name(engine: Engine, make_image: Make) -> None:
    record = make_image("app")
    files = saved(engine, record.id.short)
    assert tags(files) == [None]
    assert "annotations" not in json.loads(files["index.json"])["manifests"][0]


def test_every_blob_is_what_its_name_says_and_shared_layers_come_once(engine: Engine, make_image: Make) -> None:
    make_image("a", layers=({"shared": b"s"}, {"a": b"a"}))
    make_image("b", layers=({"shared": b"s"}, {"b": b"b"}))
    files = saved(engine, "a", "b")
    blobs = {name.rpartition("/")[2]: data for name, data in files.items() if name.startswith("blobs/sha256/")}
    assert len(blobs) == 3 + 2 + 2
    for name, data in blobs.items():
        assert Digest.of(data).hex == name
    assert saved(engine, "a", "b") == files


def test_what_is_not_there_writes_nothing(engine: Engine, make_image: Make) -> None:
    make_image("app")
    out = io.BytesIO()
    with pytest.raises(NotFound, match="No such image: nothing"):
        engine.images.save(["app", "nothing"], out)
    with pytest.raises(Invalid):
        engine.images.save([], out)
    assert out.getvalue() == b""


def test_a_missing_blob_is_found_before_anything_is_written(engine: Engine, make_image: Make) -> None:
    make_image("app")
    stores = engine._stores
    layer = engine.images.get("app").manifest.layers[0].digest
    with stores.database.transaction() as change:
        change.execute("DELETE FROM blobs WHERE digest = ?", (layer,))
    out = io.BytesIO()
    with pytest.raises(NotFound, match=layer):
        engine.images.save(["app"], out)
    assert out.getvalue() == b""


def test_a_damaged_blob_stops_the_archive(engine: Engine, make_image: Make) -> None:
    make_image("app")
    layer = engine.images.get("app").manifest.layers[0].digest
    path = Path(engine._stores.content.path(layer))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-512])
    with pytest.raises(Corrupt, match=layer):
        engine.images.save(["app"], io.BytesIO())


def test_a_terminal_is_not_written_to(engine: Engine, make_image: Make) -> None:
    make_image("app")
    parent, child = os.openpty()
    try:
        with os.fdopen(child, "wb", buffering=0) as terminal, pytest.raises(Invalid, match="cowardly refusing"):
            engine.images.save(["app"], terminal)
    finally:
        os.close(parent)


def test_one_platform_of_an_index(engine: Engine) -> None:
    stores = engine._stores
    manifests = []
    for text in ("linux/s390x", "linux/ppc64le"):
        platform = Platform.parse(text)
        config = ImageConfig.scratch(platform)
        stores.content.add(config.raw)
        manifest = Manifest.encode(config.descriptor, [])
        stores.content.add(manifest.raw)
        manifests.append(manifest.descriptor._replace(platform=platform))
    index = Index.encode(manifests)
    stores.content.add(index.raw)
    stores.images.register(index.descriptor)
    whole = saved(engine, index.digest)
    assert f"blobs/sha256/{index.digest.hex}" in whole
    assert all(f"blobs/sha256/{item.digest.hex}" in whole for item in manifests)
    one = saved(engine, index.digest, platform=Platform.parse("linux/ppc64le"))
    assert f"blobs/sha256/{manifests[1].digest.hex}" in one
    assert f"blobs/sha256/{manifests[0].digest.hex}" not in one
    with pytest.raises(CaisError, match="does not provide"):
        saved(engine, index.digest, platform=Platform.parse("linux/386"))


def test_an_index_of_which_a_part_is_missing_is_saved_as_the_image_that_is_there(
    engine: Engine, make_image: Make
) -> None:
    stores = engine._stores
    record = make_image()
    missing = Descriptor(types.OCI_MANIFEST, Digest.of(b"missing"), 7, platform=Platform.parse("linux/s390x"))
    index = Index.encode([missing, record.manifest._replace(platform=stores.platform)])
    stores.content.add(index.raw)
    stores.images.register(index.descriptor)
    files = saved(engine, index.digest)
    assert json.loads(files["index.json"])["manifests"][0]["digest"] == record.manifest.digest
