"""What becomes of a build's files: directories, tars, archives, the image itself."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import tarfile
import threading

import pytest

import cais
from cais.engine import Settings
from cais.engine.annotations import Annotation
from cais.engine.output_options import Output
from cais.errors import CaisError, Invalid, Unsupported
from cais.spec.platform import Platform

pytestmark = pytest.mark.root

DOCKERFILE = "FROM scratch\nCOPY file /sub/file\nCOPY other /\n"


@pytest.fixture
def ready(work):
    work.write({"file": "1", "other": "2", "Dockerfile": DOCKERFILE})
    os.utime(work.context / "other", (1000, 1000))
    return work


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "output"),
        [
            ("out", Output("local", "out")),
            ("-", Output("tar", "-")),
            ("type=local,dest=out", Output("local", "out")),
            ("type=tar,dest=-", Output("tar", "-")),
            (" TYPE=oci,Dest=a.tar,name=x,name=y", Output("oci", "a.tar", ("x", "y"))),
            ("type=docker", Output("docker")),
            ("type=image,name=app", Output("image", "", ("app",))),
            ('type=image,"name=a,b"', Output("image", "", ("a", "b"))),
            ('"type=local","dest=a ""b"", c"', Output("local", 'a "b", c')),
            ("type=oci", Output("oci", "-")),
            ("type=oci,dest=d,tar=false", Output("oci", "d", archive=False)),
            ("type=local,dest=d,platform-split=false", Output("local", "d", split=False)),
            ("type=image,compression=uncompressed", Output("image", compression="none")),
            ("type=image,compression-level=7", Output("image", compression="gzip", level=7)),
            ("type=image,compression=zstd,oci-mediatypes=0", Output("image", compression="zstd")),
            ("type=image,oci-mediatypes=F,store=false", Output("image", oci=False, store=False)),
            (
                "type=image,annotation.a=b,annotation-manifest[linux/arm64].c=d=e",
                Output(
                    "image",
                    annotations=(
                        Annotation("manifest", None, "a", "b"),
                        Annotation("manifest", Platform("linux", "arm64"), "c", "d=e"),
                    ),
                ),
            ),
        ],
    )
    def test_good(self, text, output):
        assert Output.parse(text) == output

    @pytest.mark.parametrize(
        ("text", "kind", "message"),
        [
            ("type=tar", Invalid, "refusing to write to console"),
            ("type=oci", Invalid, "refusing to write to console"),
            ("type=local", Invalid, "dest is required for local exporter"),
            ("type=local,dest=-", Invalid, "dest cannot be stdout"),
            ("type=oci,tar=false", Invalid, "needs a dest=DIRECTORY"),
            ("type=zip,dest=x", Invalid, 'exporter "zip" could not be found'),
            ("dest=x", Invalid, "type"),
            ("type=tar,x", Invalid, "invalid value x"),
            ("type=tar,dest=x,compression=gzip", Unsupported, "'compression'"),
            ("type=tar,dest=x,name=app", Unsupported, "'name'"),
            ("type=image,dest=x", Unsupported, "'dest'"),
            ("type=image,foo=x", Unsupported, "'foo'"),
            ("type=image,name=APP", Invalid, "lowercase"),
            ("type=oci,dest=x,compression=lz4", Invalid, "unsupported compression type lz4"),
            ("type=oci,dest=x,compression=estargz", Unsupported, "estargz"),
            ("type=oci,dest=x,compression-level=x", Invalid, "non-integer value x specified for compression-level"),
            ("type=oci,dest=x,compression=gzip,compression-level=10", Invalid, "compression-level 10"),
            ("type=oci,dest=x,compression=zstd,compression-level=-1", Invalid, "non-integer value -1"),
            (
                "type=oci,dest=x,force-compression=maybe",
                Invalid,
                "non-bool value maybe specified for force-compression",
            ),
            ('type=oci,dest="a', Invalid, "bare"),
            ('type=oci,"dest=a', Invalid, "quoted-field"),
            ('type=oci,"dest=a"b', Invalid, "quoted-field"),
            ("type=image,annotation-index.a=b", Invalid, "index annotations not supported for single platform"),
            ("type=image,annotation-foo.a=b", Invalid, 'unknown annotation type "foo"'),
            ("type=image,annotation=b", Invalid, "annotation"),
            ("type=registry", Invalid, "tag is needed when pushing to registry"),
            ("type=image,push-by-digest=true,name=x", Invalid, "push-by-digest needs push=true"),
            ("", Invalid, "empty"),
        ],
    )
    def test_bad_before_anything_is_built(self, ready, text, kind, message):
        with pytest.raises(kind, match=message):
            ready.build(outputs=[text])
        assert ready.engine.builder.list() == []


class TestLocal:
    def test_the_files(self, ready, tmp_path):
        result = ready.build(outputs=[f"type=local,dest={tmp_path}/new/out"])
        out = tmp_path / "new" / "out"
        assert sorted(os.listdir(out)) == ["other", "sub"] and (out / "sub" / "file").read_text() == "1"
        assert (out / "other").stat().st_mtime == 1000
        assert (result.image_id, result.digest) == ("", "") and ready.count("images") == 0

    def test_into_what_is_there(self, ready, tmp_path):
        out = tmp_path / "out"
        (out / "sub" / "file").mkdir(parents=True)
        (out / "mine").write_text("mine")
        out.chmod(0o750)
        ready.build(outputs=[str(out)])
        assert (out / "mine").read_text() == "mine" and (out / "sub" / "file").read_text() == "1"
        assert stat.S_IMODE(out.stat().st_mode) == 0o750, "the directory is the user's own"

    def test_of_a_chain_of_layers_with_what_was_removed(self, based, tmp_path):
        based.build("FROM base\nRUN echo x > /new && rm -r /data /bin/busybox\n", outputs=[str(tmp_path / "out")])
        assert sorted(os.listdir(tmp_path / "out")) == ["bin", "etc", "new", "tmp"]
        assert not (tmp_path / "out" / "bin" / "busybox").exists() and (tmp_path / "out" / "bin" / "sh").is_symlink()
        assert based.leftovers() == []

    def test_of_nothing(self, ready, tmp_path):
        ready.build("FROM scratch\nLABEL a=b\n", outputs=[str(tmp_path / "out")])
        assert os.listdir(tmp_path / "out") == []

    def test_where_it_cannot_be_written(self, ready, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(CaisError, match="write"):
            ready.build(outputs=[f"type=local,dest={tmp_path}/file/out"])


class TestTar:
    def test_to_a_file(self, ready, tmp_path):
        assert ready.files() == {"sub/file": "1", "other": "2"}
        assert [name for name in os.listdir(tmp_path) if "part" in name] == []

    def test_to_standard_output(self, ready):
        out = io.BytesIO()
        ready.build(outputs=["-"], stdout=out)
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
            assert archive.extractfile("sub/file").read() == b"1"

    def test_it_replaces_a_file(self, ready, tmp_path):
        (tmp_path / "out.tar").write_text("old")
        ready.build(outputs=[f"type=tar,dest={tmp_path}/out.tar"])
        assert tarfile.is_tarfile(tmp_path / "out.tar")

    def test_a_link_stays_and_its_target_is_replaced(self, ready, tmp_path):
        (tmp_path / "real.tar").write_text("old")
        (tmp_path / "link.tar").symlink_to("real.tar")
        ready.build(outputs=[f"type=tar,dest={tmp_path}/link.tar"])
        assert (tmp_path / "link.tar").is_symlink() and tarfile.is_tarfile(tmp_path / "real.tar")

    def test_a_pipe_is_written_to(self, ready, tmp_path):
        os.mkfifo(tmp_path / "fifo")
        read = []
        thread = threading.Thread(target=lambda: read.append((tmp_path / "fifo").read_bytes()))
        thread.start()
        ready.build(outputs=[f"type=tar,dest={tmp_path}/fifo"])
        thread.join()
        assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)
        assert tarfile.is_tarfile(io.BytesIO(read[0]))

    def test_a_device_stays_one(self, ready, tmp_path):
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        ready.build(outputs=[f"type=tar,dest={tmp_path}/null"])
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)

    def test_a_full_disk(self, ready):
        with pytest.raises(CaisError, match="write /dev/full"):
            ready.build(outputs=["type=tar,dest=/dev/full"])
        assert ready.leftovers() == []

    def test_not_to_a_terminal(self, ready):
        master, slave = os.openpty()
        with open(slave, "wb", buffering=0) as terminal, pytest.raises(Invalid, match="refusing to write to console"):
            ready.build(outputs=["-"], stdout=terminal)
        os.close(master)

    def test_the_same_bytes_again(self, ready, tmp_path):
        for name in ("one", "two"):
            ready.build(outputs=[f"type=tar,dest={tmp_path}/{name}"], no_cache=True, epoch=5000)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


class TestArchives:
    @pytest.mark.parametrize("kind", ["oci", "docker"])
    def test_it_loads_elsewhere(self, ready, tmp_path, kind):
        result = ready.build(outputs=[f"type={kind},dest={tmp_path}/out.tar"], tags=["app:1"])
        assert ready.count("images") == 0, "an archive is no kept image"
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "out.tar"))
            image = other.images.get("app:1")
            assert (image.id, image.digest) == (result.image_id, result.digest)
            assert other.system.check() == []

    def test_to_standard_output(self, ready):
        out = io.BytesIO()
        ready.build(outputs=["type=oci,dest=-"], stdout=out)
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
            assert json.load(archive.extractfile("oci-layout")) == {"imageLayoutVersion": "1.0.0"}

    def test_docker_without_a_destination_keeps_the_image(self, ready):
        result = ready.build(outputs=["type=docker,name=app"])
        assert ready.engine.images.get("app").id == result.image_id

    def test_several_at_once(self, ready, tmp_path):
        result = ready.build(
            outputs=[f"type=local,dest={tmp_path}/out", f"type=oci,dest={tmp_path}/out.tar", "type=image,name=more"],
            tags=["app"],
        )
        assert (tmp_path / "out" / "other").exists() and tarfile.is_tarfile(tmp_path / "out.tar")
        assert ready.engine.images.get("app").id == ready.engine.images.get("more").id == result.image_id
        assert len(ready.ran) == 2


def test_an_image_without_a_name(ready):
    result = ready.build()
    (row,) = ready.engine.images.list(all=True)
    assert (row.id, row.repository, row.tag) == (result.image_id, "<none>", "<none>")
    assert result.names == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("App", 'invalid tag "App": invalid reference format: '),
        ("app@sha256:" + "a" * 64, f'invalid tag "app@sha256:{"a" * 64}": refusing to create a tag with a digest'),
    ],
)
def test_what_is_no_tag(ready, name, message):
    with pytest.raises(Invalid, match="^" + re.escape(message)):
        ready.build(tags=[name])
