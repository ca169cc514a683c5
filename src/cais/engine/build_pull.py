"""Base images of registries: their documents before the plan, their layers when something needs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cais.engine.build_steps import Step
from cais.engine.stores import Stores
from cais.errors import CaisError, Invalid, NotFound
from cais.host.workers import for_each
from cais.image.store import Image
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Manifest
from cais.spec.platform import Platform
from cais.spec.progress import Progress, silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.graph import Vertex
    from cais.engine.build_bases import Bases
    from cais.ports import Source

# Images at once; each has some threads of its own.
_AT_ONCE = 3


def look(stores: Stores, reference: Reference, platform: Platform, here: Image | None) -> Image:
    """The image that ``reference`` names in its registry; ``here`` where it is that one. Nothing is stored.

    Raises NotFound, Denied, Unauthorized, Corrupt, Invalid, Unavailable.
    """
    from cais.engine.copy import read_document
    from cais.engine.pull import chosen, explained

    registry = stores.registries.repository(reference)
    try:
        target = registry.resolve(reference.digest or reference.tag)
    except NotFound as error:
        error.hint = ""
        raise
    except CaisError as error:
        raise explained(stores, error, reference, "pull")
    if here is not None and here.digest == target.digest:
        return here
    item = chosen(registry, target, platform)[-1]
    manifest = Manifest.decode(read_document(registry, item), item.media_type)
    config = read_config(registry, manifest)
    return Image(config.digest, target, manifest, config, ())


def read_config(source: Source, manifest: Manifest) -> ImageConfig:
    """The config of an image, verified. Raises Invalid where it is none, Corrupt."""
    from cais.engine.copy import read_whole

    described = manifest.config
    if described.media_type not in types.CONFIGS:
        raise Invalid(f"{manifest.descriptor.digest} is no image: its config is {described.media_type[:200]!r}")
    if described.size_bytes > types.CONFIG_LIMIT_BYTES:
        raise Invalid(f"the config {described.digest} is larger than {types.CONFIG_LIMIT_BYTES} bytes")
    config = ImageConfig.decode(read_whole(source, described, "config"), described.media_type)
    if len(config.diff_ids) != len(manifest.layers):
        raise Invalid(f"{manifest.descriptor.digest} has {len(manifest.layers)} layers, its config another number")
    return config


def bring(stores: Stores, reference: Reference, target: Descriptor, platform: Platform, progress: Progress) -> Image:
    """Pulls ``target``, to which the name was found to point; it is held from now on. Raises as ``pull``."""
    from cais.engine.pull import PullOptions, pull

    several = target.media_type in types.INDEXES
    options = PullOptions(platform=platform if several else None, target=target)
    pull(stores, reference, options, progress)
    stores.content.hold((target.digest,))
    images = stores.images
    if several:
        return images.of_target(target, platform)
    manifest, config = images.read_manifest(target)
    return Image(config.digest, target, manifest, config, ())


def bring_all(bases: Bases, vertices: Iterable[Vertex], progress: Progress, ids: Mapping[Vertex, int]) -> None:
    """Those of ``vertices`` (of images that are not here), some at a time. Raises what the first failure raised."""
    for_each(
        vertices,
        lambda vertex: _bring(bases, vertex, progress if vertex in ids else silent, ids.get(vertex, 0)),
        _AT_ONCE,
    )


def _bring(bases: Bases, vertex: Vertex, progress: Progress, id: int) -> None:
    from cais.build.graph import SourceImage

    assert isinstance(vertex.op, SourceImage)
    try:
        with Step(progress, id) as step:
            bases.bring(*vertex.op, step)
    except CaisError as error:
        if vertex.origin.first_line:
            error.span = error.span or vertex.origin[:2]
        raise
