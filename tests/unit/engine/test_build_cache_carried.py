"""The build cache carried elsewhere: exported, imported into another root directory, damaged, hostile, interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cais
from cais.engine import Engine, Settings
from cais.engine.build_prune import PruneOptions
from cais.engine.cache_options import CacheSource, CacheTarget
from cais.errors import Denied, Invalid, Unavailable, Unsupported
from cais.spec.digest import Digest

from .conftest import Work

pytestmark = pytest.mark.root

PARENTS = "SELECT parent FROM snapshots WHERE parent NOTNULL"
STAGES = (
    "FROM base AS builder\nARG WHO=one\nRUN echo $WHO > /one\nCOPY file /file\nRUN cat /one /file > /both\n"
    "FROM base\nWORKDIR /work\nCOPY --from=builder /both /work/\nRUN echo four > /four\n"
)


@pytest.fixture
def exported(based):
    """What was built, and the directory that its cache went to."""
    based.write({"file": "a file\n"})
    based.cache = based.directory / "cache"
    based.build(STAGES, tags=["app"], cache_to=[f"type=local,dest={based.cache},mode=max"])
    return based


@pytest.fixture
def other(exported, busybox_tar, tmp_path):
    """Another root directory and another place of the context, with the same base image."""
    directory = tmp_path / "other"
    directory.mkdir()
    with Engine(Settings(str(directory / "root"))) as engine:
        with open(busybox_tar, "rb") as file:
            engine.images.import_(file, "base", changes=["CMD sh"])
        work = Work(directory, engine)
        work.write({"file": "a file\n", "Dockerfile": STAGES})
        work.cache = exported.cache
        work.source = f"type=local,src={exported.cache}"
        yield work


def blobs(directory):
    return {path.name: path.stat().st_mtime_ns for path in (directory / "blobs" / "sha256").iterdir()}


def manifest_of(directory):
    index = json.loads((directory / "index.json").read_bytes())
    return json.loads((directory / "blobs" / "sha256" / index["manifests"][-1]["digest"][7:]).read_bytes())


def warnings(work):
    return [event["message"] for event in work.events if event["event"] == "warning"]


class TestElsewhere:
    def test_everything_is_a_hit_and_really_there(self, exported, other):
        assert {step.state for step in other.plan(cache_from=[other.source])} == {"hit"}
        assert other.count("build_records") == 0, "a plan keeps nothing"
        other.build(tags=["app"], cache_from=[other.source])
        assert other.ran == [] and warnings(other) == []
        found = other.files(cache_from=[other.source])
        assert found["work/both"] == "one\na file\n" and found["four"] == "four\n"
        assert other.engine.system.check() == []

    def test_nothing_is_unpacked_that_nothing_reads(self, exported, other):
        other.build(tags=["app"], cache_from=[other.source])
        assert other.ran == [] and not (other.directory / "root" / "snapshots").exists()
        sizes = [entry.size_bytes for entry in other.engine.builder.cache(["type=regular"])]
        assert manifest_of(exported.cache)["layers"][-1]["size"] in sizes, "what it takes is the blob"
        here, there = (work.stores.images.get("app").manifest.layers for work in (other, exported))
        assert here == there
        assert other.files(cache_from=[other.source])["work/both"] == "one\na file\n"
        assert other.ran == [] and other.engine.system.check() == []

    def test_pruned_it_gives_its_blobs_back(self, exported, other):
        other.build(outputs=["type=cacheonly"], cache_from=[other.source])
        top = other.stores.database.row(f"SELECT chain_id FROM snapshots WHERE chain_id NOT IN ({PARENTS})")[0]
        other.stores.content.hold([f"chain:{top}"])
        blobs = other.count("blobs")
        everything = PruneOptions(all=True, filters=["type=regular"])
        assert other.engine.builder.prune(everything).entries == (), "a running command holds it"
        assert other.count("blobs") == blobs
        other.stores.leases.release()
        found = other.engine.builder.prune(everything)
        assert len(found.entries) == 3
        assert found.reclaimed_bytes == sum(entry.size_bytes for entry in found.entries if not entry.shared)
        assert other.count("blobs") < blobs and other.engine.system.check() == []

    def test_a_blob_that_is_damaged_later(self, exported, other):
        other.build(tags=["app"], cache_from=[other.source])
        for (digest,) in other.stores.database.rows("SELECT packed FROM snapshots WHERE packed NOTNULL"):
            path = other.stores.content.path(Digest(digest))
            os.chmod(path, 0o644)
            with open(path, "r+b") as file:
                file.write(b"damaged!")
        subjects = {finding.subject.partition(" ")[0] for finding in other.engine.system.check()}
        assert {"blob", "snapshot"} <= subjects
        other.engine.system.check(repair=True)
        assert other.engine.system.check() == []

    def test_only_what_is_needed_is_unpacked(self, exported, other):
        other.build(tags=["app"], cache_from=[other.source])
        descriptions = {entry.description for entry in other.engine.builder.cache(["type=regular"])}
        assert descriptions and not any("[builder" in text for text in descriptions)

    def test_what_changed_is_built_on_what_came(self, exported, other):
        other.write({"file": "another\n"})
        found = other.files(cache_from=[other.source])
        assert found["work/both"] == "one\nanother\n"
        assert other.cached == ["WORKDIR /work", "RUN echo one > /one"]
        assert other.ran[0] == "COPY file /file" and len(other.ran) == 4

    def test_what_was_used_is_known_without_it(self, other):
        other.build(STAGES.partition("FROM base\n")[0], cache_from=[other.source])
        other.build()
        assert other.ran == []
        other.write({"file": "another\n"})
        other.build()
        assert "COPY file /file" in other.reasons

    def test_mode_min_has_the_image_s_own_layers(self, exported, other):
        exported.build(cache_to=[f"type=local,dest={exported.cache},mode=min,tag=small"])
        config = manifest_of(exported.cache)
        assert len(config["layers"]) == 3
        states = {
            step.name.partition("] ")[2]: step.state for step in other.plan(cache_from=[f"{other.source},tag=small"])
        }
        assert states["WORKDIR /work"] == "hit" and states["RUN echo one > /one"] == "miss"

    def test_through_a_third_that_unpacked_little(self, exported, other, tmp_path):
        other.build(cache_from=[other.source], cache_to=[f"type=local,dest={tmp_path}/third,mode=max"])
        came, went = (manifest_of(cache)["layers"] for cache in (exported.cache, tmp_path / "third"))
        assert went == came, "and what was packed went as it came"
        shutil.rmtree(exported.cache)
        other.engine.images.remove("base", force=True)
        assert other.engine.builder.prune(PruneOptions(all=True)).entries

    @pytest.mark.parametrize("compression", ["gzip", "zstd", "uncompressed"])
    def test_compressions(self, exported, other, compression):
        text = f"type=local,dest={exported.cache},mode=max,tag={compression},compression={compression}"
        exported.build(cache_to=[text])
        other.build(cache_from=[f"{other.source},tag={compression}"])
        assert other.ran == []

    def test_in_the_image_itself(self, exported, other, tmp_path):
        exported.build(tags=["carrier"], cache_to=["type=inline"])
        archive = tmp_path / "carrier.tar"
        with open(archive, "wb") as file:
            exported.engine.images.save(["carrier"], file)
        with open(archive, "rb") as file:
            other.engine.images.load(file)
        for source in ("carrier", "type=registry,ref=carrier"):
            states = {step.name.partition("] ")[2]: step.state for step in other.plan(cache_from=[source])}
            assert states["WORKDIR /work"] == "hit"
        other.build("FROM base\nWORKDIR /work\nRUN touch new\n", cache_from=["carrier"])
        assert other.ran == ["RUN touch new"]

    def test_linked_copies_and_what_stands_on_them(self, exported, other, tmp_path):
        text = "FROM base\nCOPY --link file /one\nCOPY --link file /two\nRUN cat /one > /three\n"
        exported.build(text, cache_to=[f"type=local,dest={tmp_path}/linked,mode=max"])
        source = f"type=local,src={tmp_path}/linked"
        other.build(text, tags=["app"], cache_from=[source])
        assert other.ran == [] and other.engine.system.check() == []
        assert other.files(text + "RUN cat /two > /four\n", cache_from=[source])["four"] == "a file\n"
        assert len(other.ran) == 1
        text = "FROM base\nCOPY --link file /one\n"
        other.engine.images.remove("app")
        other.engine.builder.prune(PruneOptions(all=True))
        assert other.files(text, cache_from=[source])["one"] == "a file\n"
        assert other.ran == []


class TestExport:
    def test_a_valid_layout(self, exported):
        assert json.loads((exported.cache / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
        for name in blobs(exported.cache):
            data = (exported.cache / "blobs" / "sha256" / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == name
        assert not (exported.cache / "ingest").exists()
        config = (exported.cache / "blobs" / "sha256" / manifest_of(exported.cache)["config"]["digest"][7:]).read_text()
        assert str(exported.directory) not in config and "WHO" not in config and "echo" not in config

    def test_only_what_is_not_there_is_written(self, exported):
        before = blobs(exported.cache)
        layers = {layer["digest"][7:] for layer in manifest_of(exported.cache)["layers"]}
        exported.write({"file": "another\n"})
        exported.build(cache_to=[f"type=local,dest={exported.cache},mode=max"])
        after = blobs(exported.cache)
        kept = layers & {layer["digest"][7:] for layer in manifest_of(exported.cache)["layers"]}
        assert len(kept) >= 2 and all(after[name] == before[name] for name in kept)

    def test_two_at_once(self, exported):
        options = exported.options(cache_to=[f"type=local,dest={exported.cache},mode=max,tag=one"])
        again = options._replace(cache_to=[f"type=local,dest={exported.cache},mode=max,tag=two"])
        failures = []

        def build(given):
            try:
                with Engine(exported.engine.settings) as engine:
                    engine.builder.build(given)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=build, args=(given,)) for given in (options, again) * 3]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        tags = [
            item["annotations"]["org.opencontainers.image.ref.name"]
            for item in json.loads((exported.cache / "index.json").read_bytes())["manifests"]
        ]
        assert sorted(tags) == ["latest", "one", "two"]

    def test_killed_it_leaves_what_was_there(self, exported, other):
        """Killed at many moments; each time the cache of before is whole, and the next export is as well."""
        program = (
            "import sys, cais\nfrom cais.engine import Engine, Settings\n"
            "with Engine(Settings(sys.argv[1])) as engine:\n"
            "    target = 'type=local,mode=max,compression=gzip,dest=' + sys.argv[3]\n"
            "    options = cais.BuildOptions(sys.argv[2], cache_to=[target])\n"
            "    print('ready', flush=True)\n"
            "    engine.builder.build(options)\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])}
        for number in range(6):
            exported.write({"file": f"{number}\n"})
            process = subprocess.Popen(
                [sys.executable, "-c", program, exported.stores.root, str(exported.context), str(exported.cache)],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout.readline() == b"ready\n"
            ingest = exported.cache / "ingest"
            deadline = time.monotonic() + 60
            while process.poll() is None and not ingest.exists() and time.monotonic() < deadline:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stdout.close()
            assert {step.state for step in other.plan(cache_from=[other.source])} <= {"hit", "miss", "pending"}
            assert warnings(other) == []
            for name in blobs(exported.cache):
                assert hashlib.sha256((exported.cache / "blobs" / "sha256" / name).read_bytes()).hexdigest() == name
        exported.build(cache_to=[f"type=local,dest={exported.cache},mode=max"])
        assert not ingest.exists()

    def test_a_place_that_cannot_be_written(self, exported, tmp_path):
        (tmp_path / "occupied").write_text("a file")
        with pytest.raises((Invalid, Denied, Unavailable, cais.errors.CaisError), match="failed to export the cache"):
            exported.build(cache_to=[f"type=local,dest={tmp_path}/occupied"])
        exported.build(cache_to=[f"type=local,dest={tmp_path}/occupied,ignore-error=true"])
        assert "was not exported" in warnings(exported)[0]


class TestHostile:
    def refused(self, other, text):
        other.build(tags=["app"], cache_from=[other.source])
        assert text in warnings(other)[0] and len(other.ran) == 6

    def test_no_cache_there(self, other):
        shutil.rmtree(other.cache)
        self.refused(other, "no such file")

    def test_no_such_tag(self, other):
        other.source += ",tag=none"
        self.refused(other, "has no cache 'none'")

    def test_no_json(self, other):
        (other.cache / "index.json").write_bytes(b"{" * 1000)
        self.refused(other, "is not used")

    def test_a_document_that_is_another(self, other):
        digest = manifest_of(other.cache)["config"]["digest"][7:]
        path = other.cache / "blobs" / "sha256" / digest
        data = path.read_bytes()
        path.write_bytes(data.replace(b"version", b"versiom"))
        self.refused(other, "is damaged")

    def test_a_document_that_is_a_link(self, other):
        digest = manifest_of(other.cache)["config"]["digest"][7:]
        path = other.cache / "blobs" / "sha256" / digest
        path.rename(other.cache / "elsewhere")
        path.symlink_to(other.cache / "elsewhere")
        self.refused(other, "is not used")

    def test_a_layer_that_is_gone_is_built(self, other):
        for layer in manifest_of(other.cache)["layers"]:
            (other.cache / "blobs" / "sha256" / layer["digest"][7:]).unlink()
        other.build(cache_from=[other.source])
        assert len(other.ran) == 6

    def test_layers_with_other_bytes_are_built(self, other):
        for layer in manifest_of(other.cache)["layers"]:
            path = other.cache / "blobs" / "sha256" / layer["digest"][7:]
            path.write_bytes(bytes(path.stat().st_size))
        other.build(tags=["app"], cache_from=[other.source])
        # The stage that was not read while all was thought to be there is read now, and its layers are damaged, too.
        assert len(other.ran) == 6 and other.cached == []
        assert all("a cached step is not used" in text and "is damaged" in text for text in warnings(other))
        assert set(other.reasons) == set(other.ran)
        assert other.leftovers() == [] and other.engine.system.check() == []
        assert other.files()["work/both"] == "one\na file\n"

    def test_what_stands_on_a_damaged_layer_is_found_again(self, other):
        *_, second, _ = manifest_of(other.cache)["layers"]
        path = other.cache / "blobs" / "sha256" / second["digest"][7:]
        path.write_bytes(bytes(path.stat().st_size))
        other.build(tags=["app"], cache_from=[other.source])
        assert other.ran == ["COPY --from=builder /both /work/"] and "RUN echo four > /four" in other.cached
        assert len(warnings(other)) == 1 and other.engine.system.check() == []

    def test_a_size_that_is_none_of_its_layer(self, other):
        manifest = manifest_of(other.cache)
        blobs = other.cache / "blobs" / "sha256"
        config = json.loads((blobs / manifest["config"]["digest"][7:]).read_bytes())
        for layer in config["layers"]:
            layer["size"] += 512

        def put(document):
            raw = json.dumps(document).encode()
            digest = hashlib.sha256(raw).hexdigest()
            (blobs / digest).write_bytes(raw)
            return {"digest": f"sha256:{digest}", "size": len(raw)}

        index = json.loads((other.cache / "index.json").read_bytes())
        manifest["config"].update(put(config))
        index["manifests"][-1].update(put(manifest))
        (other.cache / "index.json").write_text(json.dumps(index))
        other.build(tags=["app"], cache_from=[other.source])
        assert len(other.ran) == 6 and warnings(other)
        assert other.engine.system.check() == []

    @pytest.mark.parametrize(
        "layer",
        [
            None, {}, {"keys": ["x"], "diff_id": "sha256:" + "0" * 64, "size": 1},
            {"keys": [], "diff_id": "../../etc", "size": 1}, {"keys": [], "diff_id": "sha256:" + "0" * 64, "size": -1},
            {"keys": ["0" * 64] * 1000, "diff_id": "sha256:" + "0" * 64, "size": 1},
        ],
    )  # fmt: skip
    def test_configs_that_lie(self, other, layer):
        from cais.build.cache_config import decode_config
        from cais.spec.descriptor import Descriptor

        raw = json.dumps({"version": 1, "layers": [layer]}).encode()
        with pytest.raises(Invalid):
            decode_config(raw, [Descriptor("", Digest.of(b""), 1)])


class TestOptions:
    @pytest.mark.parametrize(
        "text",
        ["type=local", "type=local,dest=", "type=local,dest=x,mode=most", "type=local,dest=x,nothing=1", "dest=x", "",
         "type=local,dest=x,compression=lz4", "type=local,dest=x,compression-level=99", "type=tape,dest=x",
         "type=local,dest"],
    )  # fmt: skip
    def test_refused_targets(self, text):
        with pytest.raises(Invalid):
            CacheTarget.parse(text)

    @pytest.mark.parametrize("kind", ["gha", "s3,bucket=x", "azblob"])
    def test_not_yet(self, kind):
        with pytest.raises(Unsupported, match="not in this version"):
            CacheTarget.parse(f"type={kind}")

    def test_sources(self):
        assert CacheSource.parse("app:1") == CacheSource("registry", "app:1")
        assert CacheSource.parse("type=registry,ref=app") == CacheSource("registry", "app")
        assert CacheSource.parse("type=local,src=/x,tag=y") == CacheSource("local", "/x", "y")
        for text in ("type=local", "type=local,dest=/x", "type=gha", "type=registry", ""):
            with pytest.raises((Invalid, Unsupported)):
                CacheSource.parse(text)

    def test_no_cache_for_some_stages(self, exported):
        exported.build(no_cache_filter=["builder"])
        assert "RUN echo one > /one" in exported.ran and "WORKDIR /work" in exported.cached
        exported.build(no_cache_filter=["nothing,BUILDER"])
        assert "RUN echo one > /one" in exported.ran
