"""Builds and registries: base images that are there and not here, images and caches that are sent there."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cais.engine import Engine, Settings
from cais.engine.cache_options import CacheSource, CacheTarget
from cais.engine.output_options import parse_outputs
from cais.errors import CaisError, Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.reference import Reference
from registry_servers import Server

from .conftest import Work

pytestmark = pytest.mark.root


@pytest.fixture
def elsewhere(tmp_path: Path, based: Work) -> Iterator[Work]:
    """Another host: nothing is here, and the same context."""
    directory = tmp_path / "elsewhere"
    directory.mkdir()
    with Engine(Settings(str(directory / "root"))) as engine:
        work = Work(directory, engine)
        work.context = based.context
        yield work


def pushed(work: Work, name: str, text: str, **options: Any) -> str:
    """Builds and pushes an image; its digest."""
    return work.build(text, tags=[name], outputs=["type=registry"], **options).digest


def asked(server: Server, since: int, word: str) -> list[str]:
    return [request for request in server.requests()[since:] if word in request]


def warnings(work: Work) -> list[str]:
    return [event["message"] for event in work.events if event["event"] == "warning"]


def test_a_base_comes_from_its_registry(based, elsewhere, repository, open_registry):
    name = f"{repository}:1"
    digest = pushed(based, name, "FROM base\nRUN echo lower > /lower\nENV A=b\n")
    # Its documents are enough for a plan, and nothing is kept of one.
    since = len(open_registry.requests())
    steps = elsewhere.plan(f"FROM {name}\nRUN cat /lower > /upper; echo $A >> /upper\n")
    assert [step.state for step in steps] == ["fetch", "miss"]
    assert steps[0].reasons == ("its layers are in the registry, and not here yet",)
    assert len(asked(open_registry, since, "/blobs/")) == 1 and elsewhere.count("images") == 0
    built = elsewhere.build(tags=["app"])
    assert elsewhere.files("FROM app\n")["upper"] == "lower\nb\n"
    assert elsewhere.engine.images.get(name).digest == digest and built.image_id
    done = [event for event in elsewhere.events if event["event"] == "status"]
    assert done == [] and not elsewhere.leftovers()
    # What is here is not asked for again.
    since = len(open_registry.requests())
    elsewhere.build(f"FROM {name}\nRUN cat /lower > /upper; echo $A >> /upper\n")
    assert [step.state for step in elsewhere.plan()] == ["hit", "hit"]
    assert open_registry.requests()[since:] == []


def test_layers_come_only_where_they_are_needed(based, elsewhere, repository, open_registry):
    name = f"{repository}:1"
    based.write({"f": os.urandom(50_000)})
    pushed(based, name, "FROM base\nCOPY f /f\n")
    since = len(open_registry.requests())
    # A stage that nothing is copied from, and one that is only looked into.
    out = elsewhere.files(f"FROM {name} AS unused\nFROM scratch\nCOPY --from={name} /f /g\n")
    assert list(out) == ["g"] and asked(open_registry, since, "/blobs/")
    with pytest.raises(NotFound, match="2: not found"):
        elsewhere.build(f"FROM scratch\nCOPY --from={repository}:2 /f /g\n")


def test_pull_asks_again_and_the_plan_says_what_changed(based, elsewhere, repository):
    name = f"{repository}:1"
    first = pushed(based, name, "FROM base\nRUN echo 1 > /v\n")
    text = f"FROM {name}\nRUN cp /v /w\n"
    elsewhere.build(text)
    second = pushed(based, name, "FROM base\nRUN echo 2 > /v\n")
    assert first != second
    assert [step.state for step in elsewhere.plan(text)] == ["hit", "hit"]
    steps = elsewhere.plan(text, pull=True)
    assert [step.state for step in steps] == ["fetch", "miss"]
    assert any(f"the base image {name}" in reason for reason in steps[1].reasons)
    assert elsewhere.engine.images.get(name).digest == first  # nothing was changed by looking
    assert elsewhere.files(text, pull=True)["w"] == "2\n"
    assert elsewhere.engine.images.get(name).digest == second
    # By its digest the first one is still to be had, and --pull need not ask.
    pinned = f"{repository}@{first}"
    assert elsewhere.files(f"FROM {pinned}\nRUN cp /v /w\n", pull=True)["w"] == "1\n"


def test_named_contexts_of_registries_and_provenance(based, elsewhere, repository):
    name = f"{repository}:1"
    digest = pushed(based, name, "FROM base\nRUN echo x > /v\n")
    result = elsewhere.build(
        "FROM other\nCOPY --from=other /v /w\n", contexts={"other": f"docker-image://{name}"}, tags=["app"],
        attest=["type=provenance,mode=max"],
    )  # fmt: skip
    assert result.target.media_type == types.OCI_INDEX
    (said,) = [item for item in elsewhere.engine.images.attestations("app") if "slsa" in item.predicate_type]
    materials = json.dumps(said.predicate)
    assert digest.removeprefix("sha256:") in materials


def test_what_a_registry_refuses_has_the_line(elsewhere, private_registry):
    with pytest.raises(CaisError, match="pull access denied") as caught:
        elsewhere.build(f"FROM scratch\nCOPY --from={private_registry.address}/secret /a /b\n")
    assert ">>> COPY --from=" in str(caught.value.lines)


def test_images_are_pushed_under_all_their_names(based, elsewhere, repository, open_registry):
    text = "FROM base\nRUN echo x > /v\n"
    result = based.build(text, tags=[f"{repository}:1", f"{repository}-b:2"], outputs=["type=image,push=true"])
    assert [event["name"].partition(" ")[2] for event in based.events if "pushing" in event.get("name", "")] == [
        f"pushing {repository}:1",
        f"pushing {repository}-b:2",
    ]
    for name in (f"{repository}:1", f"{repository}-b:2"):
        registry = elsewhere.stores.registries.repository(Reference.parse(name))
        assert registry.resolve(Reference.parse(name).tag).digest == result.digest
    assert based.engine.images.get(f"{repository}:1").digest == result.digest
    # Again nothing is sent but the tags.
    since = len(open_registry.requests())
    assert based.build(text, tags=[f"{repository}:1"], outputs=["type=registry"]).digest == result.digest
    assert not asked(open_registry, since, "POST") and not asked(open_registry, since, "PATCH")


def test_outputs_for_registries(based, repository, open_registry):
    text = "FROM base\nRUN echo x > /v\n"
    made = based.build(text, outputs=[f"type=image,name={repository}:z,push=true,store=false,compression=zstd"])
    registry = based.stores.registries.repository(Reference.parse(f"{repository}:z"))
    layers = json.loads(registry.manifest("z").raw)["layers"]
    assert layers[-1]["mediaType"].endswith("+zstd") and made.digest
    with pytest.raises(NotFound):
        based.engine.images.get(f"{repository}:z")
    by_digest = based.build(
        text, outputs=[f"type=registry,name={repository}-d,push-by-digest=true,name-canonical=true,store=false"]
    )
    only = based.stores.registries.repository(Reference.parse(f"{repository}-d"))
    assert only.resolve(by_digest.digest).digest == by_digest.digest
    with pytest.raises(NotFound):
        only.resolve("latest")
    with pytest.raises(Invalid, match="tag is needed when pushing to registry"):
        parse_outputs(based.options(outputs=["type=registry"]))
    with pytest.raises(CaisError, match=r"failed to push 127\.0\.0\.1:1/x:latest: "):
        based.build(text, tags=["127.0.0.1:1/x"], outputs=["type=registry"])


def test_several_platforms_and_attestations_are_pushed(based, repository):
    based.write({"f": "f"})
    made = based.build(
        "FROM scratch\nCOPY f /f\n", tags=[f"{repository}:1"], outputs=["type=registry"],
        platform="linux/amd64,linux/arm64", attest=["type=provenance"],
    )  # fmt: skip
    registry = based.stores.registries.repository(Reference.parse(f"{repository}:1"))
    index = registry.manifest("1")
    assert index.descriptor.digest == made.digest and len(json.loads(index.raw)["manifests"]) == 4


CACHED = """FROM {base} AS one
RUN echo one > /one
FROM {base}
COPY --from=one /one /one
RUN echo two > /two
"""


@pytest.mark.parametrize("kind", ["open_registry", "cais_registry"])
def test_a_cache_in_a_registry(based, elsewhere, kind, request):
    server = request.getfixturevalue(kind)
    repository = f"{server.address}/cache-{os.urandom(4).hex()}"
    pushed(based, f"{repository}:base", "FROM base\nRUN echo lower > /lower\n")
    text = CACHED.format(base=f"{repository}:base")
    target = f"type=registry,ref={repository}:cache,mode=max"
    based.build(text, cache_to=[target])
    source = f"type=registry,ref={repository}:cache"
    assert {step.state for step in elsewhere.plan(text, cache_from=[source])} == {"fetch", "hit"}
    only_files = {step.state for step in elsewhere.plan(text, cache_from=[source], outputs=["type=cacheonly"])}
    assert only_files == {"hit"}  # nothing needs the base image then
    elsewhere.build(text, cache_from=[source], tags=["app"])
    assert elsewhere.ran == [f"FROM {repository}:base"] and not warnings(elsewhere)
    assert elsewhere.files(text)["two"] == "two\n"
    # What is there is not sent again, and of what is new only that.
    changed = text.replace("two >", "three >")
    elsewhere.build(changed, cache_from=[f"{repository}:cache"], cache_to=[target])
    assert elsewhere.ran == ["RUN echo three > /two", f"exporting cache to {repository}:cache"]
    based.engine.builder.prune()
    # Without mode=max the stages before are not in it.
    based.build(text, cache_to=[f"type=registry,ref={repository}:min"])
    third = elsewhere.plan(text, cache_from=[f"{repository}:min"], no_cache=False)
    assert {step.state for step in third} == {"hit"}


def test_a_cache_in_an_image_of_a_registry(based, elsewhere, repository):
    pushed(based, f"{repository}:base", "FROM base\nRUN echo lower > /lower\n")
    text = f"FROM {repository}:base\nRUN echo one > /one\nRUN echo two > /two\n"
    pushed(based, f"{repository}:app", text, cache_to=["type=inline"])
    elsewhere.build(text.replace("two", "three"), cache_from=[f"{repository}:app"])
    assert elsewhere.ran == [f"FROM {repository}:base", "RUN echo three > /three"]
    elsewhere.build("FROM scratch\n", cache_from=[f"{repository}:base", f"{repository}:none"])
    assert len(warnings(elsewhere)) == 2


def test_a_cache_passes_on_what_came_from_another(based, elsewhere, repository):
    """Layers of an imported cache that nothing stood on go from registry to registry."""
    pushed(based, f"{repository}:base", "FROM base\nRUN echo lower > /lower\n")
    text = CACHED.format(base=f"{repository}:base")
    based.build(text, cache_to=[f"type=registry,ref={repository}:one,mode=max,compression=zstd"])
    elsewhere.build(
        text, cache_from=[f"{repository}:one"], outputs=["type=cacheonly"],
        cache_to=[f"type=registry,ref={repository}-two:c,mode=max"],
    )  # fmt: skip
    document = elsewhere.stores.registries.repository(Reference.parse(f"{repository}-two:c")).manifest("c")
    assert len(json.loads(document.raw)["layers"]) == 3


def test_a_damaged_cache_is_said_to_be_so_and_built(based, elsewhere, repository, open_registry):
    pushed(based, f"{repository}:base", "FROM base\nRUN echo lower > /lower\n")
    text = f"FROM {repository}:base\nRUN head -c 100000 /dev/urandom > /one\n"
    based.build(text, cache_to=[f"type=registry,ref={repository}:c,mode=max"])
    document = based.stores.registries.repository(Reference.parse(f"{repository}:c")).manifest("c")
    digest = json.loads(document.raw)["layers"][0]["digest"].removeprefix("sha256:")
    path = open_registry.directory / "data/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    elsewhere.build(text, cache_from=[f"{repository}:c"], tags=["x"])
    assert any("a cached step is not used" in text and "damaged" in text for text in warnings(elsewhere))
    assert "RUN head -c 100000 /dev/urandom > /one" in elsewhere.ran
    assert not elsewhere.leftovers()


def test_a_cache_that_cannot_be_sent(based):
    target = "type=registry,ref=127.0.0.1:1/c"
    with pytest.raises(CaisError, match="failed to export the cache"):
        based.build("FROM base\n", cache_to=[target])
    based.build("FROM base\n", cache_to=[target + ",ignore-error=true"])
    assert any("the cache was not exported" in text for text in warnings(based))


def test_what_is_no_option():
    for text in ("type=registry", "type=registry,ref=A B", "type=registry,ref=a,src=b", "type=registry,ref=a,mode=mid"):
        with pytest.raises(CaisError):
            CacheTarget.parse(text)
    for text in ("type=registry", "type=registry,ref=a,mode=max", "type=gha"):
        with pytest.raises(CaisError):
            CacheSource.parse(text)


@pytest.mark.peer
def test_skopeo_copies_a_cache(based, repository, tmp_path):
    import shutil

    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    based.build("FROM base\nRUN echo one > /one\n", cache_to=[f"type=registry,ref={repository}:c,mode=max"])
    subprocess.run(
        ["skopeo", "copy", "--src-tls-verify=false", f"docker://{repository}:c", f"oci:{tmp_path}/layout:c"],
        check=True, capture_output=True,
    )  # fmt: skip
    based.build("FROM base\nRUN echo one > /one\n", cache_from=[f"type=local,src={tmp_path}/layout,tag=c"])
    assert not warnings(based)


def test_a_base_of_several_platforms(based, elsewhere, repository):
    """Both platforms' images of one name come at once; what is put out is an index with both."""
    based.write({"f": "f"})
    text = "FROM scratch\nARG TARGETARCH\nCOPY f /f-$TARGETARCH\n"
    both = "linux/amd64,linux/arm64"
    pushed(based, f"{repository}:1", text, platform=both)
    result = elsewhere.build(f"FROM {repository}:1\nCOPY f /g\n", platform=both, tags=[f"{repository}:2"],
                             outputs=["type=registry"])  # fmt: skip
    for arch in ("amd64", "arm64"):
        found = elsewhere.files(f"FROM {repository}:2\n", platform=f"linux/{arch}")
        assert sorted(found) == [f"f-{arch}", "g"]
    index = json.loads(elsewhere.stores.registries.repository(Reference.parse(f"{repository}:2")).manifest("2").raw)
    assert [item["platform"]["architecture"] for item in index["manifests"]] == ["amd64", "arm64"]
    assert result.digest and not elsewhere.leftovers()


def test_bake_takes_one_base_for_all(based, elsewhere, repository, open_registry):
    """Of targets that begin with one image of a registry, each asks for it, and its layers come once."""
    from cais.engine import bake
    from cais.spec.progress import silent

    based.write({"f": os.urandom(100_000)})
    pushed(based, f"{repository}:1", "FROM scratch\nCOPY f /f\n")
    text = f"""
    target "default" {{
      name = "t${{n}}"
      matrix = {{ n = [1, 2, 3] }}
      dockerfile-inline = "FROM {repository}:1\\nCOPY f /g${{n}}"
      tags = ["{repository}:t${{n}}"]
      output = ["type=registry"]
    }}
    """
    elsewhere.write({"docker-bake.hcl": text})
    options = bake.BakeOptions(directory=str(elsewhere.context))
    since = len(open_registry.requests())
    plan = bake.baked(options, bake.chosen(options))
    results = elsewhere.in_thread(lambda: elsewhere.engine.builder.bake(plan, lambda name: silent))
    assert len({result.digest for result in results.values()}) == 3
    layer = json.loads(elsewhere.stores.registries.repository(Reference.parse(f"{repository}:1")).manifest("1").raw)
    digest = layer["layers"][0]["digest"]
    assert len(asked(open_registry, since, f"GET /v2/{repository.partition('/')[2]}/blobs/{digest}")) == 1
