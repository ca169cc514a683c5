"""What refers to an image goes along with it: at our own registry, and at one that has no list of referrers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cais.engine.collect import collect
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.reference import Reference
from image_hosts import Host

pytestmark = pytest.mark.root


@pytest.fixture(params=["open_registry", "cais_registry"])
def repository(request: pytest.FixtureRequest) -> str:
    return f"{request.getfixturevalue(request.param).address}/{request.node.originalname}-{os.urandom(4).hex()}"


def artifact(host: Host, name: str, subject: Descriptor, text: bytes) -> Descriptor:
    """A signature, say, about ``subject``: pushed as other tools do it."""
    registry = host.stores.registries.repository(Reference.parse(name), pushing=True)
    config, layer = (Descriptor(kind, Digest.of(data), len(data)) for kind, data in (
        (types.OCI_EMPTY, b"{}"), ("application/vnd.example.signature", text)
    ))  # fmt: skip
    registry.push(config, iter((b"{}",)))
    registry.push(layer, iter((text,)))
    raw = encode(
        {
            "schemaVersion": 2,
            "mediaType": types.OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": config.to_json(),
            "layers": [layer.to_json()],
            "subject": Descriptor(subject.media_type, subject.digest, subject.size_bytes).to_json(),
        }
    )
    return registry.put_manifest(raw, types.OCI_MANIFEST)


def signed(host: Host, name: str) -> tuple[Descriptor, Descriptor, Descriptor]:
    """An image, its signature, and a signature of that."""
    host.image(name, {"a": b"a"})
    pushed = host.push(name)
    image = Descriptor(types.OCI_MANIFEST, pushed.digest, pushed.size_bytes)
    first = artifact(host, name, image, b"signed")
    return image, first, artifact(host, name, first, b"countersigned")


def test_pulled_and_pushed(here: Host, there: Host, repository: str) -> None:
    _, first, second = signed(here, f"{repository}:1")
    there.pull(f"{repository}:1")
    assert not there.has(first.digest)
    there.pull(f"{repository}:1", referrers=True)
    assert there.has(first.digest) and there.has(second.digest)
    there.stores.leases.release()
    collect(there.stores)
    assert there.has(first.digest) and there.has(second.digest) and there.has(Digest.of(b"signed"))
    there.engine.images.tag(f"{repository}:1", f"{repository}-next:1")
    there.push(f"{repository}-next:1", referrers=True)
    here.pull(f"{repository}-next:1", referrers=True)
    assert here.has(second.digest)
    there.engine.images.remove(f"{repository}:1")
    there.engine.images.remove(f"{repository}-next:1")
    assert not there.has(first.digest)


def test_all_tags_are_those_of_images(here: Host, there: Host, repository: str) -> None:
    """Where the registry keeps no list of referrers, that is a tag, too."""
    image, _, _ = signed(here, f"{repository}:1")
    here.image(f"{repository}:sha256-{image.digest.hex}.sig", {"signature": b"old way"})
    here.push(f"{repository}:sha256-{image.digest.hex}.sig")
    here.index(f"{repository}:foreign", s390x={"a": b"b"}, riscv64={"a": b"c"})
    here.push(f"{repository}:foreign")
    events: list[dict[str, object]] = []
    pulled = there.engine.images.pull(repository, all_tags=True, progress=events.append)
    assert [item.reference.tag for item in pulled] == ["1"]
    assert any(str(event.get("text")).startswith("foreign: no matching manifest for ") for event in events)


def test_copied_through_all_places(here: Host, there: Host, repository: str, tmp_path: Path) -> None:
    _, first, second = signed(here, f"{repository}:1")
    source = f"docker://{repository}:1"
    for target in (
        f"docker://{repository}-other:1", f"oci:{tmp_path}/layout:v1", f"oci-archive:{tmp_path}/file.tar:v1",
        "cais:here:1", f"docker://{repository}-back:1",
    ):  # fmt: skip
        there.engine.images.copy(source, target, referrers=True)
        source = target
    assert there.has(first.digest)
    here.pull(f"{repository}-back:1", referrers=True)
    assert here.has(first.digest) and here.has(second.digest)


def test_signatures_under_tags_go_from_registry_to_registry(here: Host, there: Host, repository: str) -> None:
    image, _, _ = signed(here, f"{repository}:1")
    tag = f"sha256-{image.digest.hex}.sig"
    here.image(f"{repository}:{tag}", {"signature": b"old way"})
    here.push(f"{repository}:{tag}")
    there.engine.images.copy(f"docker://{repository}:1", f"docker://{repository}-other:1", referrers=True)
    assert there.engine.images.remote_digest(f"{repository}-other:{tag}")
