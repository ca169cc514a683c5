"""A new image from parts: a base, new layers, a run config. What build, commit and import end with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.errors import Failed
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.content.store import ContentStore


class NewLayer(NamedTuple):
    """A layer that was made here: its plain tar's digest and size in bytes. It may live as a snapshot only."""

    diff_id: Digest
    size_bytes: int


class Base(NamedTuple):
    config: ImageConfig
    manifest: Manifest


class Assembled(NamedTuple):
    """``target`` is the manifest's descriptor; ``config.digest`` is the image's id."""

    config: ImageConfig
    manifest: Manifest

    @property
    def target(self) -> Descriptor:
        return self.manifest.descriptor


class Child(NamedTuple):
    """One platform's image in an index. ``annotations`` are its descriptor's."""

    assembled: Assembled
    platform: Platform
    annotations: Mapping[str, str] | None = None

    @property
    def descriptor(self) -> Descriptor:
        annotations = dict(self.annotations) if self.annotations else None
        return self.assembled.target._replace(platform=self.platform, annotations=annotations)


_AS_OCI = {
    types.DOCKER_LAYER: types.OCI_LAYER,
    types.DOCKER_LAYER_GZIP: types.OCI_LAYER_GZIP,
    types.DOCKER_LAYER_ZSTD: types.OCI_LAYER_ZSTD,
}

# The top-level fields of a config, in the order in which they are written.
_FIELDS = ("architecture", "os", "os.version", "os.features", "variant", "created", "author", "config", "history")


def assemble(
    base: Base | None,
    layers: Sequence[NewLayer],
    run: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    *,
    created: str,
    platform: Platform | None = None,
    author: str = "",
    annotations: Mapping[str, str] | None = None,
) -> Assembled:
    """Pure. Base layers keep their descriptors, so the same blobs are referred to; new ones are uncompressed.

    ``run`` is the whole ``config`` object, ``history`` the new entries only. ``platform`` defaults to the base's. Of
    the base's config, Docker's records of how it came about (``container``, ``id``, ``parent``, ..) are left out.
    Raises Failed when ``history`` and ``layers`` do not agree.
    """
    filled = sum(1 for entry in history if not entry.get("empty_layer"))
    if filled != len(layers):
        raise Failed(f"the history has {filled} entries with a layer, but there are {len(layers)} new layers")
    fields: dict[str, Any] = {}
    old = base.config.fields if base is not None else {}
    values = {**old, **(platform.to_json() if platform is not None else {} if old else Platform().to_json())}
    if platform is not None and not platform.variant:
        values.pop("variant", None)
    values["created"] = created
    values["author"] = author or values.get("author") or None
    values["config"] = {key: value for key, value in run.items() if value is not None}
    values["history"] = [*(base.config.history if base is not None else ()), *map(dict, history)]
    for key in _FIELDS:
        if values.get(key) is not None:
            fields[key] = values[key]
    diff_ids = base.config.diff_ids if base is not None else ()
    fields["rootfs"] = {"type": "layers", "diff_ids": [*diff_ids, *(layer.diff_id for layer in layers)]}
    config = ImageConfig(fields)
    descriptors = [
        layer._replace(media_type=_AS_OCI.get(layer.media_type, layer.media_type))
        for layer in (base.manifest.layers if base is not None else ())
    ]
    descriptors += [Descriptor(types.OCI_LAYER, layer.diff_id, layer.size_bytes) for layer in layers]
    return Assembled(config, Manifest.encode(config.descriptor, descriptors, annotations=annotations))


_AS_DOCKER = {
    types.OCI_LAYER: types.DOCKER_LAYER,
    types.OCI_LAYER_GZIP: types.DOCKER_LAYER_GZIP,
    types.OCI_LAYER_ZSTD: types.DOCKER_LAYER_ZSTD,
}


def with_layers(
    assembled: Assembled,
    layers: Sequence[Descriptor],
    *,
    oci: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> Assembled:
    """Pure. The same image with its layers packed in another way; ``oci`` False: in Docker's media types."""
    config = assembled.config.descriptor
    if oci:
        return Assembled(assembled.config, Manifest.encode(config, layers, annotations=annotations))
    manifest = Manifest.encode(
        config._replace(media_type=types.DOCKER_CONFIG),
        [layer._replace(media_type=_AS_DOCKER.get(layer.media_type, layer.media_type)) for layer in layers],
        media_type=types.DOCKER_MANIFEST,
        annotations=annotations,
    )
    return Assembled(assembled.config, manifest)


def index(
    children: Sequence[Child],
    beside: Sequence[Descriptor] = (),
    *,
    oci: bool = True,
    annotations: Mapping[str, str] | None = None,
) -> Index:
    """Pure. The images of several platforms as one, in the order given, then what is said about them (``beside``).

    image-spec image-index.md.
    """
    return Index.encode(
        [*(child.descriptor for child in children), *beside],
        media_type=types.OCI_INDEX if oci else types.DOCKER_INDEX,
        annotations=annotations,
    )


def store_index(content: ContentStore, index: Index) -> Descriptor:
    """Writes an index whose children are there. Raises Unavailable (no space)."""
    content.hold((index.digest,))
    content.add(index.raw, [child.digest for child in index.children])
    return index.descriptor


def store(content: ContentStore, assembled: Assembled) -> Descriptor:
    """Writes config and manifest where they are not there yet; returns the descriptor to register.

    Raises Unavailable (no space).
    """
    config, manifest = assembled.config, assembled.manifest
    content.hold((config.digest, manifest.digest))
    if content.size_of(config.digest) is None:
        content.add(config.raw)
    if content.size_of(manifest.digest) is None:
        content.add(manifest.raw, [child.digest for child in manifest.children])
    return manifest.descriptor
