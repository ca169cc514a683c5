"""Image copy: one image from any place to any other (``cais.engine.places``), as it is.

Nothing is unpacked, and digests stay what they are, but where a part of an index is asked for, or where layers that
live as directories here go to a registry.
"""

from __future__ import annotations

from cais.engine.arriving import Layers
from cais.engine.copy import copy, read_document, read_graph
from cais.engine.image_events import tell
from cais.engine.places import Place
from cais.engine.pull import chosen, explained, resolved
from cais.engine.referrers import copy_referrers, copy_signature_tags, keep_here, of_content, of_index, of_registry
from cais.engine.stores import Stores
from cais.errors import CaisError, Denied, Invalid, NotFound, Unauthorized
from cais.image.layers import LayerSource
from cais.image.layout_directory import LayoutDirectory
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.manifest import Index, Manifest, decode
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cais.engine.copy import Graph
    from cais.engine.referrers import Kept, Referrers
    from cais.ports import Sink, Source, Taker
    from cais.spec.platform import Platform

_NAME_ANNOTATION = "org.opencontainers.image.ref.name"


class CopyOptions(NamedTuple):
    """``platform``: this one's image alone. ``all_platforms``: also where one is usual (this root directory).

    ``referrers``: what refers to the image goes along. ``format``: ``oci`` or ``docker`` media types; "" is OCI's for
    layouts and archives of them, where neither referrers nor ``preserve_digests`` ask for the digests to stay, and
    otherwise what it has.
    """

    platform: Platform | None = None
    all_platforms: bool = False
    referrers: bool = False
    format: str = ""
    preserve_digests: bool = False


class _From(NamedTuple):
    """``is_here``: its blobs are in the content store, where layers can be packed. ``repository``: at a registry.

    ``find`` gives referrers.
    """

    source: Source
    target: Descriptor
    find: Referrers
    is_here: bool = False
    repository: Reference | None = None


def copy_image(stores: Stores, source: str, target: str, options: CopyOptions, progress: Progress) -> Descriptor:
    """Copies an image; returns what the target names now. Raises Invalid, NotFound, Corrupt, Denied, Unavailable."""
    own = stores.apart()
    try:
        return _Copy(own, Place.parse(source), Place.parse(target), options, progress).run()
    finally:
        own.leases.release()


class _Copy:
    def __init__(self, stores: Stores, source: Place, target: Place, options: CopyOptions, progress: Progress) -> None:
        self._stores = stores
        self._source = source
        self._target = target
        self._options = options
        self._progress = progress
        self._layers = Layers(progress, None, unpacks=False)

    def run(self) -> Descriptor:
        if self._target.kind == "oci":
            LayoutDirectory(self._target.path).check()
        if self._target.kind == "docker-archive" and (self._options.all_platforms or self._options.referrers):
            raise Invalid("a docker-archive holds the image of one platform alone", hint="An oci-archive holds all.")
        opened = self._opened()
        wanted: Callable[[Descriptor], bool] | None = None
        if self._options.platform is not None:
            opened = opened._replace(target=self._of_platform(opened, self._options.platform))
        elif self._target.kind == "docker-archive":
            opened = opened._replace(target=self._of_platform(opened, self._stores.platform))
        elif opened.is_here:
            opened = opened._replace(target=self._available(opened.target))
        elif self._target.kind == "cais" and not self._options.all_platforms and not self._options.format:
            own = {item.digest for item in chosen(opened.source, opened.target, self._stores.platform)}
            wanted = lambda item: item.digest in own  # noqa: E731
        if self._target.kind == "docker" and opened.is_here:
            opened = opened._replace(target=self._packed(opened.target))
        graph = read_graph(opened.source, opened.target, wanted or (lambda item: True))
        opened, graph = self._formatted(opened, graph)
        put = {
            "docker": self._to_registry,
            "oci": self._to_layout,
            "oci-archive": self._to_archive,
            "docker-archive": self._to_archive,
            "cais": self._to_here,
        }[self._target.kind]
        put(opened, graph)
        return opened.target

    # Sources

    def _opened(self) -> _From:
        place = self._source
        if place.kind == "docker":
            reference = place.reference
            registry, target = resolved(self._stores, reference)
            return _From(registry, target, of_registry(registry), repository=reference)
        if place.kind == "oci":
            layout = LayoutDirectory(place.path)
            return _From(layout, layout.find(place.name), of_index(layout.index, layout))
        self._stores.snapshots.reach()
        source = LayerSource(self._stores.content, self._stores.snapshots)
        if place.kind == "cais":
            return _From(source, self._stores.images.get(place.name).target, of_content(self._stores.content), True)
        target, index = self._from_archive()
        return _From(source, target, of_index(lambda: index, source), True)

    def _from_archive(self) -> tuple[Descriptor, Index]:
        """What is in an archive is in the store afterwards, for as long as this process needs it."""
        from cais.image.archive import Archive, pieces_of
        from cais.image.load import found_in

        archive = Archive(self._stores.content, lambda event: None)
        archive.read(pieces_of(self._source.path))
        found = found_in(self._stores.images, archive)
        wanted = self._source.name
        if wanted:
            fitting = [item for item in found if any(_is_called(name, wanted) for name in item.names)]
            fitting += [item for item in found if (item.target.annotations or {}).get(_NAME_ANNOTATION) == wanted]
        else:
            fitting = found
        if not fitting or (not wanted and len(found) > 1):
            names = sorted({name.familiar for item in found for name in item.names})
            problem = f"has no image {wanted!r}" if wanted else f"has {len(found)} images: say which one"
            raise NotFound(
                f"the archive {self._source.path} {problem}", hint=f"Its images are: {', '.join(names[:20])}."
            )
        index = Index.decode(archive.documents.get("index.json") or Index.encode(()).raw)
        return fitting[0].target._replace(annotations=None), index

    # Which part of it

    def _of_platform(self, opened: _From, platform: Platform) -> Descriptor:
        found = chosen(opened.source, opened.target, platform)[-1]
        if found.digest == opened.target.digest and self._options.platform is not None:
            self._check_platform(opened, found)
        return found._replace(annotations=None, platform=None)

    def _check_platform(self, opened: _From, item: Descriptor) -> None:
        """Of an image without an index."""
        from cais.engine.build_pull import read_config

        manifest = decode(read_document(opened.source, item), item.media_type)
        if not isinstance(manifest, Manifest) or manifest.config.media_type not in types.CONFIGS:
            raise Invalid(f"{item.digest} is no image, and for no platform")
        found = read_config(opened.source, manifest).platform
        if self._options.platform is not None and not self._options.platform.matches(found):
            raise NotFound(f"{self._source} is for {found}, not for {self._options.platform}")

    def _available(self, target: Descriptor) -> Descriptor:
        from cais.image.repack import is_whole, present_part

        if target.media_type not in types.INDEXES or is_whole(self._stores.images, target):
            return target
        return present_part(self._stores.images, target)

    def _packed(self, target: Descriptor) -> Descriptor:
        from cais.engine.push import packed_for

        return packed_for(self._stores, self._target.reference, target, "")

    def _formatted(self, opened: _From, graph: Graph) -> tuple[_From, Graph]:
        options = self._options
        keeps = options.preserve_digests or options.referrers
        if options.format and keeps:
            raise Invalid("another format has other digests: they cannot be preserved, nor what refers to them kept")
        format = options.format or ("oci" if self._target.kind in ("oci", "oci-archive") and not keeps else "")
        if not format:
            return opened, graph
        from cais.image.formats import in_format

        target, documents = in_format(format, opened.target, graph.documents)
        return opened._replace(target=target), graph._replace(documents=documents)

    # Targets

    def _to_registry(self, opened: _From, graph: Graph) -> None:
        from cais.engine.push import send
        from cais.remote.registry import Registry

        reference = self._target.reference
        if reference.digest is not None and reference.digest != opened.target.digest:
            raise Invalid(f"the image is {opened.target.digest}, and cannot be named {reference.familiar}")
        registry = self._stores.registries.repository(reference, pushing=True)
        try:
            send(
                self._stores, registry, reference, opened.source, graph, opened.target, self._layers, opened.repository
            )
            self._along(opened, graph, registry)
            if self._options.referrers and isinstance(opened.source, Registry):
                copy_signature_tags(opened.source, registry, graph.documents)
        except (Denied, Unauthorized) as error:
            raise explained(self._stores, error, reference, "push")

    def _to_layout(self, opened: _From, graph: Graph) -> None:
        layout = LayoutDirectory(self._target.path)
        copy(opened.source, layout, opened.target, self._layers, graph=graph)
        layout.add([_named(opened.target, self._target.name), *self._along(opened, graph, layout)])

    def _to_archive(self, opened: _From, graph: Graph) -> None:
        from cais.image.archive_writer import ArchiveWriter

        manifests: list[tuple[Manifest, list[str]]] = []
        name = self._target.name
        if self._target.kind == "docker-archive":
            names = [Reference.parse(name).familiar] if name else []
            raw = graph.documents[opened.target.digest][1]
            manifests = [(Manifest.decode(raw, opened.target.media_type), names)]
            name = str(Reference.parse(name)) if name else ""
        with ArchiveWriter(self._target.path) as archive:
            # One blob after the other: there is only one place to write to.
            copy(opened.source, archive, opened.target, self._layers, graph=graph, jobs=1)
            archive.finish([_named(opened.target, name), *self._along(opened, graph, archive)], manifests)

    def _to_here(self, opened: _From, graph: Graph) -> None:
        reference = self._target.reference
        if reference.digest is not None:
            raise Invalid("refusing to create a tag with a digest reference")
        from cais.content.kept import Receiver

        content = self._stores.content
        if not opened.is_here or not content.exists(opened.target):
            copy(opened.source, Receiver(content), opened.target, self._layers, graph=graph)
            if opened.repository is not None:
                from cais.image.origins import Origins

                origin = opened.repository
                Origins(self._stores.database).note(origin.registry, origin.repository, graph.blobs)
        record = self._stores.images.register(opened.target, [reference])
        self._along(opened, graph, Receiver(content), keep_here(content))
        tell(self._stores, "load", record.id, reference.familiar, record.labels)

    def _along(self, opened: _From, graph: Graph, sink: Sink | Taker, kept: Kept | None = None) -> Sequence[Descriptor]:
        """The referrers that are at the sink now, where they are wanted."""
        if not self._options.referrers:
            return ()
        return copy_referrers(opened.find, opened.source, sink, graph.documents, kept)


def _is_called(name: Reference, wanted: str) -> bool:
    try:
        return name == Reference.parse(wanted)
    except CaisError:
        return False


def _named(target: Descriptor, name: str) -> Descriptor:
    """The entry of a layout's index."""
    annotations = {_NAME_ANNOTATION: name} if name else None
    return Descriptor(target.media_type, target.digest, target.size_bytes, annotations)
