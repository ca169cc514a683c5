"""Archives that lie: each is refused with a clear error, and nothing of it stays."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cais.engine import Engine, Settings
from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unavailable, Unsupported
from cais.spec import media_types as types

Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(Settings(str(tmp_path / "root"))) as engine:
        yield engine


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar_of(members: Members) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def file(name: str, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, data


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


LAYER = tar_of([file("etc/motd", b"hello")])
SECOND = tar_of([file("etc/issue", b"world")])


class Parts:
    """An image whose every part may be made to lie before ``oci`` or ``docker`` packs it."""

    def __init__(self, layer: bytes = LAYER, media_type: str = types.OCI_LAYER, diff_id: str = "") -> None:
        self.layer = layer
        self.config: dict[str, Any] = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [diff_id or digest_of(layer)]},
        }
        self.layer_descriptor: dict[str, Any] = {
            "mediaType": media_type, "digest": digest_of(layer), "size": len(layer)
        }  # fmt: skip
        self.config_descriptor: dict[str, Any] = {"mediaType": types.OCI_CONFIG}
        self.manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": types.OCI_MANIFEST}
        self.entry: dict[str, Any] = {"mediaType": types.OCI_MANIFEST}
        self.config_bytes: bytes | None = None
        self.manifest_bytes: bytes | None = None

    def oci(self) -> Members:
        config = json.dumps(self.config).encode() if self.config_bytes is None else self.config_bytes
        manifest = {
            **self.manifest,
            "config": {"digest": digest_of(config), "size": len(config), **self.config_descriptor},
            "layers": [self.layer_descriptor],
        }
        raw = json.dumps(manifest).encode() if self.manifest_bytes is None else self.manifest_bytes
        index = {"schemaVersion": 2, "manifests": [{"digest": digest_of(raw), "size": len(raw), **self.entry}]}
        return [
            file("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
            file("index.json", json.dumps(index).encode()),
            *(file("blobs/sha256/" + digest_of(data)[7:], data) for data in (config, raw, self.layer)),
        ]

    def docker(self, **entry: Any) -> Members:
        config = json.dumps(self.config).encode() if self.config_bytes is None else self.config_bytes
        documents = [{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["a/layer.tar"], **entry}]
        return [
            file("c.json", config),
            file("a/layer.tar", self.layer),
            file("manifest.json", json.dumps(documents).encode()),
        ]


def refused(engine: Engine, data: bytes, kind: type[CaisError], words: str) -> None:
    """Loading raises ``kind`` saying ``words``; no image, no name and no blob is there afterwards."""
    with pytest.raises(kind, match=words) as caught:
        engine.images.load(io.BytesIO(data))
    assert len(caught.value.message) < 1000
    nothing_left(engine)


def nothing_left(engine: Engine) -> None:
    stores = engine._stores
    assert engine.images.list(all=True) == []
    for table in ("tags", "images", "blobs", "edges", "snapshots", "lease_items"):
        assert stores.database.rows(f"SELECT * FROM {table}") == [], table
    for directory, _, names in os.walk(os.path.join(stores.root, "content")):
        assert names == [], directory


def test_the_honest_ones_load(engine: Engine) -> None:
    assert engine.images.load(io.BytesIO(tar_of(Parts().oci())))[0].kind == "id"
    assert engine.images.load(io.BytesIO(tar_of(Parts().docker())))[0].name_or_id == "app:1"


Change = Callable[[Parts], object]
LIES: dict[str, tuple[Change, type[CaisError], str]] = {
    "manifest size": (lambda p: p.entry.update(size=7), Corrupt, "7 bytes"),
    "manifest size, enormous": (lambda p: p.entry.update(size=1 << 62), Corrupt, "bytes"),
    "manifest size, negative": (lambda p: p.entry.update(size=-1), Invalid, "impossible size -1"),
    "manifest digest": (lambda p: p.entry.update(digest=digest_of(b"no")), Invalid, "does not have the blob"),
    "manifest digest, malformed": (lambda p: p.entry.update(digest="sha256:../../etc"), Invalid, "invalid digest"),
    "manifest digest, other algorithm": (lambda p: p.entry.update(digest="md5:0"), Invalid, "unsupported algorithm"),
    "manifest type is Docker's": (
        lambda p: p.entry.update(mediaType=types.DOCKER_MANIFEST), Invalid, "its media type is"
    ),
    "manifest type is an index": (lambda p: p.entry.update(mediaType=types.OCI_INDEX), Invalid, "index"),
    "manifest type unknown": (lambda p: p.entry.update(mediaType="text/html"), Invalid, "unknown media type"),
    "manifest inner type": (lambda p: p.manifest.update(mediaType=types.OCI_INDEX), Invalid, "media type"),
    "manifest schema version": (lambda p: p.manifest.update(schemaVersion=1), Invalid, "schemaVersion"),
    "config size": (lambda p: p.config_descriptor.update(size=1), Corrupt, "should have 1 bytes"),
    "config digest": (lambda p: p.config_descriptor.update(digest=digest_of(b"x")), Invalid, "does not have the blob"),
    "layer size": (lambda p: p.layer_descriptor.update(size=3), Corrupt, "should have 3 bytes"),
    "layer digest": (lambda p: p.layer_descriptor.update(digest=digest_of(b"x")), Invalid, "does not have the blob"),
    "layer type says gzip": (
        lambda p: p.layer_descriptor.update(mediaType=types.OCI_LAYER_GZIP), Corrupt, "is a plain tar, but its media"
    ),
    "layer type says zstd": (
        lambda p: p.layer_descriptor.update(mediaType=types.DOCKER_LAYER_ZSTD), Corrupt, "zstd-compressed"
    ),
    "diff_id": (lambda p: p.config["rootfs"].update(diff_ids=[digest_of(b"x")]), Corrupt, "says that a layer is"),
    "no diff_id": (lambda p: p.config["rootfs"].update(diff_ids=[]), Invalid, "1 layers, its config 0"),
    "a diff_id too many": (
        lambda p: p.config["rootfs"]["diff_ids"].append(digest_of(b"x")), Invalid, "1 layers, its config 2"
    ),
    "config is no object": (lambda p: setattr(p, "config_bytes", b"[]"), Invalid, "not a JSON object"),
    "config is no JSON": (lambda p: setattr(p, "config_bytes", b"\x7fELF"), Corrupt, "not JSON"),
    "config has a key twice": (lambda p: setattr(p, "config_bytes", b'{"os":"a","os":"b"}'), Invalid, "twice"),
    "config is huge": (
        lambda p: p.config.update(author="x" * types.CONFIG_LIMIT_BYTES), Corrupt, "larger than"
    ),
    "config is nested deep": (
        lambda p: setattr(p, "config_bytes", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), Invalid, "nested"
    ),
    "manifest is huge": (
        lambda p: p.manifest.update(annotations={"a": "x" * types.MANIFEST_LIMIT_BYTES}), Corrupt, "larger than"
    ),
    "manifest is nested deep": (
        lambda p: setattr(p, "manifest_bytes", b'{"a":' * 50_000 + b"1" + b"}" * 50_000), Invalid, "nested"
    ),
    "environment is a string": (lambda p: p.config.update(config={"Env": "A=b"}), Invalid, "Env"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_an_oci_archive_that_lies(engine: Engine, lie: str) -> None:
    change, kind, words = LIES[lie]
    parts = Parts()
    change(parts)
    refused(engine, tar_of(parts.oci()), kind, words)


@pytest.mark.parametrize("lie", LIES)
def test_an_oci_directory_that_lies(engine: Engine, tmp_path: Path, lie: str) -> None:
    change, kind, _ = LIES[lie]
    parts = Parts()
    change(parts)
    for info, data in parts.oci():
        path = tmp_path / "layout" / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with pytest.raises((kind, Corrupt, Invalid)):
        engine.images.load(str(tmp_path / "layout"))
    nothing_left(engine)


def test_a_blob_that_is_not_its_name(engine: Engine) -> None:
    members = Parts().oci()
    name = members[-1][0].name
    refused(engine, tar_of([*members[:-1], file(name, SECOND)]), Corrupt, "has the digest")


def test_a_layer_that_says_plain_and_is_compressed(engine: Engine) -> None:
    parts = Parts(gzip.compress(LAYER), diff_id=digest_of(LAYER))
    refused(engine, tar_of(parts.oci()), Corrupt, "is gzip-compressed, but its media type")


@pytest.mark.parametrize(
    ("members", "kind", "words"),
    [
        ([file("../index.json", b"{}")], Invalid, "leads out of it"),
        ([file("blobs/../../../etc/passwd", b"x")], Invalid, "leads out of it"),
        ([file("/etc/passwd", b"x")], Invalid, "absolute name"),
        ([link("a", "../../etc/passwd")], Invalid, "leads out of it"),
        ([link("a", "/etc/passwd")], Invalid, "absolute name"),
        ([link("a", "../etc/passwd", tarfile.LNKTYPE)], Invalid, "leads out of it"),
        ([file("x", b"1"), file("x", b"2")], Invalid, "two different members 'x'"),
        ([file("index.json", b"{}"), file("./index.json", b"[]")], Invalid, "two different members 'index.json'"),
        ([link("x", "a"), file("x", b"2")], Invalid, "two different members"),
        ([link("x", "a"), link("x", "b")], Invalid, "two different members"),
        ([file("blobs/sha256/short", b"x")], Invalid, "invalid digest"),
        ([file("blobs/md5/0123", b"x")], Invalid, "unsupported algorithm"),
        ([file("index.json", b" " * (types.MANIFEST_LIMIT_BYTES + 1))], Invalid, "more than the limit"),
        ([file("index.json", b"[" * 1_000_000)], Invalid, "nested"),
        ([file("index.json", b"{}")], Invalid, "schemaVersion"),
        ([file("index.json", b"nonsense")], Corrupt, "not JSON"),
        ([file("manifest.json", b"{}")], Invalid, "not a list"),
        ([file("manifest.json", b"[1]")], Invalid, "without a Config"),
        ([file("manifest.json", b"[")], Corrupt, "not JSON"),
        ([file("manifest.json", b"[]")], Invalid, "no image in the archive"),
        ([file("oci-layout", b'{"imageLayoutVersion":"2.0.0"}'), file("index.json", b'{}')], Unsupported, "version"),
        ([file("repositories", b"{}")], Unsupported, "older than 1.10"),
        ([file("etc/passwd", b"root")], Invalid, "neither index.json"),
        ([], Invalid, "neither index.json"),
    ],
)  # fmt: skip
def test_hostile_members(engine: Engine, members: Members, kind: type[CaisError], words: str) -> None:
    refused(engine, tar_of(members), kind, words)


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        ({"Config": "../../etc/passwd"}, Invalid, "leads out of it"),
        ({"Config": "/etc/passwd"}, Invalid, "absolute name"),
        ({"Config": "nothing.json"}, Invalid, "not in the archive"),
        ({"Config": 7}, Invalid, "without a Config"),
        ({"Layers": ["a/layer.tar", "a/layer.tar"]}, Invalid, "names 2 layers"),
        ({"Layers": ["b/layer.tar"]}, Invalid, "not in the archive"),
        ({"Layers": "a/layer.tar"}, Invalid, "Layers"),
        ({"Layers": ["c.json"]}, Corrupt, "says that a layer is"),
        ({"RepoTags": ["Upper:case"]}, Invalid, "invalid reference format"),
        ({"RepoTags": [1]}, Invalid, "RepoTags"),
    ],
)
def test_a_docker_archive_that_lies(engine: Engine, entry: Any, kind: type[CaisError], words: str) -> None:
    refused(engine, tar_of(Parts().docker(**entry)), kind, words)


def test_links_that_go_in_circles(engine: Engine) -> None:
    members = Parts().docker(Layers=["x"])
    refused(engine, tar_of([*members, link("x", "y"), link("y", "x")]), Invalid, "not in the archive")


@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
def test_truncated_archives(engine: Engine, compression: str, at: float) -> None:
    data = tar_of(Parts(tar_of([file("x", os.urandom(50_000))])).oci())
    if compression == "gzip":
        data = gzip.compress(data)
    elif compression == "zstd":
        import zstandard

        data = zstandard.compress(data)
    refused(engine, data[: int(len(data) * at)], CaisError, ".")


def test_corrupt_gzip(engine: Engine) -> None:
    data = bytearray(gzip.compress(tar_of(Parts(tar_of([file("x", os.urandom(50_000))])).oci())))
    data[len(data) // 2] ^= 0xFF
    refused(engine, bytes(data), Corrupt, ".")


@pytest.mark.parametrize("data", [b"", b"x", b"hello world " * 1000, b"\x1f\x8b", b"\x7fELF" + bytes(2000)])
def test_what_is_no_archive(engine: Engine, data: bytes) -> None:
    refused(engine, data, CaisError, ".")


def compressed(data: bytes, compression: str) -> bytes:
    import zstandard

    return gzip.compress(data) if compression == "gzip" else zstandard.compress(data)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_layer_that_ends_early(engine: Engine, compression: str) -> None:
    data = tar_of([file("x", os.urandom(300_000))])
    packed = compressed(data, compression)
    media_type = types.layer_media_type(compression)
    broken = Parts(packed[: len(packed) // 2], media_type, digest_of(data))
    refused(engine, tar_of(broken.oci()), Corrupt, "cannot unpack the layer sha256:")
    whole = Parts(packed, media_type, digest_of(data))
    assert engine.images.load(io.BytesIO(tar_of(whole.oci())))
    assert engine.images.list()[0].size_bytes == len(data)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_layer_that_is_another(engine: Engine, compression: str) -> None:
    parts = Parts(compressed(SECOND, compression), types.layer_media_type(compression), digest_of(LAYER))
    refused(engine, tar_of(parts.oci()), Corrupt, "says that a layer is .*, but the layer .* unpacks to")
    refused(engine, tar_of(parts.docker()), Corrupt, "unpacks to")


def test_a_decompression_bomb_stops_at_the_limit(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from cais.image import layers

    monkeypatch.setattr(layers, "UNPACKED_LIMIT_BYTES", 1 << 20)
    data = bytes(8 << 20)
    parts = Parts(gzip.compress(data), types.OCI_LAYER_GZIP, digest_of(data))
    refused(engine, tar_of(parts.oci()), Invalid, "more than 1048576 bytes of content, which is the limit")


def test_a_good_image_survives_a_bad_archive(engine: Engine) -> None:
    engine.images.load(io.BytesIO(tar_of(Parts().docker())))
    parts = Parts()
    parts.entry.update(size=7)
    with pytest.raises(Corrupt):
        engine.images.load(io.BytesIO(tar_of(parts.oci())))
    image = engine.images.get("app:1")
    out = io.BytesIO()
    engine.images.save(["app:1"], out)
    assert image.config.diff_ids[0].encode()[7:] in out.getvalue()


def test_nested_indexes_are_followed_to_a_limit(engine: Engine) -> None:
    members = Parts().oci()
    raw = members[3][1]
    descriptor = {"mediaType": types.OCI_MANIFEST, "digest": digest_of(raw), "size": len(raw)}
    blobs = [(info, data) for info, data in members if info.name.startswith("blobs/")]
    for _ in range(10):
        raw = json.dumps({"schemaVersion": 2, "mediaType": types.OCI_INDEX, "manifests": [descriptor]}).encode()
        descriptor = {"mediaType": types.OCI_INDEX, "digest": digest_of(raw), "size": len(raw)}
        blobs.append(file("blobs/sha256/" + digest_of(raw)[7:], raw))
    refused(engine, tar_of([file("index.json", raw), *blobs]), Invalid, "nested more than")


def test_an_oci_directory_with_a_link_for_a_blob(engine: Engine, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    for info, data in Parts().oci():
        path = layout / info.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    blob = layout / "blobs/sha256" / digest_of(LAYER)[7:]
    blob.rename(tmp_path / "elsewhere")
    blob.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CaisError):
        engine.images.load(str(layout))
    blob.unlink()
    os.mkfifo(blob)
    with pytest.raises(Invalid, match="is not a file"):
        engine.images.load(str(layout))
    nothing_left(engine)


@pytest.mark.parametrize("kind", ["oci", "docker", "gzip"])
def test_random_damage_is_refused_or_harmless(engine: Engine, kind: str) -> None:
    """Whatever byte is changed: an error of ours, or an image that is whole."""
    import random

    chance = random.Random(kind)
    parts = Parts(gzip.compress(LAYER), types.OCI_LAYER_GZIP, digest_of(LAYER)) if kind == "gzip" else Parts()
    data = tar_of(parts.docker() if kind == "docker" else parts.oci())
    interesting = [at for at, byte in enumerate(data) if byte]
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.choice(interesting)] = chance.randrange(256)
        try:
            loaded = engine.images.load(io.BytesIO(damaged))
        except CaisError:
            continue
        for item in loaded:
            image = engine.images.get(item.id)
            engine.images.save([item.id], io.BytesIO())
            assert image.config.diff_ids == (digest_of(LAYER),)


def test_files_that_are_not_there(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such file or directory"):
        engine.images.load(str(tmp_path / "nothing.tar"))
    with pytest.raises(Invalid, match="no OCI image layout"):
        engine.images.load(str(tmp_path))


def test_what_is_no_tar_is_not_imported(engine: Engine) -> None:
    for data in (b"", b"no tar at all" * 100, LAYER[:514], gzip.compress(LAYER)[:-20]):
        with pytest.raises(CaisError):
            engine.images.import_(io.BytesIO(data), "app")
    assert engine.images.list() == []


@pytest.mark.root
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with Engine(Settings(str(small / "root"))) as engine:
            engine.images.load(io.BytesIO(tar_of(Parts().docker())))
            big = Parts(tar_of([file("x", os.urandom(8 << 20))]))
            with pytest.raises(Unavailable, match=r"(?i)no space"):
                engine.images.load(io.BytesIO(tar_of(big.docker(RepoTags=["big:1"]))))
            assert [row.repository for row in engine.images.list()] == ["app"]
            engine.images.get("app:1")
    finally:
        subprocess.run(["umount", str(small)], check=True)
