"""Pull: an image from a registry, unpacked while it arrives.

Nothing is to be seen before all of it is here: then record and name are made in one transaction. What arrived of a pull
that did not come to its end is found by the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from cais.engine.stores import Stores
from cais.errors import CaisError, Cancelled, Denied, Invalid, NotFound, Unauthorized, Unavailable
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
    from cais.ports import Source
    from cais.remote.registry import Registry
    from cais.spec.manifest import Manifest
    from cais.spec.platform import Platform

POLICIES = ("always", "missing", "newer", "never")
_DEPTH_LIMIT = 4


class Pulled(NamedTuple):
    """``digest`` is what the name points at; ``id`` the image's. ``is_newer``: the name pointed at something else."""

    reference: Reference
    digest: Digest
    id: Digest
    is_newer: bool


class PullOptions(NamedTuple):
    """``platform``: None for this host's. ``policy``: one of POLICIES. ``referrers``: what refers to it comes, too.
    ``target``: what the name was found to point at a moment ago, so that the registry is not asked again."""

    platform: Platform | None = None
    all_platforms: bool = False
    policy: str = "always"
    referrers: bool = False
    target: Descriptor | None = None


def pull(stores: Stores, reference: Reference, options: PullOptions, progress: Progress) -> Pulled:
    """Makes ``reference`` an image that is here. Raises NotFound, Denied, Unauthorized, Corrupt, Unavailable."""
    if options.policy not in POLICIES:
        raise Invalid(f"invalid policy {options.policy!r}", hint=f"The policies are {', '.join(POLICIES)}.")
    own = stores.apart()
    try:
        return _Pull(own, reference, options, progress).run()
    finally:
        own.leases.release()


def tags_of(stores: Stores, name: Reference) -> list[Reference]:
    """All tags of a repository in its registry, for ``pull --all-tags``. Raises NotFound, Denied, Unauthorized."""
    try:
        found = sorted(stores.registries.repository(name).tags())
    except NotFound as error:
        raise NotFound(f"repository {name.familiar_name} not found: {error.message}")
    except (Denied, Unauthorized) as error:
        raise explained(error, name, "pull")
    return [Reference.parse(f"{name.name}:{tag}") for tag in found]


def pull_to_run(
    stores: Stores, name: str, platform: Platform | None, progress: Progress | None, missing: NotFound | None
) -> None:
    """Pulls what a container is to be made of. ``missing`` says why, where it was looked for here before.

    Raises as ``pull``; ``missing`` where that was about a platform, and the registry has nothing better.
    """
    from cais.spec.progress import silent

    progress = progress or silent
    try:
        reference = Reference.parse(name)
    except Invalid:
        if missing is not None:
            raise missing  # an id
        raise
    if missing is not None:
        progress({"event": "missing", "name": reference.familiar})
    try:
        pulled = pull(stores, reference, PullOptions(platform), progress)
    except (NotFound, Denied, Unauthorized, Unavailable) as error:
        if missing is None or missing.message.startswith("No such image"):
            raise
        raise NotFound(missing.message, hint=missing.hint or error.message)
    progress({"event": "pulled", "name": reference.familiar, "is_newer": pulled.is_newer})


def explained(error: CaisError, reference: Reference, doing: str) -> CaisError:
    """What a registry refused, in Docker's words."""
    if isinstance(error, NotFound) and doing == "pull":
        return NotFound(f"manifest for {reference.familiar} not found: {error.message}", hint=error.hint)
    if isinstance(error, (Denied, Unauthorized)):
        hint = (
            error.hint or f"Log in: cais login{'' if reference.registry == 'docker.io' else ' ' + reference.registry}"
        )
        if doing == "pull":
            return type(error)(
                f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
                f"'cais login': {error.message}",
                hint=hint,
            )
        return type(error)(error.message, hint=hint)
    return error


def resolved(stores: Stores, reference: Reference, known: Descriptor | None = None) -> tuple[Registry, Descriptor]:
    """The repository of a name, and what the name points at there (``known``: it was asked for).

    Raises NotFound, Denied, ... in Docker's words.
    """
    try:
        registry = stores.registries.repository(reference)
        return registry, known or registry.resolve(reference.digest or reference.tag)
    except (NotFound, Denied, Unauthorized) as error:
        raise explained(error, reference, "pull")


def chosen(source: Source, target: Descriptor, platform: Platform, depth: int = 0) -> list[Descriptor]:
    """What of an index is for ``platform``: the manifest, below the indexes that lead to it. Raises NotFound."""
    from cais.engine.copy import read_document
    from cais.spec.manifest import Index

    if target.media_type not in types.INDEXES:
        return [target]
    item = Index.decode(read_document(source, target), target.media_type).choose(platform)
    if item is None or depth >= _DEPTH_LIMIT:
        raise NotFound(f"no matching manifest for {platform} in the manifest list entries")
    return [target, *chosen(source, item, platform, depth + 1)]


class _Pull:
    """One name."""

    def __init__(self, stores: Stores, reference: Reference, options: PullOptions, progress: Progress) -> None:
        self._stores = stores
        self._images = stores.images
        # With a digest a tag says nothing more.
        self._reference = reference._replace(tag="") if reference.digest is not None else reference
        self._options = options
        self._progress = progress

    def run(self) -> Pulled:
        known = self._known()
        if self._options.policy == "never" or (self._options.policy == "missing" and known is not None):
            if known is None:
                raise NotFound(f"No such image: {self._reference.familiar}")
            return known
        try:
            registry, target = resolved(self._stores, self._reference, self._options.target)
        except Unavailable:
            if self._options.policy == "newer" and known is not None:
                return known
            raise
        tag = self._reference.tag or self._reference.digest
        self._progress({"event": "pulling", "tag": tag, "repository": self._reference.repository})
        if known is not None and known.digest == target.digest and not self._options.all_platforms:
            self._fetch_referrers(registry, target)
            self._progress({"event": "digest", "digest": target.digest})
            return known
        before = self._target_before()
        received = self._fetch(registry, target)
        self._fetch_referrers(registry, target)
        record = self._images.register(target, [self._reference])
        self._progress({"event": "digest", "digest": target.digest})
        name = self._reference.familiar
        self._stores.events.write("image", "pull", name, {"name": self._reference.familiar_name})
        return Pulled(self._reference, target.digest, record.id, received or before != target.digest)

    def _known(self) -> Pulled | None:
        """What the name points at, where that is here as a whole for the platform."""
        from cais.image.repack import is_whole

        try:
            image = self._images.get(str(self._reference), self._wished)
        except (NotFound, Invalid):
            return None
        descriptor = image.manifest.descriptor
        if not self._wished.matches(image.config.platform) and image.target.media_type in types.INDEXES:
            return None
        return Pulled(self._reference, image.digest, image.id, False) if is_whole(self._images, descriptor) else None

    @property
    def _wished(self) -> Platform:
        return self._options.platform or self._images.platform

    def _target_before(self) -> Digest | None:
        try:
            return self._images.tags.resolve(self._reference).digest
        except NotFound:
            return None

    def _fetch(self, registry: Registry, target: Descriptor) -> bool:
        """Whether any layer had to be fetched."""
        from cais.engine.copy import copy, read_graph
        from cais.image.origins import Origins

        # An ordinary user's process enters its user namespace while it has one thread.
        self._stores.snapshots.reach()
        wanted = {item.digest for item in chosen(registry, target, self._wished)}
        everything = self._options.all_platforms
        graph = read_graph(registry, target, lambda item: everything or item.digest in wanted)
        manifest = self._manifest(graph, wanted)
        layers = Layers(self._progress, manifest.layers)
        unpacking = Unpacking(self._stores, manifest, layers)
        with unpacking:
            copy(registry, unpacking.receiver, target, layers, graph=graph, stored=unpacking.stored)
            unpacking.finish()
        if target.media_type not in types.INDEXES:
            self._check_platform(manifest)
        Origins(self._stores.database).note(self._reference.registry, self._reference.repository, graph.blobs)
        return layers.received

    def _fetch_referrers(self, registry: Registry, target: Descriptor) -> None:
        """To the index, and to the images of it that are here."""
        if not self._options.referrers:
            return
        from cais.content.kept import Receiver
        from cais.engine.referrers import copy_referrers, keep_here, of_registry

        content = self._stores.content
        subjects = {target.digest, *(item.digest for item in self._images.manifests_of(target))}
        copy_referrers(of_registry(registry), registry, Receiver(content), subjects, keep_here(content))

    @staticmethod
    def _manifest(graph: Graph, wanted: set[Digest]) -> Manifest:
        from cais.spec.manifest import Index, decode

        for item, raw in graph.documents.values():
            document = decode(raw, item.media_type)
            if item.digest in wanted and not isinstance(document, Index):
                if document.config.media_type not in types.CONFIGS:
                    raise Invalid(
                        f"{item.digest} is no image: its config has the media type "
                        f"{document.config.media_type[:200]!r}",
                        hint="Artifacts can be copied: cais image copy docker://... oci:DIRECTORY",
                    )
                return document
        raise NotFound("the index names no image")

    def _check_platform(self, manifest: Manifest) -> None:
        """Of an image without an index: who asked for another platform than it is for is told so."""
        asked = self._options.platform
        if asked is None:
            return
        found = self._images.read_manifest(manifest.descriptor)[1].platform
        if not asked.matches(found):
            raise NotFound(
                f"image with reference {self._reference.familiar} was found but does not match the specified "
                f"platform: wanted {asked}, actual: {found}"
            )


class Layers:
    """A Progress: what ``copy`` tells of blobs, as events about layers (``cais.cli.progress_transfer``).

    ``unpacks``: what is here already may still have to be unpacked, and whoever does that says so.
    """

    def __init__(self, progress: Progress, layers: tuple[Descriptor, ...] | None, unpacks: bool = True) -> None:
        self._progress = progress
        self._shown = None if layers is None else {layer.digest: layer.size_bytes for layer in layers}
        self._unpacks = unpacks
        self.existing: set[Digest] = set()  # that were here before
        self.received = False  # whether any came

    def __call__(self, event: dict[str, object]) -> None:
        digest = event.get("digest") or event.get("what")
        if not isinstance(digest, Digest) or (self._shown is not None and digest not in self._shown):
            return
        if event["event"] == "status":
            self.tell(digest, "moving", event["current"], event["total"])
        elif event["event"] == "blob":
            state = str(event["state"])
            word = {"planned": "waiting", "received": "arrived", "exists": "exists", "mounted": "mounted"}[state]
            if word == "exists":
                self.existing.add(digest)
                if self._unpacks:
                    return
            self.received = self.received or word == "arrived"
            self.tell(digest, word, repository=event.get("repository", ""))

    def tell(self, digest: Digest, state: str, current: object = 0, total: object = 0, **more: object) -> None:
        event = {"event": "layer", "id": digest.short, "state": state, **more}
        if total:
            event.update(current=current, total=total)
        self._progress(event)


class Unpacking:
    """Unpacks the layers of one image in their order, in a thread, each while its blob arrives in ``receiver``."""

    def __init__(self, stores: Stores, manifest: Manifest, layers: Layers) -> None:
        from cais.content.kept import Receiver

        self.receiver = Receiver(stores.content, self._begun)
        self._stores = stores
        self._manifest = manifest
        self._layers = layers
        self._here: set[Digest] = set()
        self._coming: set[Digest] = set()
        self._condition = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="unpack", daemon=True)

    def __enter__(self) -> Unpacking:
        self._thread.start()
        return self

    def _begun(self, blob: Descriptor) -> None:
        with self._condition:
            self._coming.add(blob.digest)
            self._condition.notify_all()

    def stored(self, blob: Descriptor) -> None:
        """A blob is here. Raises what has failed since: what is left need not come then."""
        with self._condition:
            self._here.add(blob.digest)
            self._condition.notify_all()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits for the last layer. Raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        with self._condition:
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._unpack_all()
        except BaseException as error:
            self._error = error

    def _unpack_all(self) -> None:
        from cais.image.layers import check_layer, plain_tar
        from cais.spec.image_config import chain_ids

        content, snapshots = self._stores.content, self._stores.snapshots
        self._wait(self._manifest.config)
        config = self._stores.images.read_config(self._manifest)
        parent: Digest | None = None
        for layer, diff_id, chain in zip(
            self._manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True
        ):
            comes = not (layer.extra or {}).get("urls")
            if comes:
                self._wait(layer, whole=False)
            if snapshots.hold(chain):
                if comes:
                    self._wait(layer)
                self._layers.tell(layer.digest, "exists" if layer.digest in self._layers.existing else "done")
            else:
                snapshots.unpack(parent, diff_id, plain_tar(_Watched(self.receiver, self._told), layer))
                self._wait(layer)
                check_layer(content, layer, diff_id)
                self._layers.tell(layer.digest, "done")
            parent = chain

    def _told(self, layer: Descriptor, done: int) -> None:
        if self._stopped:
            raise Cancelled("stopped")
        if layer.digest in self._here:
            self._layers.tell(layer.digest, "unpacking", done, layer.size_bytes)

    def _wait(self, blob: Descriptor, *, whole: bool = True) -> None:
        with self._condition:
            while blob.digest not in self._here and (whole or blob.digest not in self._coming):
                if self._stopped:
                    raise Cancelled("stopped")
                self._condition.wait()


class _Watched:
    """A Source that tells how much of a blob was read."""

    def __init__(self, source: Source, tell: Callable[[Descriptor, int], None]) -> None:
        self._source = source
        self._tell = tell

    def exists(self, blob: Descriptor) -> bool:
        return self._source.exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        done = offset
        for piece in self._source.fetch(blob, offset):
            self._tell(blob, done)
            done += len(piece)
            yield piece
