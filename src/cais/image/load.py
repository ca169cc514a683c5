"""Loading: what came in an archive or a layout becomes images, after all of it was found to be what it says.

First everything is checked (sizes, digests, media types, that config and manifest agree, that compressed layers hold
what the config says), then everything is registered. Layers stay as they came; they are unpacked on first use.
"""

from __future__ import annotations

from cais.errors import Invalid, Unsupported
from cais.image.archive import Archive, Layout
from cais.image.layers import check_layer, content_size, found_compression
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import decode_object
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.image.store import Images

NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
IMAGES_LIMIT = 10_000
INDEX_DEPTH_LIMIT = 4


class Loaded(NamedTuple):
    """``kind`` is ``name`` (``name_or_id`` is a familiar name) or ``id``."""

    name_or_id: str
    kind: str
    id: Digest


class Found(NamedTuple):
    """One image of an archive, and the names that it has there."""

    target: Descriptor
    names: list[Reference]


def load(images: Images, received: Archive | Layout) -> list[Loaded]:
    """Registers all images. Raises Invalid, Corrupt, Unsupported; then none is registered."""
    loaded: list[Loaded] = []
    for target, names in found_in(images, received):
        record = images.register(target, names)
        loaded += [Loaded(name.familiar, "name", record.id) for name in names]
        if not names:
            loaded.append(Loaded(record.id, "id", record.id))
    return loaded


def found_in(images: Images, received: Archive | Layout) -> list[Found]:
    """What there is, checked and stored. Raises Invalid, Corrupt, Unsupported."""
    found: dict[Digest, Found] = {}
    by_config: dict[Digest, Digest] = {}
    documents = received.documents
    if "index.json" in documents:
        _check_layout(documents)
        index = Index.decode(documents["index.json"])
        if len(index.manifests) > IMAGES_LIMIT:
            raise Invalid(f"the archive's index names more than {IMAGES_LIMIT} images")
        for item in index.manifests:
            if item.digest not in found:
                configs = _check(images, received, item, 0)
                if not configs:
                    continue  # an artifact that is no image
                found[item.digest] = Found(item, [])
                for config in configs:
                    by_config.setdefault(config, item.digest)
            name = annotated_name(item)
            if name is not None and name not in found[item.digest].names:
                found[item.digest].names.append(name)
    if "manifest.json" in documents:
        _docker_images(images, received, found, by_config)
    if not found:
        raise _nothing(documents)
    return list(found.values())


def receive(images: Images, received: Layout, target: Descriptor) -> None:
    """Stores one image of a layout, verified as ``load`` does, under no name and unknown to ``ls``: for this process.

    Raises Invalid, Corrupt, Unsupported.
    """
    _check_layout(received.documents)
    if not _check(images, received, target, 0):
        raise Invalid(f"{target.digest} of the layout is no image")


def annotated_name(item: Descriptor) -> Reference | None:
    """The name that an index gives a manifest. A bare word (``latest``, ``v1``) is a tag without a name: none."""
    for key in NAME_ANNOTATIONS:
        text = (item.annotations or {}).get(key, "")
        if ":" in text or "/" in text:
            try:
                name = Reference.parse(text)
            except Invalid:
                continue
            return name if name.tag else None
    return None


def _nothing(documents: dict[str, bytes]) -> Exception:
    if "repositories" in documents:
        return Unsupported(
            "the archive was written by a Docker older than 1.10: it has no manifest.json",
            hint="Load it into a newer Docker, and save it there again.",
        )
    if "index.json" in documents or "manifest.json" in documents:
        return Invalid("there is no image in the archive")
    return Invalid(
        "this is no archive of images: it has neither index.json (OCI) nor manifest.json (Docker)",
        hint="A tar of a root file system becomes an image by: cais image import",
    )


def _check_layout(documents: dict[str, bytes]) -> None:
    if "oci-layout" in documents:
        version = decode_object(documents["oci-layout"], "oci-layout", 4096).get("imageLayoutVersion")
        if not isinstance(version, str) or not version.startswith("1."):
            raise Unsupported(f"the image layout has the version {version!r}; only 1 is known")


def _check(images: Images, received: Archive | Layout, item: Descriptor, depth: int) -> list[Digest]:
    """All that ``item`` reaches is there and is what it says. Returns the ids of the images in it."""
    received.provide(item)
    if item.media_type in types.INDEXES:
        if depth >= INDEX_DEPTH_LIMIT:
            raise Invalid(f"the archive's indexes are nested more than {INDEX_DEPTH_LIMIT} levels deep")
        raw = images.content.read(item.digest, types.MANIFEST_LIMIT_BYTES)
        configs: list[Digest] = []
        for child in Index.decode(raw, item.media_type).manifests:
            if depth == 0 and images.content.size_of(child.digest) is None and not _has(received, child):
                continue  # an archive with some of the platforms only
            configs += _check(images, received, child, depth + 1)
        return configs
    if item.media_type not in types.MANIFESTS:
        raise Invalid(f"the index names {item.digest} with the unknown media type {item.media_type[:200]!r}")
    raw = images.content.read(item.digest, types.MANIFEST_LIMIT_BYTES)
    manifest = Manifest.decode(raw, item.media_type)
    for child in manifest.children:
        if child.digest != manifest.config.digest and (child.extra or {}).get("urls"):
            continue  # lives elsewhere; its use is refused when it comes to that
        received.provide(child)
    if manifest.config.media_type not in types.CONFIGS:
        return []
    _, config = images.read_manifest(item)
    if not config.diff_ids and not config.fields.get("rootfs"):
        raise Invalid(f"the image config {config.digest} has no rootfs")
    for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
        if _is_attestation(layer) or images.content.size_of(layer.digest) is None:
            continue
        _check_layer(images, layer, diff_id)
    return [] if any(_is_attestation(layer) for layer in manifest.layers) else [config.digest]


def _has(received: Archive | Layout, item: Descriptor) -> bool:
    try:
        received.provide(item)
    except Invalid:
        return False
    return True


def _is_attestation(layer: Descriptor) -> bool:
    return not layer.media_type.startswith(("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."))


def _check_layer(images: Images, layer: Descriptor, diff_id: Digest) -> None:
    """A compressed layer is decompressed once, to be sure of it; what it holds is remembered with its digest."""
    check_layer(images.content, layer, diff_id)
    content_size(images, layer, diff_id)


def _docker_images(
    images: Images, received: Archive | Layout, found: dict[Digest, Found], by_config: dict[Digest, Digest]
) -> None:
    """The entries of manifest.json: names for what the index gave, or images of their own."""
    raw = received.documents["manifest.json"]
    entries = decode_object(b'{"images":' + raw + b"}", "manifest.json", types.MANIFEST_LIMIT_BYTES + 16)["images"]
    if not isinstance(entries, list) or len(entries) > IMAGES_LIMIT:
        raise Invalid(f"manifest.json is not a list of at most {IMAGES_LIMIT} images")
    for entry in entries:
        config_name, layer_names, names = _docker_entry(entry)
        digest, size_bytes = received.file(config_name)
        if digest not in by_config:
            target = _docker_target(images, received, digest, size_bytes, layer_names)
            by_config[digest] = target.digest
            found.setdefault(target.digest, Found(target, []))
        known = found[by_config[digest]].names
        known += [name for name in names if name not in known]


def _docker_entry(entry: Any) -> tuple[str, list[str], list[Reference]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        raise Invalid("manifest.json has an entry without a Config")
    layers, tags = entry.get("Layers") or [], entry.get("RepoTags") or []
    for value, what in ((layers, "Layers"), (tags, "RepoTags")):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise Invalid(f"manifest.json has {what} that are not a list of strings")
    return entry["Config"], layers, [Reference.parse(tag) for tag in tags]


def _docker_target(
    images: Images, received: Archive | Layout, digest: Digest, size_bytes: int, layer_names: list[str]
) -> Descriptor:
    """A manifest for an image that has none: its config, and its layers as they came."""
    raw = images.content.read(digest, types.CONFIG_LIMIT_BYTES)
    config = ImageConfig.decode(raw)
    if len(layer_names) != len(config.diff_ids):
        raise Invalid(
            f"manifest.json names {len(layer_names)} layers of the image {digest}, its config {len(config.diff_ids)}"
        )
    layers = []
    for name, diff_id in zip(layer_names, config.diff_ids, strict=True):
        blob, layer_size = received.file(name)
        compression = "none" if blob == diff_id else found_compression(images.content, blob)
        if compression not in ("none", "gzip", "zstd"):
            raise Unsupported(
                f"the layer {name[:200]!r} is compressed with {compression}, which no image format allows"
            )
        layer = Descriptor(types.layer_media_type(compression), blob, layer_size)
        _check_layer(images, layer, diff_id)
        layers.append(layer)
    if images.records.by_id(digest):
        known = images.of_id(digest).target
        images.content.hold((known.digest,))
        if images.records.by_target(known.digest) is not None:  # again: it may have been removed before the hold
            return known  # the same image, as it came before
    manifest = Manifest.encode(Descriptor(types.OCI_CONFIG, digest, size_bytes), layers)
    images.content.add(manifest.raw)
    return manifest.descriptor
