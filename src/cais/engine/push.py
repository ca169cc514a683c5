"""Push: an image to a registry. Only what it lacks is sent.

Layers that live as directories here are packed, compressed and remembered; the pushed manifest is what the name points
at from then on, so that its digest is the registry's and the next push has nothing to pack.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from cais.engine.arriving import Layers
from cais.engine.pull import explained
from cais.engine.push_streams import Streams
from cais.engine.stores import Stores
from cais.errors import CaisError, Denied, Invalid, NotFound, Unauthorized
from cais.image.compress import Compression
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.engine.copy import Graph
    from cais.image.compress import Follow
    from cais.image.origins import Origins
    from cais.ports import Source
    from cais.remote.registry import Registry
    from cais.spec.platform import Platform

_LEVELS = {"gzip": 9, "zstd": 22, "none": 0}
# A blob not larger than this is sent without asking whether it is there: that costs as much.
_SMALL_BYTES = 64 << 10


class Pushed(NamedTuple):
    """``digest`` and ``size_bytes`` are those of the manifest or index that the tag points at in the registry."""

    reference: Reference
    digest: Digest
    size_bytes: int


class PushOptions(NamedTuple):
    """``platform``: this one's image alone. ``compression``: ``parse_compression``. ``insecure``: over plain http, or
    to any certificate. ``referrers``: what refers to it goes along.
    """

    platform: Platform | None = None
    compression: str = ""
    referrers: bool = False
    insecure: bool = False


def parse_compression(text: str) -> Compression | None:
    """``gzip``, ``zstd:6``, ``none``; None for "". Raises Invalid."""
    if not text:
        return None
    kind, colon, level = text.partition(":")
    if kind not in _LEVELS:
        raise Invalid(f"unsupported compression {kind!r}: it is gzip, zstd or none")
    if not colon:
        return Compression(kind)
    if not (level.isascii() and level.isdigit() and len(level) < 3 and int(level) <= _LEVELS[kind]):
        raise Invalid(f"the level of {kind} is a number up to {_LEVELS[kind]}, not {level!r}")
    return Compression(kind, int(level))


def push(stores: Stores, reference: Reference, options: PushOptions, progress: Progress) -> Pushed:
    """Sends the image that ``reference`` names here to where it says. Raises NotFound, Denied, Unauthorized, ..."""
    own = stores.apart()
    try:
        return _Push(own, reference, options, progress).run()
    finally:
        own.leases.release()


def push_built(
    stores: Stores, reference: Reference, target: Descriptor, progress: Progress, *, insecure: bool = False
) -> Pushed:
    """Sends ``target``, which needs no name here, and is held by the lease of ``stores``.

    ``reference`` without a tag: under its digest. Raises as ``push``.
    """
    return _Push(stores, reference, PushOptions(insecure=insecure), progress, target).run()


def tags_of(stores: Stores, name: Reference) -> list[Reference]:
    """All tags of a repository that are here, for ``push --all-tags``. Raises NotFound."""
    found = [tagged for tagged, _ in stores.tags.list() if tagged.name == name.name and tagged.tag]
    if not found:
        raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
    return found


class _Push:
    """One tag."""

    def __init__(
        self,
        stores: Stores,
        reference: Reference,
        options: PushOptions,
        progress: Progress,
        target: Descriptor | None = None,
    ) -> None:
        """``target``: not what the name points at here, but this."""
        if reference.digest is not None:
            raise Invalid("cannot push a digest reference")
        self._built = target
        self._stores = stores
        self._images = stores.images
        self._reference = reference
        self._options = options
        self._progress = progress

    def run(self) -> Pushed:
        from cais.engine.copy import read_graph
        from cais.host.beside import beside
        from cais.image.layers import LayerSource

        reference = self._reference
        # What speaks to registries takes a while to load: the first layers are compressed meanwhile.
        open_registry = beside(self._registry)
        target = packed = self._built or self._target()
        self._stores.snapshots.reach()
        streams = Streams(open_registry, self._progress)
        if self._built is None:  # a build has packed its layers as it was told
            available = self._available(open_registry, target)
            packed = packed_for(self._stores, reference, available, self._options.compression, streams.follow)
        registry = open_registry()
        source = LayerSource(self._stores.content, self._stores.snapshots)
        graph = read_graph(source, packed, self._stores.content.exists)
        try:
            layers = Layers(self._progress, _layers(graph), unpacks=False)
            send(self._stores, registry, reference, source, graph, packed, layers, streams=streams)
            if self._options.referrers:
                from cais.engine.referrers import copy_referrers, of_content

                copy_referrers(of_content(self._stores.content), source, registry, graph.documents)
        except (Denied, Unauthorized) as error:
            raise explained(self._stores, error, reference, "push")
        if self._built is None:
            self._keep(target, packed)
        self._progress(
            {"event": "pushed", "tag": reference.tag, "digest": packed.digest, "size_bytes": packed.size_bytes}
        )
        self._stores.events.write("image", "push", reference.familiar, {"name": reference.familiar_name})
        return Pushed(reference, packed.digest, packed.size_bytes)

    def _registry(self) -> Registry:
        """Raises Denied, Invalid: what the settings say."""
        return self._stores.registries.repository(self._reference, pushing=True, insecure=self._options.insecure)

    def _target(self) -> Descriptor:
        reference = self._reference
        try:
            self._images.tags.resolve(reference)
        except NotFound:
            tags_of(self._stores, reference)
            raise NotFound(f"tag does not exist: {reference.familiar}")
        image = self._images.get(str(reference), self._options.platform)
        if self._options.platform is None:
            return image.target
        return image.manifest.descriptor

    def _available(self, registry: Callable[[], Registry], target: Descriptor) -> Descriptor:
        """Of an index with images that are not here, what is here; all of it where the registry has the rest."""
        from cais.image.repack import is_whole, present_part
        from cais.spec.manifest import Index

        if target.media_type not in types.INDEXES or is_whole(self._images, target):
            return target
        raw = self._stores.content.read(target.digest, types.MANIFEST_LIMIT_BYTES)
        missing = [item for item in Index.decode(raw, target.media_type).manifests if not is_whole(self._images, item)]
        try:
            if all(registry().exists(item) for item in missing):
                return target
        except CaisError:
            pass  # what is wrong is said by what is asked next
        part = present_part(self._images, target)
        names = ", ".join(dict.fromkeys(str(item.platform) for item in missing if _is_image(item)))
        self._progress({"event": "note", "text": f"Not here, and not pushed: {names}"})
        return part

    def _keep(self, target: Descriptor, packed: Descriptor) -> None:
        """The name points at what was pushed, if it still points at what was to be pushed."""
        if packed.digest == target.digest or self._options.platform is not None:
            return
        from cais.image.removal import forget_superseded

        images = self._images
        if target.media_type in types.INDEXES and packed.media_type not in types.INDEXES:
            return  # a part of it
        record = images.register(packed)
        with images.database.transaction() as change:
            if images.tags.resolve(self._reference).digest == target.digest:
                images.tags.tag_within(change, self._reference, packed)
            forget_superseded(images, change, record.id)


def packed_for(
    stores: Stores, reference: Reference, target: Descriptor, compression: str, follow: Follow | None = None
) -> Descriptor:
    """``target`` with its layers as a registry takes them; ``compression`` is that of ``PushOptions``, ``follow`` that
    of ``image.compress``.

    Raises Corrupt, Unavailable (no space).
    """
    from cais.build.sbom.package import docker_purl
    from cais.image.origins import Origins
    from cais.image.repack import packed

    wish = parse_compression(compression)
    images, origins = stores.images, Origins(stores.database)

    def keeps(layer: Descriptor) -> bool:
        if not images.content.exists(layer):
            return False
        if types.compression_of(layer.media_type) != "none":
            # What came compressed stays so; what was compressed here, unless another way is asked for.
            return wish is None or not images.records.was_compressed_here(layer.digest)
        return origins.is_known(layer.digest)

    def named(platform: Platform) -> list[str]:
        return [docker_purl(reference.familiar_name, reference.tag, "", str(platform))]

    return packed(images, target, wish or Compression("gzip"), keeps, named, follow)


def send(
    stores: Stores,
    registry: Registry,
    reference: Reference,
    source: Source,
    graph: Graph,
    target: Descriptor,
    progress: Progress,
    origin: Reference | None = None,
    *,
    streams: Streams | None = None,
) -> None:
    """Copies ``graph`` to where ``reference`` says, its ``target`` last, under the tag. ``origin`` is where blobs can
    be mounted from, beside what is known; ``streams`` have sent layers there a moment ago. Raises Denied,
    Unauthorized, Unavailable, Corrupt."""
    from cais.engine.copy import copy
    from cais.image.origins import Origins
    from cais.remote.registry import BlobsMissing

    origins = Origins(stores.database)
    others = (origin.repository,) if origin is not None and origin.registry == reference.registry else ()
    sent = streams.sent() if streams is not None else set()
    is_empty = streams is not None and streams.is_to_nothing
    sink = Destination(registry, reference, origins, graph, others, sent, is_empty)
    present = sink.known()

    def put(document: Descriptor, raw: bytes) -> None:
        registry.put_manifest(raw, document.media_type, reference.tag, digest=document.digest)

    try:
        copy(source, sink, target, progress, present=present, graph=graph, put_target=put)
    except BlobsMissing:
        if not present and not sent:
            raise
        # The registry has lost what it had: now it is asked for each blob.
        origins.forget(reference.registry, reference.repository)
        sink = Destination(registry, reference, origins, graph, others)
        copy(source, sink, target, progress, graph=graph, put_target=put)
    origins.note(reference.registry, reference.repository, graph.blobs)


class Destination:
    """A repository as the Sink of one push: mounts from where a blob came, asks for nothing that it can know."""

    def __init__(
        self,
        registry: Registry,
        reference: Reference,
        origins: Origins,
        graph: Graph,
        others: Sequence[str] = (),
        sent: Collection[Digest] = (),
        is_empty: bool = False,
    ) -> None:
        """``sent``: blobs that were sent while they were made. ``is_empty``: nothing else is there, as was seen."""
        self._sent = sent
        self._is_empty = is_empty
        self._registry = registry
        self._reference = reference
        self._origins = origins
        self._graph = graph
        self._others = others
        self._known: frozenset[Digest] = frozenset()

    def known(self) -> frozenset[Digest]:
        """What need not be asked for: what the tag names there now, and what was seen there before."""
        if self._is_empty:
            return frozenset()
        repository = self._reference.repository
        seen = {
            blob
            for blob in self._graph.blobs
            if repository in self._origins.repositories(self._reference.registry, blob)
        }
        unseen = [blob for blob in self._graph.blobs.values() if blob.digest not in seen]
        if seen and sum(blob.size_bytes > _SMALL_BYTES for blob in unseen) <= 1:
            # What the tag names now would answer one question at most.
            self._known = frozenset(seen)
            return self._known
        try:
            from cais.spec.manifest import decode

            document = self._registry.manifest(self._reference.tag)
            seen |= {child.digest for child in decode(document.raw, document.descriptor.media_type).children}
        except CaisError:
            pass  # nothing there yet; what is wrong is said by what is asked next
        self._known = frozenset(seen)
        return self._known

    def exists(self, blob: Descriptor) -> bool:
        if blob.digest in self._sent:
            return False  # it has just come, and was not there before
        if (self._known or self._is_empty) and blob.size_bytes <= _SMALL_BYTES and blob.digest in self._graph.blobs:
            return False
        if blob.digest in self._graph.blobs and self._elsewhere(blob):
            return False  # asking for it to be mounted costs as much as asking for it, and is all where it works
        return self._registry.exists(blob)

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        self._registry.push(blob, pieces)

    def take(self, blob: Descriptor, source: Source) -> str:
        if blob.digest in self._sent:
            return ""
        return self._registry.take(blob, source, self._elsewhere(blob))

    def _elsewhere(self, blob: Descriptor) -> list[str]:
        """The other repositories of this registry where the blob may be."""
        others = dict.fromkeys((*self._others, *self._origins.repositories(self._reference.registry, blob.digest)))
        return [name for name in others if name != self._reference.repository]


def _layers(graph: Graph) -> tuple[Descriptor, ...]:
    """Those of all images, each once."""
    from cais.spec.manifest import Manifest, decode

    found: dict[Digest, Descriptor] = {}
    for item, raw in graph.documents.values():
        document = decode(raw, item.media_type)
        if isinstance(document, Manifest):
            found.update({layer.digest: layer for layer in document.layers})
    return tuple(found.values())


def _is_image(item: Descriptor) -> bool:
    from cais.image.attestations import is_attestation

    return item.platform is not None and not is_attestation(item)
