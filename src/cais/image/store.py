"""Images by name and id: what the rest of Cais asks when it is given a string that should be an image."""

from __future__ import annotations

from cais.errors import Corrupt, Invalid, NotFound
from cais.image.layers import ensure_unpacked, unpacked_size
from cais.image.records import ImageRecord, ImageRecords
from cais.spec import media_types as types
from cais.spec import timestamp
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.image_config import ImageConfig, chain_ids
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    from cais.content.store import ContentStore
    from cais.content.tags import TagStore
    from cais.host.database import Database
    from cais.snapshot.store import SnapshotStore

    class Rooms(Protocol):
        """What images are composed of. Each is made when it is first asked for, so that a command loads little."""

        @property
        def database(self) -> Database: ...
        @property
        def content(self) -> ContentStore: ...
        @property
        def tags(self) -> TagStore: ...
        @property
        def snapshots(self) -> SnapshotStore: ...


_HEX_DIGITS = frozenset("0123456789abcdef")
INDEX_DEPTH_LIMIT = 4


class Image(NamedTuple):
    """``id`` is the config's digest; ``target`` is what the names point at: ``manifest`` or an index around it."""

    id: Digest
    target: Descriptor
    manifest: Manifest
    config: ImageConfig
    names: tuple[Reference, ...]

    @property
    def digest(self) -> Digest:
        """The repository digest."""
        return self.target.digest

    @property
    def chain(self) -> Digest | None:
        """The chain id of all layers; None without layers."""
        chains = chain_ids(self.config.diff_ids)
        return chains[-1] if chains else None


class Images:
    """Resolves, registers and tags images. ``platform`` is what this host runs."""

    def __init__(self, rooms: Rooms, platform: Platform) -> None:
        self._rooms = rooms
        self.platform = platform
        self.records = ImageRecords(rooms.database)

    @property
    def database(self) -> Database:
        return self._rooms.database

    @property
    def content(self) -> ContentStore:
        return self._rooms.content

    @property
    def tags(self) -> TagStore:
        return self._rooms.tags

    @property
    def snapshots(self) -> SnapshotStore:
        return self._rooms.snapshots

    def resolve(self, name_or_id: str) -> ImageRecord:
        """A name, ``name@digest``, a full or short id, or the digest of a manifest. Raises NotFound, Invalid.

        A name wins over a short id, as in Docker.
        """
        id = _id_prefix(name_or_id)
        full = len(id) == 71
        reference: Reference | None = None
        if not full:
            try:
                reference = Reference.parse(name_or_id)
            except Invalid:
                if not id:
                    raise
        if reference is not None:
            record = self._named(reference, required=not id)
            if record is not None:
                return record
        if full and (record := self.records.by_target(Digest(id))) is not None:
            return record
        ids = self.records.ids_from(id)
        if not ids:
            raise NotFound(f"No such image: {reference.familiar if reference is not None else name_or_id}")
        if len(ids) > 1:
            raise Invalid(f"multiple IDs found with provided prefix: {name_or_id}")
        return self.of_id(ids[0])

    def _named(self, reference: Reference, *, required: bool) -> ImageRecord | None:
        try:
            target = self.tags.resolve(reference)
            record = self.records.by_target(target.digest)
            # A name and its record come and go together; between the two reads they may have gone.
            if record is None and self.tags.resolve(reference).digest == target.digest:
                raise Corrupt(
                    f"the name {reference.familiar} points at {target.digest}, which is no recorded image",
                    hint="Run: cais system check --repair",
                )
        except NotFound:
            if required:
                raise
            return None
        return record if record is not None else self._named(reference, required=required)

    def of_id(self, id: Digest) -> ImageRecord:
        """Of several targets with one config: one that has a name, else the last recorded. Raises NotFound."""
        records = self.records.by_id(id)
        if not records:
            raise NotFound(f"No such image: {id}")
        for record in records:
            if self.tags.names_of(record.target.digest):
                return record
        return records[0]

    def get(self, name_or_id: str, platform: Platform | None = None, *, hold: bool = True) -> Image:
        """The image, read and verified. With ``platform``, that one of an index. Raises NotFound, Invalid, Corrupt.

        ``hold``: nothing of it is collected while this process lives, whoever removes it.
        """
        record = self.resolve(name_or_id)
        if hold:
            self.content.hold((record.target.digest,))
            if self.records.by_target(record.target.digest) is None:
                raise NotFound(f"No such image: {name_or_id}")  # removed a moment ago
        if platform is not None and not platform.matches(Platform.parse(record.platform)):
            found = self._of_platform(record.target, platform)
            if found is None:
                raise NotFound(
                    f"image with reference {name_or_id} was found but does not provide the specified platform "
                    f"({platform})"
                )
            manifest, config = found
            return Image(config.digest, record.target, manifest, config, self.names(record.id))
        return self.read(record)

    def read(self, record: ImageRecord) -> Image:
        """The documents of a record. Raises NotFound, Corrupt when the store is damaged."""
        manifest, config = self.read_manifest(record.manifest)
        return Image(record.id, record.target, manifest, config, self.names(record.id))

    def configs(self, record: ImageRecord) -> list[ImageConfig]:
        """The configs of all images behind a record, in the index's order: its platforms."""
        found = []
        for item in self.manifests_of(record.target):
            try:
                found.append(self.read_manifest(item)[1])
            except Invalid:
                continue  # an attestation beside the images
        return found

    def of_target(self, target: Descriptor, platform: Platform) -> Image:
        """An image that is stored and need not be recorded. Raises NotFound where it is not for ``platform``."""
        found = self._of_platform(target, platform)
        if found is None:
            raise NotFound(f"the image {target.digest} does not provide the specified platform ({platform})")
        manifest, config = found
        return Image(config.digest, target, manifest, config, ())

    def names(self, id: Digest) -> tuple[Reference, ...]:
        """All names of the image, whichever of its targets they point at, ordered."""
        names: list[Reference] = []
        for record in self.records.by_id(id):
            names += self.tags.names_of(record.target.digest)
        return tuple(sorted(names))

    def read_manifest(self, descriptor: Descriptor) -> tuple[Manifest, ImageConfig]:
        """A manifest and its config, verified against their digests. Raises NotFound, Corrupt, Invalid."""
        raw = self.content.read(descriptor.digest, types.MANIFEST_LIMIT_BYTES)
        manifest = Manifest.decode(raw, descriptor.media_type)
        manifest.algorithm = descriptor.digest.algorithm
        return manifest, self.read_config(manifest)

    def read_config(self, manifest: Manifest) -> ImageConfig:
        """Of a manifest that need not be here. Raises NotFound, Corrupt, Invalid (it is no image's)."""
        descriptor = manifest.descriptor
        if manifest.config.media_type not in types.CONFIGS:
            raise Invalid(
                f"the manifest {descriptor.digest} is no image: its config has the media type "
                f"{manifest.config.media_type[:200]!r}"
            )
        raw = self.content.read(manifest.config.digest, types.CONFIG_LIMIT_BYTES)
        if len(raw) != manifest.config.size_bytes:
            raise Corrupt(
                f"the manifest {descriptor.digest} says that its config has {manifest.config.size_bytes} bytes; "
                f"it has {len(raw)}"
            )
        config = ImageConfig.decode(raw, manifest.config.media_type)
        if len(config.diff_ids) != len(manifest.layers):
            raise Invalid(
                f"the manifest {descriptor.digest} has {len(manifest.layers)} layers, its config "
                f"{len(config.diff_ids)} diff_ids"
            )
        return config

    def register(self, target: Descriptor, names: Sequence[Reference] = (), *, now: float | None = None) -> ImageRecord:
        """Makes what is in the store an image: its edges, its row, its names, in this order; all or nothing to see.

        Every layer must be there as a blob or a snapshot. Raises NotFound, Invalid, Corrupt.
        """
        import time

        now = time.time() if now is None else now
        if target.media_type not in types.INDEXES and (known := self._name_again(target, names, now)) is not None:
            return known
        manifest, config, descriptor = self._choose(target)
        chains = chain_ids(config.diff_ids)
        self._link(target)
        size_bytes, exact = self.layer_sizes(manifest.layers, config.diff_ids)
        labels = config.run.get("Labels")
        record = ImageRecord(
            Descriptor(target.media_type, target.digest, target.size_bytes),
            config.digest,
            Descriptor(descriptor.media_type, descriptor.digest, descriptor.size_bytes),
            chains[-1] if chains else "",
            timestamp.parse(config.created),
            config.created,
            size_bytes,
            exact,
            encode(labels).decode("utf-8", "replace") if labels else "",
            str(config.platform),
            now,
        )
        with self.database.transaction() as change:
            self.records.put(change, record)
            for name in names:
                self.tags.tag_within(change, name, record.target)
        return record

    def _name_again(self, target: Descriptor, names: Sequence[Reference], now: float) -> ImageRecord | None:
        """Names a manifest that is recorded already: nothing has to be read for that. None when it is not recorded."""
        with self.database.transaction() as change:
            record = self.records.by_target(target.digest)
            if record is not None:
                record = record._replace(recorded=now)
                self.records.put(change, record)
                for name in names:
                    self.tags.tag_within(change, name, record.target)
        return record

    def tag(self, source: str, target: str) -> None:
        """Gives an image another name. Raises NotFound, Invalid."""
        try:
            reference = Reference.parse(target)
        except Invalid as error:
            raise Invalid(f'Error parsing reference: "{target[:300]}" is not a valid repository/tag: {error.message}')
        if reference.digest is not None:
            raise Invalid("refusing to create a tag with a digest reference")
        if reference.familiar_name == "sha256":
            raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
        record = self.resolve(source)
        if self._name_again(record.target, [reference], record.recorded) is None:
            raise NotFound(f"No such image: {source}")  # removed a moment ago

    def ensure_unpacked(self, image: Image) -> Digest | None:
        """``layers.ensure_unpacked``; afterwards the image's size is exact."""
        chain = ensure_unpacked(self.content, self.snapshots, image.config, image.manifest)
        record = self.records.by_target(image.digest)
        if record is not None and not record.size_is_exact and record.id == image.id:
            size_bytes, exact = self.layer_sizes(image.manifest.layers, image.config.diff_ids)
            if exact:
                self.records.set_size(image.id, size_bytes)
        return chain

    def ensure_kept(self, image: Image) -> Digest | None:
        """``layers.ensure_kept``."""
        from cais.image.layers import ensure_kept

        return ensure_kept(self, image.config, image.manifest)

    def layer_sizes(self, layers: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> tuple[int, bool]:
        """``layers.unpacked_size``: bytes of plain tar, and whether that is exact."""
        return unpacked_size(self, layers, diff_ids)

    @property
    def driver_name(self) -> str:
        """How snapshots are kept."""
        return self.snapshots.driver.name

    def manifests_of(self, target: Descriptor, depth: int = 0) -> Sequence[Descriptor]:
        """The manifests behind ``target`` that are in the store: itself, or those of the index, in its order."""
        if target.media_type not in types.INDEXES:
            return [target]
        if depth >= INDEX_DEPTH_LIMIT:
            raise Invalid(f"the index {target.digest} is nested more than {INDEX_DEPTH_LIMIT} levels deep")
        found: list[Descriptor] = []
        for item in self._index(target).manifests:
            if self.content.exists(item):
                found += self.manifests_of(item, depth + 1)
        return found

    def _index(self, descriptor: Descriptor) -> Index:
        return Index.decode(self.content.read(descriptor.digest, types.MANIFEST_LIMIT_BYTES), descriptor.media_type)

    def _of_platform(self, target: Descriptor, platform: Platform) -> tuple[Manifest, ImageConfig] | None:
        candidates = self.manifests_of(target)
        for exact in (True, False):
            for item in candidates:
                if item.platform is not None and not platform.matches(item.platform):
                    continue
                try:
                    manifest, config = self.read_manifest(item)
                except Invalid:
                    continue  # an attestation beside the images
                if config.platform == platform if exact else platform.matches(config.platform):
                    return manifest, config
        return None

    def _choose(self, target: Descriptor) -> tuple[Manifest, ImageConfig, Descriptor]:
        """The manifest that this host runs: of its platform, else the first that is an image."""
        if target.media_type in types.INDEXES:
            found = self._of_platform(target, self.platform)
            if found is not None:
                return (*found, found[0].descriptor)
            problem: Invalid | None = None
            for item in self.manifests_of(target):
                try:
                    return (*self.read_manifest(item), item)
                except Invalid as error:
                    problem = error
            raise problem or NotFound(f"the index {target.digest} names no manifest that is there")
        return (*self.read_manifest(target), target)

    def _link(self, target: Descriptor) -> None:
        """Edges for the collector: index -> manifests -> config and layer blobs; config -> its chain of snapshots."""
        for item in self.manifests_of(target):
            raw = self.content.read(item.digest, types.MANIFEST_LIMIT_BYTES)
            manifest = Manifest.decode(raw, item.media_type)
            self.content.link(item.digest, [child.digest for child in manifest.children])
            if manifest.config.media_type in types.CONFIGS and self.content.exists(manifest.config):
                raw = self.content.read(manifest.config.digest, types.CONFIG_LIMIT_BYTES)
                diff_ids = ImageConfig.decode(raw, manifest.config.media_type).diff_ids
                # And the layers that were made on nothing (COPY --link), and may stand on nothing yet.
                chains = dict.fromkeys((*chain_ids(diff_ids), *self.snapshots.on_nothing(diff_ids)))
                self.content.link(manifest.config.digest, [f"chain:{chain}" for chain in chains])
        self._link_indexes(target)

    def _link_indexes(self, target: Descriptor) -> None:
        if target.media_type in types.INDEXES:
            present = [item for item in self._index(target).manifests if self.content.exists(item)]
            self.content.link(target.digest, [item.digest for item in present])
            for item in present:
                self._link_indexes(item)


def _id_prefix(text: str) -> str:
    """``text`` as the start of an id (``sha256:..``), or "" when it cannot be one."""
    digits = text.removeprefix("sha256:")
    if not digits or len(digits) > 64 or not _HEX_DIGITS.issuperset(digits):
        return ""
    return "sha256:" + digits
