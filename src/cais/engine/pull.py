"""Pull: an image from a registry, unpacked while it arrives.

Nothing is to be seen before all of it is here: then record and name are made in one transaction. What arrived of a pull
that did not come to its end is found by the next one.
"""

from __future__ import annotations

from cais.engine.arriving import Layers, Unpacking
from cais.engine.stores import Stores
from cais.errors import CaisError, Corrupt, Denied, Invalid, NotFound, Unauthorized, Unavailable, Unsupported
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine.copy import Graph
    from cais.ports import Source
    from cais.remote.registry import Registry
    from cais.spec.manifest import Manifest
    from cais.spec.platform import Platform

POLICIES = ("always", "missing", "newer", "never")
_DEPTH_LIMIT = 4


class NoMatch(NotFound):
    """An index has no image for the platform."""


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
    """All tags of a repository in its registry. Raises NotFound, Denied, Unauthorized."""
    try:
        found = sorted(stores.registries.repository(name).tags())
    except NotFound as error:
        raise NotFound(f"repository {name.familiar_name} not found: {error.message}")
    except (Denied, Unauthorized) as error:
        raise explained(stores, error, name, "pull")
    return [Reference.parse(f"{name.name}:{tag}") for tag in found]


def pull_all(stores: Stores, name: Reference, options: PullOptions, progress: Progress) -> list[Pulled]:
    """Every tag of a repository, but for what stands under a tag made of an image's digest (signatures, referrers),
    and for what there is not for the platform. Raises as ``pull``; NotFound where nothing is left."""
    pulled: list[Pulled] = []
    problem: NotFound | None = None
    for reference in tags_of(stores, name):
        if _is_about_another(reference.tag):
            continue
        try:
            pulled.append(pull(stores, reference, options, progress))
        except NoMatch as error:
            problem = error
            progress({"event": "note", "text": f"{reference.tag}: {error.message}"})
    if not pulled:
        raise problem or NotFound(f"repository {name.familiar_name} has no images")
    return pulled


def _is_about_another(tag: str) -> bool:
    """Whether a tag is ``sha256-<hex>``, with or without a suffix."""
    algorithm, _, rest = tag.partition("-")
    digits = rest.partition(".")[0]
    return algorithm in ("sha256", "sha512") and len(digits) == 64 and not set(digits) - set("0123456789abcdef")


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


def explained(stores: Stores, error: CaisError, reference: Reference, doing: str) -> CaisError:
    """What a registry refused, in Docker's words."""
    from cais.remote.routes import Blocked

    if isinstance(error, NotFound) and doing == "pull":
        return NotFound(f"manifest for {reference.familiar} not found: {error.message}", hint=error.hint)
    if isinstance(error, (Denied, Unauthorized)) and not isinstance(error, Blocked):
        hint = error.hint or _how_to_log_in(stores, reference.registry)
        if doing == "pull":
            return type(error)(
                f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
                f"'cais login': {error.message}",
                hint=hint,
            )
        return type(error)(error.message, hint=hint)
    return error


def _how_to_log_in(stores: Stores, registry: str) -> str:
    command = f"cais login{'' if registry == 'docker.io' else ' ' + registry}"
    user = stores.registries.user(registry)
    return f"You are logged in as {user}. As somebody else: {command}" if user else f"Log in: {command}"


def resolved(stores: Stores, reference: Reference, known: Descriptor | None = None) -> tuple[Registry, Descriptor]:
    """The repository of a name, and what the name points at there (``known``: it was asked for).

    Raises NotFound, Denied, ... in Docker's words.
    """
    try:
        registry = stores.registries.repository(reference)
        return registry, known or registry.resolve(reference.digest or reference.tag)
    except (NotFound, Denied, Unauthorized) as error:
        raise explained(stores, error, reference, "pull")


def chosen(source: Source, target: Descriptor, platform: Platform, depth: int = 0) -> list[Descriptor]:
    """What of an index is for ``platform``: the manifest, below the indexes that lead to it. Raises NotFound."""
    from cais.engine.copy import read_document
    from cais.spec.manifest import Index

    if target.media_type not in types.INDEXES:
        return [target]
    item = Index.decode(read_document(source, target), target.media_type).choose(platform)
    if item is None or depth >= _DEPTH_LIMIT:
        raise NoMatch(f"no matching manifest for {platform} in the manifest list entries")
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
        except (NotFound, Invalid, Corrupt):
            return None
        descriptor = image.manifest.descriptor
        if not self._wished.matches(image.config.platform) and image.target.media_type in types.INDEXES:
            return None
        content = self._images.content
        blobs = (child for child in image.manifest.children if content.exists(child))
        if not (is_whole(self._images, descriptor) and all(content.is_sound(blob.digest) for blob in blobs)):
            return None
        return Pulled(self._reference, image.digest, image.id, False)

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

        def receive(unpacking: Unpacking) -> None:
            with unpacking:
                copy(registry, unpacking.receiver, target, layers, graph=graph, stored=unpacking.stored)
                unpacking.finish()

        unpacking = Unpacking(self._stores, manifest, layers)
        try:
            receive(unpacking)
        except (Corrupt, Invalid, NotFound, Unsupported):
            if not unpacking.receiver.found_any:
                raise
            # It may be that what was here before is what is wrong, though it does not look so.
            receive(Unpacking(self._stores, manifest, layers, thorough=True))
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
                document.algorithm = item.digest.algorithm
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
