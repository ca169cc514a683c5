"""`system check` finds each kind of damage, and --repair mends what can be mended."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import cais
from cais.engine import Settings
from cais.engine.build import BuildOptions
from cais.errors import Unavailable
from cais.spec.digest import Digest

pytestmark = pytest.mark.root


@pytest.fixture
def engine(tmp_path):
    with cais.Engine(Settings(str(tmp_path / "root"))) as engine:
        yield engine


@pytest.fixture
def image(engine, tmp_path):
    """An image of two layers, built here."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY one /one\nCOPY two /two\n")
    (context / "one").write_text("one")
    (context / "two").write_text("two")
    engine.builder.build(BuildOptions(context=str(context), tags=["app"]))
    return engine.images.get("app")


@pytest.fixture
def loaded(engine, image, tmp_path):
    """The same image in another root directory, where its layers are blobs."""
    archive = tmp_path / "app.tar"
    with open(archive, "wb") as file:
        engine.images.save(["app"], file)
    with cais.Engine(Settings(str(tmp_path / "other"))) as other:
        other.images.load(str(archive))
        yield other


def problems(engine) -> list[tuple[str, str]]:
    return [(finding.subject.split()[0], finding.problem) for finding in engine.system.check()]


def mended(engine) -> list[tuple[str, str]]:
    found = [(finding.subject.split()[0], finding.mended) for finding in engine.system.check(repair=True)]
    assert engine.system.check() == []
    return found


def overwrite(path: str | Path, data: bytes) -> None:
    os.chmod(path, 0o644)
    Path(path).write_bytes(data)


def snapshot_file(engine, chain: Digest, name: str) -> Path:
    (id,) = engine._stores.database.row("SELECT id FROM snapshots WHERE chain_id = ?", (chain,))
    return Path(engine._stores.root, "snapshots", id, "fs", name)


def test_a_sound_store(engine, image, loaded):
    assert problems(engine) == [] and problems(loaded) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [(b"{}", "bytes instead of"), (None, "has no file")],
    ids=["another size", "missing"],
)
def test_a_damaged_config(engine, image, damage, says):
    path = engine._stores.content.path(image.id)
    if damage is None:
        os.unlink(path)
    else:
        overwrite(path, damage)
    assert any(subject == "blob" and says in problem for subject, problem in problems(engine))
    assert ("blob", "removed") in mended(engine)
    assert engine.images.list() == []


def test_one_flipped_bit_in_a_layer_blob(loaded):
    image = loaded.images.get("app")
    path = loaded._stores.content.path(image.manifest.layers[0].digest)
    data = bytearray(Path(path).read_bytes())
    data[700] ^= 1
    overwrite(path, bytes(data))
    assert ("blob", "has another content than its digest says") in problems(loaded)
    mended(loaded)
    assert loaded.images.list() == []


def test_a_changed_file_in_a_snapshot_that_can_be_unpacked_again(loaded):
    image = loaded.images.get("app")
    chain = loaded._stores.images.ensure_unpacked(image)
    snapshot_file(loaded, chain, "two").write_text("bad")
    assert problems(loaded) == [("snapshot", "has other files than its layer")]
    assert mended(loaded) == [("snapshot", "removed: it is unpacked or built again when needed")]
    assert loaded._stores.images.ensure_unpacked(loaded.images.get("app")) == chain
    assert snapshot_file(loaded, chain, "two").read_text() == "two"


def test_a_lost_snapshot_of_a_built_layer_loses_the_image_and_says_so(engine, image, tmp_path):
    directory = snapshot_file(engine, image.chain, "").parent
    shutil.rmtree(directory)
    assert ("snapshot", "has no directory") in problems(engine)
    found = mended(engine)
    assert any(subject == "image" and "build, load or pull it again" in text for subject, text in found)
    assert engine.images.list() == []
    engine.builder.build(BuildOptions(context=str(tmp_path / "context"), tags=["app"]))
    assert engine.images.get("app").id == image.id and engine.system.check() == []


def test_a_name_that_points_nowhere_and_a_record_without_its_snapshot(engine, image):
    with engine._stores.database.transaction() as change:
        change.execute(
            "INSERT INTO tags (name, tag, digest, media_type, size_bytes) VALUES ('docker.io/x/x', 'y', ?, '', 1)",
            (Digest.of(b"nothing"),),
        )
        change.execute("UPDATE build_records SET chain_id = ?", (Digest.of(b"gone"),))
    assert {subject for subject, _ in problems(engine)} == {"name", "build"}
    assert ("build", "forgotten: the step will be built again") in mended(engine)
    assert [row.repository for row in engine.images.list()] == ["app"]


def test_what_a_killed_process_left_is_no_damage_and_goes_with_the_next_collection(engine, image):
    stray = Path(engine._stores.root, "content", "blobs", "sha256", "0" * 64)
    stray.write_bytes(b"stray")
    orphan = Path(engine._stores.root, "snapshots", "0123456789abcdef", "fs")
    orphan.mkdir(parents=True)
    assert problems(engine) == []
    engine.system.collect()
    assert not stray.exists() and not orphan.parent.exists()


def test_what_cannot_be_looked_at_is_not_called_sound():
    from cais.engine.check import _in_threads

    def work(item: int) -> str:
        if item == 1:
            raise Unavailable("no memory")
        return ""

    with pytest.raises(Unavailable, match="no memory"):
        _in_threads(work, [1, 2, 3], lambda: None)
