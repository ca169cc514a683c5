"""The wiring: one root directory's database and stores, made when they are first asked for."""

from __future__ import annotations

import os

from cais.engine.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cais.content.store import ContentStore
    from cais.content.tags import TagStore
    from cais.engine.registries import Registries
    from cais.events.log import EventLog
    from cais.host.database import Database
    from cais.host.leases import Leases
    from cais.image.store import Images
    from cais.runtime.cgroup_moves import Foresight
    from cais.runtime.holder import Holder
    from cais.snapshot.store import SnapshotStore
    from cais.sources.store import SourceStore
    from cais.spec.digest import Digest
    from cais.spec.platform import Platform


# The number of migration steps of all rooms (tested). Where the database is at it, no room is loaded to open it.
SCHEMA_VERSION = 23


def _schemas() -> Mapping[str, Sequence[str]]:
    from cais.engine.schema import SCHEMAS

    return SCHEMAS


class Stores:
    """What the use cases are composed of. Nothing is opened before it is used."""

    def __init__(self, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        self.environment = environment or {}  # of the process, for the credentials and proxies of registries
        self.root = os.path.abspath(settings.root)
        self._database: Database | None = None
        self._leases: Leases | None = None
        self._content: ContentStore | None = None
        self._tags: TagStore | None = None
        self._snapshots: SnapshotStore | None = None
        self._sources: SourceStore | None = None
        self._platform: Platform | None = None
        self._images: Images | None = None
        self._events: EventLog | None = None
        self._holder: Holder | None = None
        self._moves: Foresight | None = None
        self._registries: Registries | None = None
        self._whole: Stores | None = None  # whose connections these stores use (``apart``)

    @property
    def database(self) -> Database:
        if self._database is None:
            from cais.host.database import Database

            self._database = Database(os.path.join(self.root, "cais.db"), SCHEMA_VERSION, _schemas)
        return self._database

    @property
    def leases(self) -> Leases:
        if self._leases is None:
            from cais.host.leases import Leases

            self._leases = Leases(self.root, self.database)
        return self._leases

    @property
    def events(self) -> EventLog:
        if self._events is None:
            from cais.events.log import EventLog

            self._events = EventLog(self.root)
        return self._events

    @property
    def content(self) -> ContentStore:
        if self._content is None:
            from cais.content.store import ContentStore

            self._content = ContentStore(self.root, self.database, self.leases)
        return self._content

    @property
    def tags(self) -> TagStore:
        if self._tags is None:
            from cais.content.tags import TagStore

            self._tags = TagStore(self.database)
        return self._tags

    @property
    def snapshots(self) -> SnapshotStore:
        if self._snapshots is None:
            from cais.snapshot.store import SnapshotStore

            self._snapshots = SnapshotStore(
                self.root, self.database, self.leases, self.settings.driver, opened=self._opened_layer
            )
        return self._snapshots

    def _opened_layer(self, blob: Digest) -> Iterator[bytes]:
        from cais.image.layers import opened

        return opened(self.content, blob)

    @property
    def sources(self) -> SourceStore:
        if self._sources is None:
            from cais.sources.store import SourceStore

            self._sources = SourceStore(self.root, self.database, self.leases)
        return self._sources

    @property
    def platform(self) -> Platform:
        """What this host runs."""
        if self._platform is None:
            from cais.spec.platform import Platform

            self._platform = Platform.normalised("linux", os.uname().machine)
        return self._platform

    @property
    def images(self) -> Images:
        if self._images is None:
            from cais.image.store import Images

            self._images = Images(self, self.platform)
        return self._images

    @property
    def holder(self) -> Holder:
        """What an ordinary user's containers share."""
        if self._holder is None:
            from cais.runtime.holder import Holder

            self._holder = Holder(os.path.join(self.root, "run"))
        return self._holder

    @property
    def moves(self) -> Foresight:
        """What waits ahead for processes that are to be started."""
        if self._moves is None:
            from cais.runtime.cgroup_moves import Foresight

            self._moves = Foresight()
        return self._moves

    @property
    def registries(self) -> Registries:
        if self._whole is not None:
            return self._whole.registries
        if self._registries is None:
            from cais.engine.registries import Registries

            self._registries = Registries(self.environment)
        return self._registries

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of the registries that were asked, if any were."""
        return () if self._registries is None else self._registries.warnings

    def apart(self) -> Stores:
        """The same stores with a lease of their own, to be released by whoever asked; the database is shared.

        Connections to registries are, too.
        """
        stores = Stores(self.settings, self.environment)
        stores._database = self.database
        stores._whole = self
        stores._platform = self._platform
        return stores

    def release(self) -> None:
        """``close`` for a process that ends now."""
        try:
            if self._holder is not None:
                self._holder.leave()
            if self._leases is not None:
                self._leases.release()
        finally:
            if self._database is not None:
                self._database.abandon()

    def close(self) -> None:
        """Lets go of the leases and closes the database and connections."""
        if self._registries is not None:
            self._registries.close()
        try:
            if self._holder is not None:
                self._holder.leave()
            if self._leases is not None:
                self._leases.release()
        finally:
            if self._database is not None:
                self._database.close()
