"""Archives of other tools load, and ours load in them, with the same ids and digests."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cais.engine import Engine, Settings
from cais.image.assemble import NewLayer, assemble, store
from cais.spec.digest import Digest
from cais.spec.reference import Reference
from peer_tools import need, run

pytestmark = pytest.mark.peer
NAME = "example.org/me/app:v1"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(Settings(str(tmp_path / "root"))) as engine:
        yield engine


class Sample:
    """An image of three layers, made by umoci and kept in an OCI layout as ``v1``."""

    def __init__(self, directory: Path) -> None:
        need("umoci", "skopeo")
        self.layout = directory / "layout"
        self.directory = directory
        for name, text in (("a", "first"), ("b", "second"), ("c", "third " * 10_000)):
            (directory / name).write_text(text)
        run("umoci", "init", "--layout", self.layout)
        run("umoci", "new", "--image", f"{self.layout}:v1")
        for name in "abc":
            run("umoci", "insert", "--image", f"{self.layout}:v1", directory / name, f"/dir/{name}")
        run("umoci", "config", "--image", f"{self.layout}:v1", "--config.cmd", "/bin/sh", "--config.label", "k=v")
        run("umoci", "gc", "--layout", self.layout)
        index = json.loads((self.layout / "index.json").read_bytes())
        self.manifest_digest: str = index["manifests"][0]["digest"]
        manifest = json.loads((self.layout / "blobs/sha256" / self.manifest_digest[7:]).read_bytes())
        self.id: str = manifest["config"]["digest"]

    def archive(self, kind: str) -> Path:
        path = self.directory / f"{kind}.tar"
        if not path.exists():
            run("skopeo", "copy", "-q", f"oci:{self.layout}:v1", f"{kind}:{path}:{NAME}")
        return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample"))


def unpacked_files(engine: Engine, name: str) -> dict[str, str]:
    """The files of an image, by walking its layers' snapshots from the lowest up."""
    stores = engine._stores
    chain = stores.images.ensure_unpacked(engine.images.get(name))
    assert chain is not None
    found: dict[str, str] = {}
    for directory in reversed(stores.snapshots.directories(chain)):
        root = Path(directory) / "fs"
        found.update({str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()})
    return found


def check_sample(engine: Engine, sample: Sample, name: str = NAME) -> None:
    image = engine.images.get(name)
    assert image.id == sample.id
    assert image.config.run["Labels"] == {"k": "v"}
    assert unpacked_files(engine, name) == {"dir/a": "first", "dir/b": "second", "dir/c": "third " * 10_000}


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: __import__("zstandard").compress(data),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_skopeo_load_from_a_pipe(engine: Engine, sample: Sample, kind: str, compression: str) -> None:
    data = COMPRESSIONS[compression](sample.archive(kind).read_bytes())
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as pipe:
        import threading

        assert pipe.stdin is not None and pipe.stdout is not None

        def feed() -> None:
            assert pipe.stdin is not None
            pipe.stdin.write(data)
            pipe.stdin.close()

        thread = threading.Thread(target=feed)
        thread.start()
        loaded = engine.images.load(pipe.stdout)
        thread.join()
    assert [(item.name_or_id, item.kind) for item in loaded] == [(NAME, "name")]
    check_sample(engine, sample)
    # Three plain tars as umoci writes them: a header and the content, without an end.
    assert engine.images.list()[0].size_bytes == 3 * 512 + len("first") + len("second") + 6 * 10_000
    if kind == "oci-archive":
        assert engine.images.get(NAME).digest == sample.manifest_digest


def test_an_oci_directory_loads(engine: Engine, sample: Sample) -> None:
    loaded = engine.images.load(str(sample.layout))
    assert [(item.name_or_id, item.kind) for item in loaded] == [(sample.id, "id")]
    assert engine.images.get(sample.id).digest == sample.manifest_digest
    check_sample(engine, sample, sample.id)


def test_layers_in_zstd_load(engine: Engine, sample: Sample, tmp_path: Path) -> None:
    layout = tmp_path / "zstd"
    run("skopeo", "copy", "-q", "--dest-compress-format", "zstd", "--dest-compress", f"oci:{sample.layout}:v1",
        f"oci:{layout}:me/app:1")  # fmt: skip
    engine.images.load(str(layout))
    image = engine.images.get("me/app:1")
    if not all(layer.media_type.endswith("zstd") for layer in image.manifest.layers):
        pytest.skip("this skopeo does not recompress")
    check_sample(engine, sample, "me/app:1")


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive", "oci-dir"])
def test_what_podman_saves_loads(
    engine: Engine, sample: Sample, podman: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    podman("load", "-i", sample.archive("docker-archive" if kind == "docker-archive" else "oci-archive"))
    podman("tag", NAME, "localhost/second:name")
    path = tmp_path / "saved"
    podman("save", "--format", kind, "-o", path, NAME, *(["localhost/second:name"] if kind == "docker-archive" else []))
    loaded = engine.images.load(str(path))
    if kind == "docker-archive":
        assert {item.name_or_id for item in loaded} == {NAME, "localhost/second:name"}
        check_sample(engine, sample, "localhost/second:name")
    else:  # podman writes the config anew where it makes OCI's of Docker's form
        assert podman("image", "inspect", "--format", "{{.Id}}", NAME).strip() == sample.id.removeprefix("sha256:")
        assert unpacked_files(engine, loaded[0].id)["dir/b"] == "second"


def test_what_docker_saves_loads(engine: Engine, sample: Sample, docker: Callable[..., str], tmp_path: Path) -> None:
    docker("load", "-i", sample.archive("docker-archive"))
    docker("tag", NAME, "second:name")
    path = tmp_path / "saved.tar"
    docker("save", "-o", path, NAME, "second:name")
    loaded = engine.images.load(str(path))
    assert {item.name_or_id for item in loaded} == {NAME, "second:name"}
    check_sample(engine, sample, "second:name")
    docker("save", "-o", path, sample.id)
    with open(path, "rb") as file:
        assert [(item.name_or_id, item.kind) for item in engine.images.load(file)] == [(sample.id, "id")]


def built_image(engine: Engine, *names: str) -> Digest:
    """An image as a build leaves it: its layer lives as a snapshot only."""
    stores = engine._stores
    prepared = stores.snapshots.prepare(None)
    root = Path(prepared.mounts[0].source)
    (root / "etc").mkdir()
    (root / "etc" / "motd").write_text("built here\n")
    (root / "tool").write_bytes(os.urandom(100_000))
    (root / "tool").chmod(0o4755)
    layer = stores.snapshots.commit(prepared)
    made = assemble(
        None, [NewLayer(layer.diff_id, layer.size_bytes)], {"Cmd": ["/tool"]}, [{"created_by": "COPY"}],
        created="2024-01-31T12:00:00Z", platform=stores.platform,
    )  # fmt: skip
    stores.images.register(store(stores.content, made), [Reference.parse(name) for name in names])
    return made.config.digest


def save(engine: Engine, path: Path, *names: str) -> None:
    with open(path, "wb") as file:
        engine.images.save(names, file)


@pytest.mark.root
def test_what_was_built_here_loads_everywhere(
    engine: Engine, podman: Callable[..., str], docker: Callable[..., str], tmp_path: Path
) -> None:
    need("skopeo")
    id = built_image(engine, "built:1", "ghcr.io/me/built:two")
    path = tmp_path / "ours.tar"
    save(engine, path, "built:1", "ghcr.io/me/built:two")
    assert "Loaded image: built:1\n" in docker("load", "-i", path)
    assert docker("image", "inspect", "--format", "{{.Id}}", "built:1").strip() == id
    assert docker("image", "inspect", "--format", "{{.Id}}", "ghcr.io/me/built:two").strip() == id
    podman("load", "-i", path)
    # Podman gives the short names in Docker's archives of several names to its own host.
    for name in ("localhost/built:1", "ghcr.io/me/built:two"):
        assert podman("image", "inspect", "--format", "{{.Id}}", name).strip() == id.hex
    save(engine, path, "built:1")
    podman("rmi", "-a", "-f")
    podman("load", stdin=open(path, "rb"))  # noqa: SIM115
    assert podman("image", "inspect", "--format", "{{.Id}}", "docker.io/library/built:1").strip() == id.hex
    raw = run("skopeo", "inspect", "--raw", f"oci-archive:{path}")
    assert Digest.of(raw.encode()) == engine.images.get("built:1").digest
    config = run("skopeo", "inspect", "--config", "--raw", f"docker-archive:{path}:built:1")
    assert Digest.of(config.encode()) == id
    for source in (f"oci-archive:{path}", f"docker-archive:{path}:built:1"):
        target = tmp_path / source.partition(":")[0]
        run("skopeo", "copy", "-q", source, f"dir:{target}")
        assert (target / id.hex).exists()


def test_a_received_image_keeps_its_digest_through_save(
    engine: Engine, sample: Sample, docker: Callable[..., str], tmp_path: Path
) -> None:
    engine.images.load(str(sample.archive("oci-archive")))
    path = tmp_path / "ours.tar"
    save(engine, path, NAME)
    raw = run("skopeo", "inspect", "--raw", f"oci-archive:{path}")
    assert Digest.of(raw.encode()) == sample.manifest_digest
    docker("load", "-i", path)
    assert docker("image", "inspect", "--format", "{{.Id}}", NAME).strip() == sample.id
    with Engine(Settings(str(tmp_path / "second"))) as second:
        loaded = second.images.load(str(path))
        assert [item.name_or_id for item in loaded] == [NAME]
        assert second.images.get(NAME).digest == sample.manifest_digest
        check_sample(second, sample)
        again = io.BytesIO()
        second.images.save([NAME], again)
        assert again.getvalue() == path.read_bytes()


def test_a_file_system_exported_by_docker_is_imported(
    engine: Engine, sample: Sample, docker: Callable[..., str], tmp_path: Path
) -> None:
    docker("load", "-i", sample.archive("docker-archive"))
    container = docker("create", NAME, "true").strip()
    docker("export", "-o", tmp_path / "root.tar", container)
    docker("rm", container)
    id = engine.images.import_(str(tmp_path / "root.tar"), "imported", changes=['CMD ["/x"]', "ENV A=b"])
    image = engine.images.get("imported")
    assert image.id == id
    assert image.config.run == {"Cmd": ["/x"], "Env": ["A=b"]}
    files = unpacked_files(engine, "imported")
    assert files["dir/a"] == "first"
    out = tmp_path / "ours.tar"
    save(engine, out, "imported")
    docker("load", "-i", out)
    assert docker("image", "inspect", "--format", "{{.Id}}", "imported").strip() == id


def test_the_archive_has_each_blob_once_and_says_what_docker_says(engine: Engine, tmp_path: Path) -> None:
    built_image(engine, "a:1", "b:2")
    save(engine, tmp_path / "x.tar", "a:1", "b:2", engine.images.get("a:1").id)
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = archive.getnames()
        assert len(names) == len(set(names))
        member = archive.extractfile("manifest.json")
        assert member is not None
        documents = json.load(member)
    assert [entry["RepoTags"] for entry in documents] == [["a:1", "b:2"]]
