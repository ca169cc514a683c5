"""Images looked at where they are: the tags of a repository in a registry, and what one of them is."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.spec.platform import Platform


def tags(stores: Stores, repository: str) -> list[str]:
    """In their order. Raises NotFound, Denied, Unauthorized, Unavailable, Invalid (``repository`` has a tag)."""
    from cais.engine.pull import tags_of

    bare = Reference.parse(repository, default_tag="")
    if bare.tag or bare.digest is not None:
        raise Invalid(f"{repository!r} names an image; the tags are those of a repository")
    return [reference.tag for reference in tags_of(stores, bare)]


def digest(stores: Stores, name: str) -> str:
    """What a tag points at in its registry. Raises NotFound, Denied, Unauthorized, Unavailable."""
    from cais.engine.pull import resolved

    return resolved(stores, Reference.parse(name))[1].digest


def inspect(stores: Stores, name: str, platform: Platform | None = None) -> dict[str, Any]:
    """Docker's JSON of an image in a registry, without its layers; its size is theirs as they would be fetched.

    Raises NotFound, Denied, Unauthorized, Unavailable, Invalid (it is no image).
    """
    from cais.engine.copy import read_document
    from cais.engine.pull import chosen, resolved
    from cais.image.store import Image
    from cais.image.views import described
    from cais.spec.image_config import ImageConfig
    from cais.spec.manifest import Index, Manifest

    reference = Reference.parse(name)
    registry, target = resolved(stores, reference)
    item = chosen(registry, target, platform or stores.platform)[-1]
    manifest = Manifest.decode(read_document(registry, item), item.media_type)
    if manifest.config.media_type not in types.CONFIGS:
        raise Invalid(f"{reference.familiar} is no image: its config is {manifest.config.media_type[:200]!r}")
    config = ImageConfig.decode(read_document(registry, manifest.config), manifest.config.media_type)
    if platform is not None and not platform.matches(config.platform):
        raise NotFound(f"{reference.familiar} is for {config.platform}, not for {platform}")
    image = Image(config.digest, target, manifest, config, (reference,))
    document = described(image, sum(layer.size_bytes for layer in manifest.layers))
    document["Descriptor"] = target.to_json()
    if target.media_type in types.INDEXES:
        index = Index.decode(read_document(registry, target), target.media_type)
        document["Manifests"] = [entry.to_json() for entry in index.manifests]
    return document
