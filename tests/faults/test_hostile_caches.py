"""``--cache-from`` of a directory that is damaged or was written by an enemy, and ``--cache-to`` into one."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

DOCKERFILE = "FROM base\nCOPY file /file\nRUN echo {word} > /first\nRUN echo second > /second\n"


@pytest.fixture
def exported(cais_with_base, tmp_path):
    """A command, its context, and the cache of a build that its store knows nothing of any more."""
    cais, cache = cais_with_base, tmp_path / "cache"
    context = cais.context("context", DOCKERFILE.format(word="first"), [("file", os.urandom(100_000))])
    cais("build", "-q", "--cache-to", f"type=local,dest={cache}", str(context))
    forget(cais)
    return cais, context, cache


def forget(cais) -> None:
    cais("image", "rm", "-f", "app", check=False)
    cais("image", "prune", "-f")
    cais("builder", "prune", "-af")


def build(cais, context, cache, **options):
    return cais(
        "build", "--progress=plain", "-t", "app", "--cache-from", f"type=local,src={cache}", str(context), **options
    )


def blobs(cache: Path) -> dict[str, Path]:
    """The blobs by what they are: the manifest, the config, the layers."""
    folder = cache / "blobs" / "sha256"
    index = json.loads((cache / "index.json").read_bytes())
    manifest = folder / index["manifests"][0]["digest"][7:]
    document = json.loads(manifest.read_bytes())
    found = {"manifest": manifest, "config": folder / document["config"]["digest"][7:]}
    found.update((f"layer{n}", folder / item["digest"][7:]) for n, item in enumerate(document["layers"]))
    return found


def test_it_is_used_where_nothing_is_wrong(exported):
    done = build(*exported)
    assert done.stderr.count("CACHED") >= 3


@pytest.mark.parametrize("which", ["index", "manifest", "config", "layer0"])
@pytest.mark.parametrize("what", ["fifo", "link", "directory", "huge", "gone", "other"])
def test_what_is_not_as_it_should_be(exported, which, what):
    """The build says so, or does without; it does not hang, and takes nothing from elsewhere."""
    cais, context, cache = exported
    path = cache / "index.json" if which == "index" else blobs(cache)[which]
    size = path.stat().st_size
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/etc/passwd")
    elif what == "directory":
        path.mkdir()
    elif what == "huge":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    elif what == "other":
        path.write_bytes(b"x" * size)
    done = build(cais, context, cache, check=False)
    assert done.returncode == 0, done.stderr
    # A layer that is none is as good as gone; one with other bytes is said to be damaged, and its step is built.
    assert "is not used" in done.stderr or (which == "layer0" and what != "other")
    assert "root:x" not in done.stderr
    cais.assert_sound()
    again = cais("build", "-q", "--cache-to", f"type=local,dest={cache}", str(context), check=False)
    if which == "index" and what not in ("gone", "directory"):
        # Whatever that is, it is not overwritten.
        assert again.returncode == 1 and "failed to export the cache" in again.stderr
        return
    if again.returncode and what == "directory":
        path.rmdir()
        again = cais("build", "-q", "--cache-to", f"type=local,dest={cache}", str(context))
    # What is exported again is whole again.
    assert again.returncode == 0, again.stderr
    forget(cais)
    assert build(cais, context, cache).stderr.count("CACHED") >= 3


@pytest.mark.parametrize("change", ["digest", "size", "media", "deep", "text", "parent", "keys"])
def test_documents_that_lie(exported, change):
    cais, context, cache = exported
    index = json.loads((cache / "index.json").read_bytes())
    entry = index["manifests"][0]
    if change == "digest":
        entry["digest"] = "sha256:../../../../etc/passwd"
    elif change == "size":
        entry["size"] = 1 << 62
    elif change == "media":
        entry["mediaType"] = "x\x1b[31m" * 100
    elif change == "deep":
        (cache / "index.json").write_text("[" * 100_000)
    elif change == "text":
        (cache / "index.json").write_bytes(b"\xff\xfe{}")
    elif change == "parent":
        entry["mediaType"] = "application/vnd.oci.image.index.v1+json"
    elif change == "keys":
        index["manifests"] = [entry] * 3 + [{"mediaType": 3}]
    if change not in ("deep", "text"):
        (cache / "index.json").write_text(json.dumps(index))
    done = build(cais, context, cache)
    assert "is not used" in done.stderr and "\x1b[31m" not in done.stderr and "root:x" not in done.stderr
    cais.assert_sound()


def test_ten_exports_into_one_directory_while_it_is_read(exported):
    cais, context, cache = exported
    contexts = []
    for number in range(4):
        own = cais.context(f"own{number}", DOCKERFILE.format(word=number), [("file", b"%d" % number)])
        contexts.append(own)
    running = [
        cais.start("build", "-q", "--cache-to", f"type=local,dest={cache},tag=t{number}", str(own))
        for number, own in enumerate(contexts)
    ]
    failed: list[str] = []

    def read() -> None:
        for _ in range(3):
            done = build(cais, context, cache, check=False)
            if done.returncode or "is not used" in done.stderr:
                failed.append(done.stderr)

    reader = threading.Thread(target=read)
    reader.start()
    assert [process.wait(timeout=100) for process in running] == [0] * 4
    reader.join()
    assert failed == []
    tags = {
        item["annotations"]["org.opencontainers.image.ref.name"]
        for item in json.loads((cache / "index.json").read_bytes())["manifests"]
    }
    assert tags == {"latest", "t0", "t1", "t2", "t3"}
    assert not (cache / "ingest").exists()
