"""Saving: images as one archive that is an OCI layout and a Docker archive at once, as Docker writes it from 25 on.

The archive streams, and the same images give the same bytes. Documents come first, so that a reader knows what follows.
Each blob comes once; a layer that was built here is packed while it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cais.errors import Corrupt, Invalid, NotFound
from cais.image.layers import LayerSource
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.image.store import Image, Images


class Wanted(NamedTuple):
    """An image with the names that it is saved under."""

    image: Image
    names: tuple[Reference, ...]


def select(images: Images, names: Sequence[str], platform: Platform | None = None) -> list[Wanted]:
    """What ``save NAMES`` means: a name with its tag, a repository with all its tags, or an id without any name.

    Raises NotFound, Invalid.
    """
    if not names:
        raise Invalid("there is no image to save")
    wanted: dict[Digest, Wanted] = {}
    for text in names:
        for image, saved_names in _meant(images, text, platform):
            # One image of one target is written once, whatever the number of its names.
            old = wanted.get(image.manifest.digest)
            known = old.names if old is not None else ()
            wanted[image.manifest.digest] = Wanted(
                image, (*known, *(name for name in saved_names if name not in known))
            )
    return list(wanted.values())


def _meant(images: Images, text: str, platform: Platform | None) -> Iterable[tuple[Image, tuple[Reference, ...]]]:
    try:
        bare = Reference.parse(text, default_tag="")
    except Invalid:
        bare = None
    if bare is not None and not bare.tag and bare.digest is None:
        tagged = [name for name, _ in images.tags.list() if name.name == bare.name and name.tag]
        if tagged:
            return [(images.get(str(name), platform), (name,)) for name in tagged]
    image = images.get(text, platform)
    if bare is not None and bare.tag:
        name = Reference(bare.registry, bare.repository, bare.tag)
        if name in image.names:
            return [(image, (name,))]
    return [(image, ())]


class Layout(NamedTuple):
    """An OCI layout that is to be written: what stands beside its blobs, and the blobs, each once."""

    documents: dict[str, bytes]
    blobs: dict[Digest, Descriptor]
    source: LayerSource


def layout(
    images: Images, wanted: Sequence[Wanted], platform: Platform | None = None, *, docker: bool = True
) -> Layout:
    """What ``wanted`` needs; ``docker``: with the document of a Docker archive, too. Raises NotFound for a blob."""
    source = LayerSource(images.content, images.snapshots)
    blobs: dict[Digest, Descriptor] = {}
    entries: list[Descriptor] = []
    for image, names in wanted:
        target = image.target
        if target.media_type in types.INDEXES and (platform is not None or not _whole(images, target)):
            target = image.manifest.descriptor
        _collect(images, target, blobs, source)
        entries += [_named(target, name) for name in names or (None,)]
    documents = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": Index.encode(entries).raw}
    if docker:
        documents["manifest.json"] = encode([_docker_entry(item) for item in wanted])
        repositories = _repositories(wanted)
        if repositories:
            documents["repositories"] = encode(repositories)
    return Layout(documents, blobs, source)


def save(images: Images, wanted: Sequence[Wanted], platform: Platform | None = None) -> Iterator[bytes]:
    """The archive, in pieces. Everything that it needs is looked for before the first piece.

    Raises NotFound when a blob is missing; Corrupt, while it goes on, when a blob is not what it should be.
    """
    return archive(layout(images, wanted, platform))


def _named(target: Descriptor, name: Reference | None) -> Descriptor:
    """The index's entry. Both annotations have the full name: readers know one or the other."""
    annotations = dict(target.annotations or {})
    if name is not None:
        annotations["io.containerd.image.name"] = annotations["org.opencontainers.image.ref.name"] = str(name)
    return Descriptor(target.media_type, target.digest, target.size_bytes, annotations or None, target.platform)


def _docker_entry(wanted: Wanted) -> dict[str, Any]:
    manifest = wanted.image.manifest
    return {
        "Config": blob_name(manifest.config.digest),
        "RepoTags": [name.familiar for name in wanted.names if name.tag] or None,
        "Layers": [blob_name(layer.digest) for layer in manifest.layers],
    }


def _repositories(wanted: Sequence[Wanted]) -> dict[str, dict[str, str]]:
    """The oldest form of names, which some tools and scripts still look for: by repository and tag, the top layer."""
    found: dict[str, dict[str, str]] = {}
    for image, names in wanted:
        layers = image.manifest.layers
        for name in names if layers else ():
            if name.tag:
                found.setdefault(name.familiar_name, {})[name.tag] = layers[-1].digest.hex
    return found


def blob_name(digest: Digest) -> str:
    """Where a blob is in an OCI layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _whole(images: Images, target: Descriptor) -> bool:
    """Whether everything that an index reaches is here, so that it can be saved as it is."""
    source = LayerSource(images.content, images.snapshots)
    try:
        _collect(images, target, {}, source, partial=False)
    except NotFound:
        return False
    return True


def _collect(
    images: Images, target: Descriptor, blobs: dict[Digest, Descriptor], source: LayerSource, *, partial: bool = True
) -> None:
    blobs.setdefault(target.digest, target)
    for item in images.manifests_of(target):
        blobs.setdefault(item.digest, item)
        manifest = Manifest.decode(images.content.read(item.digest, types.MANIFEST_LIMIT_BYTES), item.media_type)
        for child in manifest.children:
            if child.digest in blobs or (child.extra or {}).get("urls"):
                continue
            if not source.exists(child):
                raise NotFound(f"no such blob: {child.digest}", hint="Run: cais system check")
            blobs[child.digest] = child
    if target.media_type in types.INDEXES:
        index = Index.decode(images.content.read(target.digest, types.MANIFEST_LIMIT_BYTES), target.media_type)
        for item in index.manifests:
            if images.content.exists(item):
                if item.media_type in types.INDEXES:
                    _collect(images, item, blobs, source, partial=partial)
            elif not partial:
                raise NotFound(f"no such blob: {item.digest}")


def archive(planned: Layout) -> Iterator[bytes]:
    """The layout as a tar, in pieces. Raises Corrupt, while it goes on, when a blob is not what it should be."""
    from cais.host.tar_writer import padding, plain_header, trailer

    documents, blobs, source = planned
    for name, data in documents.items():
        yield plain_header(name, len(data)) + data + padding(len(data))
    for directory in sorted({"blobs/", *(f"blobs/{digest.algorithm}/" for digest in blobs)}):
        yield plain_header(directory, 0)
    # Small ones first: configs and manifests.
    for blob in sorted(blobs.values(), key=lambda item: (item.size_bytes > types.CONFIG_LIMIT_BYTES, item.digest)):
        yield plain_header(blob_name(blob.digest), blob.size_bytes)
        yield from sized(blob, source.fetch(blob))
        yield padding(blob.size_bytes)
    yield trailer()


def sized(blob: Descriptor, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces; their number of bytes is what the header said. Their digest is the reader's to verify."""
    left = blob.size_bytes
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise Corrupt(
            f"the blob {blob.digest} does not have the {blob.size_bytes} bytes it should have",
            hint="Run: cais system check",
        )
