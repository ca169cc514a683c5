"""Attestations of a build: what is asked for, what is stored beside the image, and that no secret is in it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from cais.build.provenance import Wanted
from cais.engine.build_attest import Attests
from cais.errors import Conflict, Invalid, NotFound, Unsupported
from cais.image.attestations import IN_TOTO, REFERENCE_DIGEST, REFERENCE_TYPE
from cais.spec import media_types as types
from cais.spec.manifest import Index, Manifest

DPKG = "Package: libc6\nStatus: install ok installed\nVersion: 2.41-12\nArchitecture: amd64\n"
PROVENANCE, SBOM = "https://slsa.dev/provenance/v0.2", "https://spdx.dev/Document"


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], Attests()),
        (["type=provenance"], Attests(Wanted())),
        (["type=provenance,mode=max,version=v1"], Attests(Wanted(True, "v1"))),
        (["type=provenance,builder-id=https://x,reproducible=true"], Attests(Wanted(False, "v0.2", "https://x", True))),
        (["type=sbom"], Attests(None, True)),
        (["type=sbom", "type=sbom,disabled=true"], Attests()),
        (["type=provenance,mode=max", "type=provenance,disabled=true", "type=sbom"], Attests(None, True)),
    ],
)
def test_what_is_asked_for(texts: list[str], expected: Attests) -> None:
    assert Attests.parse(texts) == expected
    assert Attests.parse(texts).any == (expected != Attests())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("type=nonsense", Invalid), ("mode=max", Invalid), ("type=provenance,max", Invalid),
        ("type=provenance,mode=mid", Invalid), ("type=provenance,version=2", Invalid),
        ("type=provenance,disabled=perhaps", Invalid), ("type=provenance,colour=red", Invalid),
        ("type=sbom,generator=docker/scout-sbom-indexer", Unsupported),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        Attests.parse([text])


pytestmark = pytest.mark.root


def read(based: Any, digest: str) -> bytes:
    content: bytes = based.stores.content.read(digest, 1 << 24)
    return content


def predicates(based: Any, name: str) -> dict[str, Any]:
    return {item.predicate_type: item.predicate for item in based.engine.images.attestations(name)}


class TestStored:
    def test_beside_the_image_in_an_index(self, based: Any) -> None:
        based.write({"status": DPKG})
        plain = based.build("FROM base\nCOPY status /var/lib/dpkg/\n", tags=["plain"])
        built = based.build(tags=["app:1", "app:2"], attest=["type=sbom", "type=provenance"])
        assert built.image_id == plain.image_id
        image = based.engine.images.get("app:1")
        assert image.id == plain.image_id
        index = Index.decode(read(based, image.target.digest))
        first, second = index.manifests
        assert first.digest == plain.digest == image.manifest.digest
        assert str(second.platform) == "unknown/unknown"
        assert second.annotations == {REFERENCE_DIGEST: first.digest, REFERENCE_TYPE: "attestation-manifest"}
        manifest = Manifest.decode(read(based, second.digest))
        assert [layer.media_type for layer in manifest.layers] == [IN_TOTO, IN_TOTO]
        assert [layer.annotations for layer in manifest.layers] == [
            {"in-toto.io/predicate-type": SBOM}, {"in-toto.io/predicate-type": PROVENANCE},
        ]  # fmt: skip
        config = json.loads(read(based, manifest.config.digest))
        assert (config["architecture"], config["os"]) == ("unknown", "unknown")
        assert config["rootfs"]["diff_ids"] == [layer.digest for layer in manifest.layers]
        for layer in manifest.layers:
            statement = json.loads(read(based, layer.digest))
            assert statement["_type"] == "https://in-toto.io/Statement/v0.1"
            assert statement["predicateType"] == layer.annotations["in-toto.io/predicate-type"]
            assert statement["subject"] == [
                {"name": f"pkg:docker/app@{tag}?platform=linux%2Famd64", "digest": {"sha256": first.digest.hex}}
                for tag in ("1", "2")
            ]

    def test_they_are_no_images(self, based: Any) -> None:
        before = len(based.engine.images.list())
        based.build("FROM base\nENV a=b\n", tags=["app"], attest=["type=provenance"])
        assert len(based.engine.images.list()) == before + 1
        assert based.engine.images.inspect("app")["Architecture"] != "unknown"
        assert len(based.engine.images.history("app")) > 0

    def test_without_asking_there_are_none(self, based: Any) -> None:
        built = based.build("FROM base\nENV a=b\n", tags=["app"], attest=["type=provenance,disabled=true"])
        assert built.target.media_type == types.OCI_MANIFEST
        assert based.engine.images.attestations("app") == []

    def test_they_go_with_the_image(self, based: Any) -> None:
        based.build("FROM base\nCOPY Dockerfile /\n", tags=["app"], attest=["type=sbom"])
        blobs = based.count("blobs")
        based.engine.images.remove("app")
        based.engine.builder.prune()
        assert based.count("blobs") < blobs - 4
        with pytest.raises(NotFound):
            based.engine.images.attestations("app")

    def test_saved_and_loaded(self, based: Any) -> None:
        based.write({"status": DPKG})
        based.build("FROM base\nCOPY status /var/lib/dpkg/\n", tags=["app"], attest=["type=sbom"])
        known = predicates(based, "app")
        archive = based.directory / "app.tar"
        with open(archive, "wb") as file:
            based.engine.images.save(["app"], file)
        based.engine.images.remove("app")
        (loaded,) = based.engine.images.load(str(archive))
        assert predicates(based, "app") == known
        assert loaded is not None

    def test_in_an_archive_that_is_not_kept(self, based: Any) -> None:
        archive = based.directory / "app.tar"
        based.build("FROM base\nENV a=b\n", attest=["type=provenance"], outputs=[f"type=oci,dest={archive},name=x"])
        based.engine.images.load(str(archive))
        assert list(predicates(based, "x")) == [PROVENANCE]


class TestSbom:
    def test_of_the_result(self, based: Any) -> None:
        based.write({
            "status": DPKG,
            "package.json": json.dumps({"name": "left", "version": "1.0.0"}),
            "METADATA": "Name: thing\nVersion: 3\n",
        })  # fmt: skip
        based.build(
            "FROM base AS other\nCOPY package.json /elsewhere/node_modules/unseen/\nFROM base\n"
            "COPY status /var/lib/dpkg/\nCOPY package.json /app/node_modules/left/\n"
            "COPY METADATA /venv/lib/thing-3.dist-info/\nRUN rm -r /venv\n",
            tags=["app"], attest=["type=sbom"],
        )  # fmt: skip
        document = predicates(based, "app")[SBOM]
        found = [package["externalRefs"][0]["referenceLocator"] for package in document["packages"][1:]]
        assert found == ["pkg:deb/debian/libc6@2.41-12?arch=amd64", "pkg:npm/left@1.0.0"]

    def test_of_a_base_alone_and_of_nothing(self, based: Any) -> None:
        based.write({"status": DPKG})
        based.build("FROM base\nCOPY status /var/lib/dpkg/\n", tags=["lower"])
        based.build("FROM lower\nENV a=b\n", tags=["app"], attest=["type=sbom"])
        assert len(predicates(based, "app")[SBOM]["packages"]) == 2
        based.build("FROM scratch\nENV a=b\n", tags=["empty"], attest=["type=sbom"])
        assert len(predicates(based, "empty")[SBOM]["packages"]) == 1


TEXT = """\
FROM base AS lower
RUN echo hello >/made
FROM base
ARG VERSION NPM_TOKEN
COPY --from=lower /made /
RUN --network=none true
"""
ASKED = {
    "build_args": {"VERSION": "1", "NPM_TOKEN": "hunter2"}, "labels": {"l": "x"}, "tags": ["app"], "network": "default",
}  # fmt: skip


class TestProvenance:
    def test_the_least(self, based: Any) -> None:
        based.build(TEXT, **ASKED, attest=["type=provenance"])
        found = predicates(based, "app")[PROVENANCE]
        assert found["buildType"] == "https://mobyproject.org/buildkit@v1"
        base = based.engine.images.get("base")
        assert found["materials"] == [
            {"uri": "pkg:docker/base@latest?platform=linux%2Famd64", "digest": {"sha256": base.digest.hex}}
        ]
        assert found["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
        assert found["invocation"]["parameters"] == {"frontend": "dockerfile.v0", "locals": [{"name": "dockerfile"}]}
        assert found["invocation"]["environment"] == {"platform": "linux/amd64"}
        assert "buildConfig" not in found
        metadata = found["metadata"]
        assert metadata["completeness"] == {"parameters": False, "environment": True, "materials": False}
        assert metadata["buildStartedOn"] <= metadata["buildFinishedOn"]
        assert metadata["https://mobyproject.org/buildkit@v1#hermetic"] is False

    def test_all(self, based: Any) -> None:
        built = based.build(TEXT, **ASKED, target="", attest=["type=provenance,mode=max,builder-id=https://ci/1"])
        found = predicates(based, "app")[PROVENANCE]
        assert found["builder"] == {"id": "https://ci/1"}
        assert found["invocation"]["parameters"]["args"] == {
            "build-arg:NPM_TOKEN": "(hidden)", "build-arg:VERSION": "1", "label:l": "x",
        }  # fmt: skip
        steps = found["buildConfig"]["llbDefinition"]
        kinds = [next(iter(step["op"]["Op"])) for step in steps]
        assert kinds == ["source", "source", "exec", "file", "exec"]
        assert steps[2]["op"]["Op"]["exec"]["meta"]["args"] == ["/bin/sh", "-c", "echo hello >/made"]
        assert steps[3]["inputs"] == ["step0:0", "step2:0"]
        extra = found["metadata"]["https://mobyproject.org/buildkit@v1#metadata"]
        assert extra["source"]["locations"]["step2"]["locations"][0]["ranges"][0]["start"] == {"line": 2}
        assert {"step2:0", "step3:0", "step4:0"} == set(extra["layers"])
        assert built.image_id

    def test_no_value_that_is_called_a_secret(self, based: Any) -> None:
        based.build(
            TEXT + 'ENV COPIED=x${NPM_TOKEN}y\nRUN ["true", "--with", "hunter2"]\n', **ASKED,
            attest=["type=provenance,mode=max", "type=sbom"],
        )  # fmt: skip
        assert "COPIED=x(hidden)y" in json.dumps(predicates(based, "app"))
        assert "hunter2" not in json.dumps(predicates(based, "app"))

    def test_version_1(self, based: Any) -> None:
        based.build(TEXT, **ASKED, attest=["type=provenance,version=v1"])
        found = predicates(based, "app")["https://slsa.dev/provenance/v1"]
        assert found["buildDefinition"]["externalParameters"]["configSource"] == {"path": "Dockerfile"}
        assert len(found["buildDefinition"]["resolvedDependencies"]) == 1
        assert found["runDetails"]["metadata"]["buildkit_completeness"]["request"] is False

    def test_the_same_bytes_with_an_epoch(self, based: Any) -> None:
        asked = {**ASKED, "attest": ["type=provenance,mode=max", "type=sbom"], "epoch": 1_700_000_000}
        assert based.build(TEXT, **asked).digest == based.build(TEXT, **asked).digest

    def test_bytes_that_are_no_text(self, based: Any) -> None:
        based.write({"Dockerfile": b"FROM base\nRUN echo \xff >/x\n"})
        based.build(tags=["app"], attest=["type=provenance,mode=max"])
        assert "buildConfig" in predicates(based, "app")[PROVENANCE]


class TestBesideFiles:
    TEXT = "FROM scratch\nCOPY status /var/lib/dpkg/\n"

    def test_in_a_directory(self, based: Any) -> None:
        based.write({"status": DPKG})
        out = based.directory / "out"
        asked = ["type=sbom", "type=provenance,mode=max"]
        based.build(self.TEXT, outputs=[f"type=local,dest={out}"], attest=asked)
        assert (out / "var/lib/dpkg/status").read_text() == DPKG
        for name, kind in (("sbom.spdx.json", SBOM), ("provenance.json", PROVENANCE)):
            statement = json.loads((out / name).read_bytes())
            assert statement["predicateType"] == kind
            digest = hashlib.sha256(DPKG.encode()).hexdigest()
            assert statement["subject"] == [{"name": "var/lib/dpkg/status", "digest": {"sha256": digest}}]

    def test_in_a_tar(self, based: Any) -> None:
        based.write({"status": DPKG})
        found = based.files(self.TEXT, attest=["type=sbom"])
        assert set(found) == {"var/lib/dpkg/status", "sbom.spdx.json"}
        assert len(json.loads(found["sbom.spdx.json"])["predicate"]["packages"]) == 2

    def test_inline_only_is_about_images(self, based: Any) -> None:
        based.write({"status": DPKG})
        found = based.files(self.TEXT, attest=["type=provenance,inline-only=true"])
        assert set(found) == {"var/lib/dpkg/status"}

    def test_a_file_of_that_name_is_not_overwritten(self, based: Any) -> None:
        based.write({"provenance.json": "mine"})
        out = based.directory / "out"
        with pytest.raises(Conflict):
            based.build("FROM scratch\nCOPY provenance.json /\n", outputs=[str(out)], attest=["type=provenance"])
        assert not out.exists()


def test_secrets_are_named_and_not_told(based: Any) -> None:
    secret = based.directory / "secret"
    secret.write_text("hunter2-and-more")
    text = (
        "FROM base\nRUN --mount=type=secret,id=token,required=true wc -c </run/secrets/token >/size\n"
        "RUN --mount=type=secret,id=other,env=OTHER true\n"
    )
    asked = ["type=provenance,mode=max", "type=sbom"]
    based.build(text, secrets=[f"id=token,src={secret}"], tags=["app"], attest=asked)
    found = predicates(based, "app")
    assert found[PROVENANCE]["invocation"]["parameters"]["secrets"] == [
        {"id": "other", "optional": True},
        {"id": "token"},
    ]
    assert "hunter2" not in json.dumps(found)
    based.build(text, secrets=[f"id=token,src={secret}"], tags=["least"], attest=["type=provenance"])
    assert "token" not in json.dumps(predicates(based, "least"))
