"""An image as a registry takes it: layers that live as directories here packed and compressed, the rest as it came."""

from __future__ import annotations

from cais.errors import Invalid, NotFound
from cais.image.assemble import Assembled, store, store_index, with_layers
from cais.image.attestations import REFERENCE_DIGEST, is_attestation, statements_of, store_attestations
from cais.image.compress import Compression, compressed_layers
from cais.image.layers import LayerSource
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.manifest import Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.image.compress import Follow
    from cais.image.store import Images
    from cais.spec.platform import Platform

    Named = Callable[[Platform], list[str]]


def is_whole(images: Images, target: Descriptor) -> bool:
    """Whether all that a manifest (or an index) names is here, be it as a blob or as a layer to pack."""
    if not images.content.exists(target):
        return False
    raw = images.content.read(target.digest, types.MANIFEST_LIMIT_BYTES)
    if target.media_type in types.INDEXES:
        return all(is_whole(images, item) for item in Index.decode(raw, target.media_type).manifests)
    source = LayerSource(images.content, images.snapshots)
    children = Manifest.decode(raw, target.media_type).children
    return all(source.exists(child) or (child.extra or {}).get("urls") for child in children)


def present_part(images: Images, target: Descriptor) -> Descriptor:
    """Of an index: an index of what is here, or the manifest where that is one image. Raises NotFound (nothing is)."""
    index = _index(images, target)
    here = [item for item in index.manifests if is_whole(images, item)]
    of_images = [item for item in here if not is_attestation(item)]
    if not of_images:
        raise NotFound(f"no image of the index {target.digest} is here as a whole")
    if len(here) == 1:
        return here[0]._replace(annotations=None, platform=None)
    made = Index.encode(here, media_type=index.media_type, annotations=index.annotations)
    return store_index(images.content, made)


def packed(
    images: Images,
    target: Descriptor,
    how: Compression,
    keeps: Callable[[Descriptor], bool],
    named: Named,
    follow: Follow | None = None,
) -> Descriptor:
    """``target``, or another where layers of it had to be packed; those that ``keeps`` stay as they are.

    ``named``: what the image of a platform is called (purls), for attestations, which are about a manifest and are made
    anew with it. Manifests that are not here stay as they are; an attestation that is not here goes, where it was about
    what has changed. ``follow``: of ``compressed_layers``. Raises Corrupt, Unavailable (no space).
    """
    if target.media_type not in types.INDEXES:
        return _packed_manifest(images, target, how, keeps, follow)
    index = _index(images, target)
    changed: dict[str, Descriptor] = {}
    for item in index.manifests:
        if not is_attestation(item) and images.content.exists(item):
            new = packed(images, item, how, keeps, named, follow)
            if new.digest != item.digest:
                changed[item.digest] = new._replace(annotations=item.annotations, platform=item.platform)
    if not changed:
        return target
    entries = []
    for item in index.manifests:
        about = (item.annotations or {}).get(REFERENCE_DIGEST, "")
        if item.digest in changed:
            entries.append(changed[item.digest])
        elif is_attestation(item) and about in changed:
            if images.content.exists(item):  # what is not here cannot be said again
                entries.append(_said_again(images, item, changed[about], named))
        else:
            entries.append(item)
    made = Index.encode(entries, media_type=index.media_type, annotations=index.annotations)
    return store_index(images.content, made)


def _packed_manifest(
    images: Images,
    item: Descriptor,
    how: Compression,
    keeps: Callable[[Descriptor], bool],
    follow: Follow | None,
) -> Descriptor:
    try:
        manifest, config = images.read_manifest(item)
    except Invalid:
        return item  # no image: an artifact goes as it is
    assembled = Assembled(config, manifest)
    layers = compressed_layers(images, assembled, how, keeps, follow)
    if list(layers) == list(manifest.layers):
        return item
    made = with_layers(
        assembled, layers, oci=manifest.media_type == types.OCI_MANIFEST, annotations=manifest.annotations
    )
    return store(images.content, made)


def _said_again(images: Images, item: Descriptor, new: Descriptor, named: Named) -> Descriptor:
    """What an attestation says, about ``new``: the manifest in the place of that which it was about."""
    names = [] if new.platform is None else named(new.platform)
    return store_attestations(images.content, new.digest, names, statements_of(images, item))


def _index(images: Images, target: Descriptor) -> Index:
    return Index.decode(images.content.read(target.digest, types.MANIFEST_LIMIT_BYTES), target.media_type)
