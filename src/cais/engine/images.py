"""Images: list, inspect, name, remove, load, save, import, prune."""

from __future__ import annotations

import os
import time

from cais.engine.image_transfers import ImageTransfers
from cais.engine.stores import Stores
from cais.errors import Invalid, from_os_error
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from cais.engine.build import BuildOptions, BuildResult
    from cais.image.attestations import Attestation
    from cais.image.load import Loaded
    from cais.image.removal import User
    from cais.image.store import Image
    from cais.image.store import Images as Store
    from cais.image.views import HistoryEntry
    from cais.spec.digest import Digest
    from cais.spec.platform import Platform
    from cais.spec.progress import Progress

    ListOfAttestations = list[Attestation]
    ListOfRemoved = list[tuple[str, str]]
    ListOfLoaded = list[Loaded]
    ListOfPairs = list[tuple[str, str]]
    ListOfHistory = list[HistoryEntry]

NONE = "<none>"


class ImageSummary(NamedTuple):
    """One row of ``image ls``. ``containers`` is -1 where it was not asked for; ``created_unix`` is in seconds."""

    id: str
    repository: str
    tag: str
    digest: str
    created_unix: float
    created: str
    size_bytes: int
    containers: int
    labels_json: str

    @property
    def labels(self) -> dict[str, str]:
        from cais.image.filters import labels_of

        return labels_of(self.labels_json)


class PruneReport(NamedTuple):
    """``removed``: ("Untagged" or "Deleted", what)."""

    removed: list[tuple[str, str]]
    reclaimed_bytes: int


class Images(ImageTransfers):
    """The images of one root directory."""

    def list(
        self,
        all: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
        reference: str = "",
    ) -> list[ImageSummary]:
        """One row for each name, the newest image first; ``<none>`` for an image without a name.

        ``reference``: a name, with or without tag, or a pattern (``deb*``). ``all`` changes nothing: Cais keeps no
        intermediate images. Raises Invalid for a filter that there is not.
        """
        from cais.image.records import ImageRecords

        filters = dict(filters or {})
        patterns = [*filters.get("reference", ()), *((reference,) if reference else ())]
        records = ImageRecords(self._stores.database).all()
        names: dict[str, list[tuple[str, str]]] = {}
        for name, target in self._stores.tags.list():
            names.setdefault(target.digest, []).append((name.familiar_name, name.tag))
        dangling: bool | None = None
        if filters or patterns:
            from cais.image import filters as filtering

            filtering.check_keys(filters, filtering.LIST_KEYS)
            dangling = filtering.truth(filters, "dangling")
            passes = filtering.record_filter(filters, time.time(), lambda name: self._store.resolve(name).created)
            records = [record for record in records if passes(record)]
            matches = [filtering.glob(_familiar_pattern(pattern)) for pattern in patterns]
        named = {record.id for record in records if record.target.digest in names}
        seen: set[str] = set()
        rows: list[ImageSummary] = []
        for record in records:
            pairs = _shown(names.get(record.target.digest, []))
            if patterns:
                pairs = [
                    pair for pair in pairs if any(match(pair[0]) or match(f"{pair[0]}:{pair[1]}") for match in matches)
                ]
            if dangling is True:
                pairs = []
            elif dangling is None and not patterns and not pairs and record.id in named:
                continue
            if not pairs:
                if patterns or dangling is False or record.id in named or record.id in seen:
                    continue
                seen.add(record.id)
                pairs = [(NONE, NONE)]
            rows += [
                ImageSummary(
                    record.id, repository, tag, record.target.digest, record.created, record.created_text,
                    record.size_bytes, -1, record.labels,
                )
                for repository, tag in pairs
            ]  # fmt: skip
        return rows

    def get(self, name_or_id: str, platform: Platform | None = None) -> Image:
        """By a name, ``name@digest``, or a full or short id. Raises NotFound, Invalid."""
        return self._store.get(name_or_id, platform, hold=False)

    def inspect(self, name_or_id: str, platform: Platform | None = None) -> dict[str, Any]:
        """Docker's JSON of an image. Raises NotFound, Invalid."""
        from cais.image.views import inspect

        store = self._store
        return inspect(store, store.get(name_or_id, platform, hold=False), store.resolve(name_or_id))

    def history(self, name_or_id: str, platform: Platform | None = None) -> ListOfHistory:
        """The newest entry first. Raises NotFound, Invalid."""
        from cais.image.views import history

        store = self._store
        return history(store, store.get(name_or_id, platform, hold=False))

    def attestations(self, name_or_id: str, kind: str = "", platform: Platform | None = None) -> ListOfAttestations:
        """What was said about an image by its build; with ``kind``, predicates whose type begins so.

        Raises NotFound, Invalid.
        """
        from cais.image.attestations import attestations_of

        store = self._store
        return attestations_of(store, store.get(name_or_id, platform, hold=False), kind)

    def tag(self, source: str, target: str) -> None:
        """Another name for an image. Raises NotFound, Invalid."""
        from cais.spec.reference import Reference

        self._store.tag(source, target)
        self._tell("tag", self._store.resolve(source).id, Reference.parse(target).familiar)

    def remove(self, name_or_id: str, force: bool = False, prune: bool = True) -> ListOfRemoved:
        """Takes a name away, or removes an image; what nothing needs any more goes with it.

        ``prune`` False leaves the blobs and layers to the next collection. Raises NotFound, Conflict.
        """
        from cais.image.removal import remove

        found = self._store.resolve(name_or_id)
        removed = remove(self._store, name_or_id, self._users_of, force=force)
        self._tell_removed(removed, found.id, found.labels)
        if prune and any(what == "Deleted" for what, _ in removed):
            self._collect()
        return removed

    def prune(self, all: bool = False, filters: Mapping[str, Sequence[str]] | None = None) -> PruneReport:
        """Removes images without a name; with ``all``, every image that no container uses."""
        from cais.image.removal import prune

        removed = prune(self._store, self._users_of, all=all, filters=filters, now=time.time())
        self._tell_removed(removed, "", "")
        size = self._collect()
        self._stores.events.write("image", "prune", "", {"reclaimed": str(size)})
        return PruneReport(removed, size)

    def load(self, source: BinaryIO | str, progress: Progress | None = None) -> ListOfLoaded:
        """From an archive (a stream, which may be a pipe, or a path) or an OCI image layout (a directory's path).

        Raises Invalid, Corrupt, Unsupported, NotFound; nothing is left of what came then.
        """
        from cais.image.archive import Archive, Layout, pieces_of
        from cais.image.load import load
        from cais.spec.progress import silent

        progress = progress or silent
        # With a lease of its own, that ends with it: what came and became no image is garbage at once.
        stores = Stores(self._stores.settings)
        done = False
        try:
            if isinstance(source, str) and os.path.isdir(source):
                received: Archive | Layout = Layout(stores.content, source, progress)
            else:
                received = archive = Archive(stores.content, progress)
                archive.read(pieces_of(source) if isinstance(source, str) else _pieces_from(source))
            loaded = load(stores.images, received)
            done = True
            for item in loaded:
                self._tell("load", item.id, item.id)
            return loaded
        finally:
            stores.close()
            if not done:
                self._collect()

    def save(self, names: Sequence[str], write: BinaryIO, platform: Platform | None = None) -> None:
        """One archive of images that Docker, Podman and skopeo load. A repository's name means all its tags.

        Nothing is written when an image is not there. Raises NotFound, Invalid (also for a terminal).
        """
        from cais.image.save import save, select

        if write.isatty():
            raise Invalid("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        store = self._store
        wanted = select(store, names, platform)
        pieces = save(store, wanted, platform)
        try:
            for piece in pieces:
                write.write(piece)
            write.flush()
            for image, _ in wanted:
                self._tell("save", image.id, image.id)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise from_os_error(error, "write the archive")

    def import_(
        self,
        source: BinaryIO | str,
        reference: str = "",
        changes: Sequence[str] = (),
        message: str = "",
        platform: Platform | None = None,
    ) -> str:
        """A tar of a root file system (a stream or a path; compressed or not) as an image of one layer; its id.

        ``changes`` are Dockerfile instructions that change its run config. Raises Invalid, Corrupt, NotFound.
        """
        from cais.engine.changes import changed
        from cais.image.archive import pieces_of
        from cais.image.importing import import_tar
        from cais.spec import timestamp
        from cais.spec.reference import Reference

        run = changed({}, changes)
        names = [Reference.parse(reference)] if reference else []
        if names and names[0].digest is not None:
            raise Invalid(f"cannot import as {reference!r}: a name with a digest cannot be given")
        stores = Stores(self._stores.settings)
        try:
            id = import_tar(
                stores.images,
                pieces_of(source) if isinstance(source, str) else _pieces_from(source),
                run=run,
                message=message or "Imported from -",
                created=timestamp.format(time.time()),
                platform=platform or stores.platform,
                names=names,
            )
            self._tell("import", id, id)
            for name in names:
                self._tell("tag", id, name.familiar)
            return id
        finally:
            stores.close()

    def build(self, options: BuildOptions, progress: Progress | None = None) -> BuildResult:
        """Short for ``engine.builder.build``."""
        from cais.engine.build import Builder
        from cais.spec.progress import silent

        return Builder(self._stores).build(options, progress or silent)

    def _tell(self, action: str, id: str, name: str, labels: str | None = None) -> None:
        from cais.engine.image_events import tell

        tell(self._stores, action, id, name, labels)

    def _tell_removed(self, removed: ListOfRemoved, id: str, labels: str) -> None:
        """``id`` and ``labels``: the image's, or "" where there may be several."""
        for what, name in removed:
            if what == "Untagged":
                self._tell("untag", id or name, id or name, labels)
            elif not id or name == id:
                self._tell("delete", name, name, labels)

    @property
    def _store(self) -> Store:
        return self._stores.images

    def _users_of(self, id: Digest) -> Sequence[User]:
        return users_of(self._stores)(id)

    def _collect(self) -> int:
        from cais.engine.collect import collect

        return collect(self._stores).size_bytes


def users_of(stores: Stores) -> Callable[[Digest], Sequence[User]]:
    """Who uses an image: the containers."""
    from cais.image.removal import User

    def users(id: Digest) -> Sequence[User]:
        rows = stores.database.rows("SELECT id, running FROM containers WHERE image_id = ?", (id,))
        return [User(row[0], bool(row[1])) for row in rows]

    return users


def _shown(pairs: ListOfPairs) -> ListOfPairs:
    """A name by its digest is not shown beside a tag of the same repository."""
    tagged = {name for name, tag in pairs if tag}
    return [(name, tag or NONE) for name, tag in pairs if tag or name not in tagged]


def _familiar_pattern(pattern: str) -> str:
    """A pattern as it is matched against familiar names: without what they leave out."""
    for prefix in ("docker.io/library/", "index.docker.io/library/", "docker.io/", "library/"):
        if pattern.startswith(prefix):
            return pattern[len(prefix) :]
    return pattern


def _pieces_from(stream: BinaryIO) -> Iterator[bytes]:
    """The stream's bytes as they come, a MiB at most at a time."""
    while piece := stream.read(1 << 20):
        yield piece
