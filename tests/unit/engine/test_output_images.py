"""Images put out: how their layers are packed, what they are annotated with, what is remembered of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest

import cais
from cais.engine import Settings
from cais.engine.annotations import Annotation, parse_annotations
from cais.errors import CaisError, Corrupt, Invalid
from cais.spec import media_types as types
from cais.spec.digest import Digest
from cais.spec.platform import Platform

BOTH = "linux/amd64,linux/arm64"
AMD64 = Platform()


def archive(path):
    """The index's entries, and the documents by digest, of an archive of images."""
    with tarfile.open(path) as opened:
        blobs = {
            "sha256:" + os.path.basename(member.name): opened.extractfile(member).read()
            for member in opened
            if member.name.startswith("blobs/") and member.isreg()
        }
        entries = json.load(opened.extractfile("index.json"))["manifests"]
    assert all(hashlib.sha256(data).hexdigest() == digest[7:] for digest, data in blobs.items())
    return entries, blobs


@pytest.fixture
def ready(work):
    work.write({"file": "1" * 5000, "other": "2", "Dockerfile": "FROM scratch\nCOPY file /sub/file\nCOPY other /\n"})
    return work


@pytest.mark.root
class TestCompression:
    @pytest.mark.parametrize(
        ("compression", "media_type", "magic"),
        [
            ("gzip", types.OCI_LAYER_GZIP, b"\x1f\x8b"),
            ("gzip,compression-level=9", types.OCI_LAYER_GZIP, b"\x1f\x8b"),
            ("zstd,compression-level=12", types.OCI_LAYER_ZSTD, b"\x28\xb5\x2f\xfd"),
            ("uncompressed", types.OCI_LAYER, b"sub/"),
        ],
    )
    def test_layers(self, ready, tmp_path, compression, media_type, magic):
        result = ready.build(outputs=[f"type=oci,dest={tmp_path}/o.tar,compression={compression}"], tags=["app"])
        entries, blobs = archive(tmp_path / "o.tar")
        manifest = json.loads(blobs[entries[0]["digest"]])
        assert {layer["mediaType"] for layer in manifest["layers"]} == {media_type}
        assert blobs[manifest["layers"][0]["digest"]].startswith(magic)
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "o.tar"))
            assert other.images.get("app").id == result.image_id
            assert other.system.check() == []

    def test_two_outputs_have_one_digest(self, ready, tmp_path):
        result = ready.build(
            outputs=[f"type=oci,dest={tmp_path}/o.tar,compression=gzip", "type=image,name=app,compression=gzip"]
        )
        entries, _ = archive(tmp_path / "o.tar")
        assert entries[0]["digest"] == result.digest == ready.engine.images.get("app").digest
        assert ready.build(outputs=["type=image,compression=gzip"]).digest == result.digest, (
            "nor does it on another day"
        )

    def test_it_is_done_once(self, ready, tmp_path):
        outputs = [f"type=oci,dest={tmp_path}/o.tar,compression=zstd"]
        ready.build(outputs=outputs, tags=["app"])
        blobs = sorted(os.listdir(os.path.join(ready.stores.content.directory, "blobs", "sha256")))
        times = {name: os.stat(ready.stores.content.path(Digest(f"sha256:{name}"))).st_mtime_ns for name in blobs}
        ready.build(outputs=outputs, tags=["app"])
        assert times == {
            name: os.stat(ready.stores.content.path(Digest(f"sha256:{name}"))).st_mtime_ns
            for name in os.listdir(os.path.join(ready.stores.content.directory, "blobs", "sha256"))
        }
        assert ready.count("compressed_layers") == 2

    def test_it_goes_with_its_layer(self, ready, tmp_path):
        ready.build(outputs=["type=image,compression=gzip,name=app"])
        ready.engine.images.remove("app")
        ready.engine.builder.prune()
        assert ready.count("compressed_layers") == ready.count("layer_contents") == ready.count("blobs") == 0
        assert ready.engine.system.check() == []

    def test_layers_that_came_stay_as_they_are_unless_it_is_forced(self, ready, tmp_path):
        ready.build(outputs=[f"type=oci,dest={tmp_path}/base.tar,compression=gzip"], tags=["base"])
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            ready.engine, ready.stores = other, other._stores
            other.images.load(str(tmp_path / "base.tar"))
            text = "FROM base\nCOPY other /new\n"
            for force, kinds in (("false", ["+gzip", "+gzip", "+zstd"]), ("true", ["+zstd"] * 3)):
                output = f"type=oci,dest={tmp_path}/o.tar,compression=zstd,force-compression={force}"
                ready.build(text, outputs=[output])
                entries, blobs = archive(tmp_path / "o.tar")
                layers = json.loads(blobs[entries[0]["digest"]])["layers"]
                assert [layer["mediaType"][-5:] for layer in layers] == kinds
            output = f"type=oci,dest={tmp_path}/o.tar,compression=uncompressed,force-compression=true"
            ready.build(text, outputs=[output])
            entries, blobs = archive(tmp_path / "o.tar")
            assert {item["mediaType"] for item in json.loads(blobs[entries[0]["digest"]])["layers"]} == {
                types.OCI_LAYER
            }
            assert other.system.check() == []

    def test_a_layer_that_was_changed_on_disk(self, ready, tmp_path):
        result = ready.build(tags=["app"])
        chain = ready.engine.images.get(result.image_id).chain
        path = os.path.join(ready.stores.snapshots.changes_directory(chain), "other")
        os.chmod(path, 0o600)
        with pytest.raises(Corrupt, match="changed on disk"):
            ready.build(outputs=["type=image,compression=gzip"])

    def test_dockers_media_types(self, ready, tmp_path):
        output = f"type=docker,dest={tmp_path}/o.tar,oci-mediatypes=false,compression=gzip"
        ready.build(outputs=[output], tags=["app"])
        entries, blobs = archive(tmp_path / "o.tar")
        manifest = json.loads(blobs[entries[0]["digest"]])
        assert entries[0]["mediaType"] == manifest["mediaType"] == types.DOCKER_MANIFEST
        assert manifest["config"]["mediaType"] == types.DOCKER_CONFIG
        assert {layer["mediaType"] for layer in manifest["layers"]} == {types.DOCKER_LAYER_GZIP}
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "o.tar"))
            assert other.system.check() == []

    def test_of_several_platforms(self, ready, tmp_path):
        ready.build(platform=BOTH, outputs=[f"type=oci,dest={tmp_path}/o.tar,oci-mediatypes=false,compression=gzip"])
        entries, blobs = archive(tmp_path / "o.tar")
        index = json.loads(blobs[entries[0]["digest"]])
        assert index["mediaType"] == types.DOCKER_INDEX
        assert {item["mediaType"] for item in index["manifests"]} == {types.DOCKER_MANIFEST}
        assert len(blobs) == 7, "two configs, two manifests, the index; and two layers that they share"


@pytest.mark.root
class TestDestinations:
    def test_a_layout_in_a_directory(self, ready, tmp_path):
        result = ready.build(outputs=[f"type=oci,dest={tmp_path}/d,tar=false"], tags=["app:1"])
        assert sorted(os.listdir(tmp_path / "d")) == ["blobs", "index.json", "oci-layout"]
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "d"))
            assert other.images.get("app:1").digest == result.digest

    def test_a_layout_keeps_its_other_images(self, ready, tmp_path):
        for tag, text in (("a:1", "1"), ("a:2", "2"), ("a:1", "3")):
            ready.write({"other": text})
            result = ready.build(outputs=[f"type=oci,dest={tmp_path}/d,tar=false"], tags=[tag])
        index = json.loads((tmp_path / "d/index.json").read_text())
        names = [item["annotations"]["io.containerd.image.name"] for item in index["manifests"]]
        assert names == ["docker.io/library/a:2", "docker.io/library/a:1"]
        assert index["manifests"][1]["digest"] == result.digest
        assert not list((tmp_path / "d").rglob("*.part"))

    def test_a_directory_that_is_something_else(self, ready, tmp_path):
        (tmp_path / "index.json").write_text("[]")
        with pytest.raises(Invalid, match="no image index"):
            ready.build(outputs=[f"type=oci,dest={tmp_path},tar=false"])

    def test_an_index_as_an_archive_of_docker(self, ready, tmp_path):
        with pytest.raises(CaisError, match="does not support exporting manifest lists"):
            ready.build(platform=BOTH, outputs=[f"type=docker,dest={tmp_path}/o.tar"])
        assert ready.engine.builder.list() == [], "before anything is built"

    def test_two_to_one_place(self, ready, tmp_path):
        with pytest.raises(Invalid, match="two outputs go to"):
            ready.build(outputs=[f"type=oci,dest={tmp_path}/o", f"type=tar,dest={tmp_path}/o"])

    def test_times_that_nobody_said(self, ready):
        for epoch, warned in ((None, 1), (1000, 0)):
            ready.build(outputs=["type=image,rewrite-timestamp=true"], epoch=epoch)
            messages = [event["message"] for event in ready.events if event["event"] == "warning"]
            assert len([text for text in messages if "no source-date-epoch" in text]) == warned

    def test_not_stored(self, ready):
        result = ready.build(outputs=["type=image,store=false"])
        assert result.digest and ready.count("images") == 0

    def test_names_are_those_of_their_output_and_of_all(self, ready, tmp_path):
        result = ready.build(
            outputs=["type=image,name=own", f"type=oci,dest={tmp_path}/o.tar,name=other"], tags=["all"]
        )
        assert sorted(row.repository for row in ready.engine.images.list()) == ["all", "own"]
        assert result.names == ("all:latest", "own:latest", "other:latest")
        assert {entry["annotations"]["io.containerd.image.name"] for entry in archive(tmp_path / "o.tar")[0]} == {
            "docker.io/library/all:latest", "docker.io/library/other:latest",
        }  # fmt: skip

    def test_a_prefix_for_an_image_without_a_name(self, ready):
        result = ready.build(outputs=["type=image,dangling-name-prefix=ci"])
        (row,) = ready.engine.images.list()
        assert (row.repository, row.tag) == ("ci", Digest(result.digest).short)

    def test_standard_output_takes_several_platforms(self, ready):
        out = io.BytesIO()
        ready.build(platform=BOTH, outputs=["type=oci"], stdout=out)
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as opened:
            assert "manifest.json" not in opened.getnames(), "only Docker's archives have one"


@pytest.mark.root
class TestAnnotations:
    def test_where_they_go(self, ready, tmp_path):
        result = ready.build(
            platform=BOTH,
            outputs=[f"type=oci,dest={tmp_path}/o.tar,annotation-index.i=1,annotation.m=0"],
            annotations=["m=2", "manifest[linux/arm64]:a=3", "index-descriptor:d=4", "manifest-descriptor:e=5"],
        )
        entries, blobs = archive(tmp_path / "o.tar")
        index = json.loads(blobs[entries[0]["digest"]])
        assert index["annotations"] == {"i": "1"} and entries[0]["annotations"]["d"] == "4"
        assert [item["annotations"] for item in index["manifests"]] == [{"e": "5"}] * 2
        manifests = [json.loads(blobs[item["digest"]]) for item in index["manifests"]]
        assert [item["annotations"] for item in manifests] == [{"m": "2"}, {"m": "2", "a": "3"}]
        assert result.metadata()["containerimage.descriptor"]["annotations"] == {"d": "4"}

    def test_of_one_platform(self, ready):
        result = ready.build(annotations=["a=b", "manifest-descriptor:c=d"], tags=["app"])
        assert ready.engine.images.inspect("app")["Annotations"] == {"a": "b"}
        assert result.metadata()["containerimage.descriptor"]["annotations"] == {"c": "d"}
        assert ready.build().image_id == result.image_id, "the config is the same"

    def test_not_of_an_index_where_there_is_none(self, ready):
        for text in ("index:a=b", "index-descriptor:a=b", "manifest,index:a=b"):
            with pytest.raises(Invalid, match="index annotations not supported for single platform export"):
                ready.build(annotations=[text])
        assert ready.engine.builder.list() == []

    def test_files_have_none(self, ready, tmp_path):
        ready.build(annotations=["index:a=b"], outputs=[str(tmp_path / "out")])
        assert (tmp_path / "out" / "other").exists()


class TestParsingAnnotations:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("a=b", [("manifest", None, "a", "b")]),
            ("a=b=c:d", [("manifest", None, "a", "b=c:d")]),
            ("org.x/y=", [("manifest", None, "org.x/y", "")]),
            ("index:a=b", [("index", None, "a", "b")]),
            ("manifest[linux/amd64],index:a=b", [("manifest", AMD64, "a", "b"), ("index", None, "a", "b")]),
            ("manifest-descriptor[arm64]:a=b", [("manifest-descriptor", Platform("linux", "arm64"), "a", "b")]),
        ],
    )
    def test_good(self, text, found):
        assert parse_annotations([text, ""]) == [Annotation(*item) for item in found]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("noequals", 'invalid annotation "noequals", expected key=value'),
            ("=x", "invalid annotation format"),
            ("a b=c", "invalid annotation format"),
            ("foo:a=b", 'unknown annotation type "foo"'),
            ("Index:a=b", "invalid annotation type"),
            ("index[:a=b", "invalid annotation type"),
            ("manifest[a/b/c/d]:a=b", 'invalid platform "a/b/c/d"'),
        ],
    )
    def test_bad(self, text, message):
        with pytest.raises(Invalid, match=message.replace("[", r"\[")):
            parse_annotations([text])


@pytest.mark.root
class TestMetadata:
    def test_of_one_platform(self, ready):
        result = ready.build(tags=["app:1", "example.com/b"])
        descriptor = result.target.to_json()
        assert result.metadata() == {
            "buildx.build.ref": f"default/default/{result.build_id}",
            "containerimage.config.digest": result.image_id,
            "containerimage.descriptor": descriptor,
            "containerimage.digest": result.digest,
            "image.name": "docker.io/library/app:1,example.com/b:latest",
        }
        assert descriptor["platform"] == ready.stores.platform.to_json() and descriptor["size"] > 100

    def test_of_several(self, ready):
        result = ready.build(platform=BOTH)
        assert sorted(result.metadata()) == ["buildx.build.ref", "containerimage.descriptor", "containerimage.digest"]

    def test_of_files(self, ready, tmp_path):
        result = ready.build(outputs=[str(tmp_path / "out")])
        assert list(result.metadata()) == ["buildx.build.ref"]
