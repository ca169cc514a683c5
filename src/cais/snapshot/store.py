"""SnapshotStore: file systems by the chain id of their layers; implements ``ports.Snapshots``.

A snapshot's directory is named by a random id and has a row from before it exists until after it is gone; a row without
chain id is one that some process still prepares. A layer that was made on nothing can stand on any parent: where the
driver keeps layers apart, that is a row more, whose files are in the directory of another. The files of a layer that
came from elsewhere may stay packed, in a blob, until something needs them: then there is no directory yet.
"""

from __future__ import annotations

import os
from _thread import RLock

from cais.errors import Conflict, Corrupt, Denied, NotFound, Unavailable, from_os_error
from cais.host.database import Database
from cais.host.files import make_top, random_name, remove_tree
from cais.host.leases import Leases
from cais.snapshot import drivers
from cais.snapshot.drivers import Driver
from cais.spec.digest import Digest
from cais.spec.mount import Mount
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cais.snapshot.changes import Change


class Layer(NamedTuple):
    """One committed layer. ``size_bytes`` is that of its plain tar."""

    chain_id: Digest
    diff_id: Digest
    size_bytes: int
    parent: Digest | None = None
    newest: int = 0  # the newest mtime among its files, in seconds; known where it was committed here


class Prepared(NamedTuple):
    """A writable file system that nobody else sees. ``directory`` is the driver's own.

    ``changes`` is, where the driver has such a thing, a directory of what differs from the parent and of nothing else,
    which may be written to instead of the mounts; ``opaque`` is the attribute that hides what is below a directory.
    """

    id: str
    mounts: tuple[Mount, ...]
    parent: Digest | None
    directory: str
    changes: str = ""
    opaque: str = ""


class SnapshotStore:
    """``driver`` forces a driver by name; without it the root directory's own is used, found by probing at first.

    ``opened`` gives the plain tar of a layer out of the blob that it was kept in (``keep_packed``).
    """

    def __init__(
        self,
        root: str,
        database: Database,
        leases: Leases,
        driver: str = "",
        *,
        owners: bool = True,
        opened: Callable[[Digest], Iterator[bytes]] | None = None,
    ) -> None:
        self.directory = os.path.join(root, "snapshots")
        self._database = database
        self._leases = leases
        self._forced = driver
        # Whether files can have other owners than this user.
        self.owners = owners
        self._driver: Driver | None = None
        self._choosing = RLock()
        self._opened = opened
        self._unpacking = RLock()
        self._reached = False

    def reach(self) -> None:
        """Enters an ordinary user's namespace, where its subordinate ids are its own: they own what is in snapshots.

        Where the host allows no user namespace, files of other owners cannot be made: all become the user's own.
        """
        if not self._reached and os.geteuid() != 0:
            from cais.host.namespaces import enter

            try:
                enter()
            except Denied:
                self.owners = False
        self._reached = True

    @property
    def driver(self) -> Driver:
        if self._driver is None:
            with self._choosing:  # steps that begin at once ask at once
                if self._driver is None:
                    self._driver = self._chosen()
        return self._driver

    def _chosen(self) -> Driver:
        row = self._database.row("SELECT name FROM snapshot_driver")
        name = str(row[0]) if row else ""
        if not name:
            make_top(self.directory, 0o711)
            name = self._forced or drivers.probe(self.directory, self._leases.id)
            with self._database.transaction() as change:
                change.execute("INSERT OR IGNORE INTO snapshot_driver VALUES (1, ?)", (name,))
                name = change.row("SELECT name FROM snapshot_driver")[0]
        if self._forced and name != self._forced:
            raise Conflict(
                f"this root directory keeps its snapshots with the driver {name!r}, not {self._forced!r}",
                hint="Use another root directory (CAIS_ROOT or --root) for another driver.",
            )
        return drivers.make(name)

    def exists(self, chain: Digest) -> bool:
        return self._database.row("SELECT 1 FROM snapshots WHERE chain_id = ?", (chain,)) is not None

    def layer(self, chain: Digest) -> Layer:
        """Raises NotFound."""
        row = self._database.row("SELECT diff_id, size_bytes, parent FROM snapshots WHERE chain_id = ?", (chain,))
        if row is None:
            raise NotFound(f"no snapshot of the layers {chain}", hint="Run: cais system check")
        return Layer(chain, Digest(row[0]), row[1], Digest(row[2]) if row[2] else None)

    def find(self, diff_id: Digest) -> Layer | None:
        """A layer with these changes: one with nothing below it, where there is one, else any."""
        row = self._database.row(
            "SELECT chain_id, size_bytes, parent FROM snapshots WHERE diff_id = ? ORDER BY parent NOTNULL LIMIT 1",
            (diff_id,),
        )
        return None if row is None else Layer(Digest(row[0]), diff_id, row[1], Digest(row[2]) if row[2] else None)

    def hold(self, chain: Digest) -> bool:
        """Keeps ``chain`` and what is below it while this process lives; False when it is not there."""
        with self._database.transaction() as change:
            if change.row("SELECT 1 FROM snapshots WHERE chain_id = ?", (chain,)) is None:
                return False
            self._leases.hold(change, f"chain:{chain}")
            return True

    def prepare(self, parent: Digest | None = None, *, volatile: bool = False) -> Prepared:
        """An empty layer on ``parent``'s. ``volatile``: what is written in it need not outlive a crash of the host.

        Raises NotFound, Unavailable (no space).
        """
        id, directory = self._begin(parent)
        try:
            parents = self.directories(parent)
            self.driver.create(directory, parents)
        except OSError as error:
            self._abandon(id)
            raise from_os_error(error, "prepare a snapshot")
        except BaseException:
            self._abandon(id)
            raise
        changes = os.path.join(directory, "fs") if self.driver.opaque else ""
        mounts = self.driver.mounts(directory, parents, volatile=volatile)
        return Prepared(id, mounts, parent, directory, changes, self.driver.opaque)

    def changes_directory(self, chain: Digest) -> str:
        """The directory of the topmost layer's changes alone, where there is one, else "". Raises NotFound."""
        if not self.driver.opaque or self.packed(chain) is not None:
            return ""
        return os.path.join(self.directories(chain)[0], "fs")

    def reopen(self, id: str, parent: Digest | None, *, volatile: bool = False) -> Prepared:
        """A prepared snapshot that a container keeps between its runs. Raises NotFound."""
        directory = os.path.join(self.directory, id)
        if not os.path.isdir(directory):
            raise NotFound(f"the file system {id} is gone", hint="Run: cais system check")
        mounts = self.driver.mounts(directory, self.directories(parent), volatile=volatile)
        return Prepared(id, mounts, parent, directory)

    def commit(self, prepared: Prepared, *, epoch: int | None = None, check: Callable[[], None] | None = None) -> Layer:
        """What changed becomes a layer, and the snapshot its file system; ``prepared`` is not mounted any more.

        ``epoch``: newer modification times become this one, in seconds. Where the same layer on the same parent is
        there already, that one is returned and ``prepared`` removed. ``check`` is called now and then: what it raises
        ends this.
        """
        layer = self.measure(prepared, epoch=epoch, check=check)
        self.driver.finish(prepared.directory)
        self._finish(prepared.id, layer, unpacked=False)
        return layer

    def measure(
        self, prepared: Prepared, *, epoch: int | None = None, check: Callable[[], None] | None = None
    ) -> Layer:
        """The layer that ``commit`` would make; ``prepared`` goes on as it is."""
        from cais.snapshot.changes import clamp_times
        from cais.snapshot.pack import measure

        self.reach()
        parents = self.directories(prepared.parent)
        newest = 0

        def counted() -> Iterator[Change]:
            nonlocal newest
            for change in self.driver.changes(prepared.directory, parents):
                newest = max(newest, change.newest)
                yield change

        try:
            if epoch is not None:
                clamp_times(os.path.join(prepared.directory, "fs"), epoch)
            diff_id, size_bytes = measure(
                counted(), os.path.join(prepared.directory, "fs"), owners=self.owners, check=check
            )
        except OSError as error:
            raise from_os_error(error, "read the changes of a snapshot")
        return Layer(_chain(prepared.parent, diff_id), diff_id, size_bytes, prepared.parent, newest)

    def discard(self, prepared: Prepared) -> None:
        """Nothing of it stays."""
        self._abandon(prepared.id)

    def _abandon(self, id: str) -> None:
        """Removes what never became visible: files first, so that a full disk has room for the row's deletion."""
        self.reach()
        if self._database.row("SELECT 1 FROM snapshots WHERE id = ? AND chain_id NOTNULL", (id,)) is not None:
            return  # interrupted just after it became visible: others may stand on it
        remove_tree(os.path.join(self.directory, id))
        try:
            self.remove(id)
        except Unavailable:
            pass  # a row without chain is the collector's, once its process is gone

    def remove(self, id: str) -> None:
        """Removes a snapshot by its id, row first. One that others stand on is the collector's to remove.

        Files that another row has, too, stay with that.
        """
        self.reach()
        with self._database.transaction() as change:
            row = change.row("SELECT coalesce(files, id) FROM snapshots WHERE id = ?", (id,))
            directory = row[0] if row is not None else id
            change.execute("DELETE FROM snapshots WHERE id = ?", (id,))
            if change.row("SELECT 1 FROM snapshots WHERE id = ? OR files = ?", (directory, directory)) is not None:
                return
        remove_tree(os.path.join(self.directory, directory))

    def stand(self, parent: Digest | None, diff_id: Digest) -> Digest:
        """The chain of a layer that was made on nothing, and is there, upon ``parent``'s file system.

        Where the driver keeps layers apart, nothing is written but a row. Raises NotFound, Unavailable (no space).
        """
        from cais.snapshot.elsewhere import stand

        chain = _chain(parent, diff_id)
        if parent is None or self.hold(chain):
            return chain
        if not self.driver.opaque:
            return self.unpack(parent, diff_id, self.pack(diff_id)).chain_id
        if self.packed(diff_id) is not None:
            self.directories(diff_id)
        stand(self._database, self._leases, parent, chain, diff_id)
        return chain

    def on_nothing(self, diff_ids: Sequence[Digest]) -> list[Digest]:
        """Which of these layers are there as they were made on nothing, ready to stand on any parent."""
        marks = ",".join("?" * len(diff_ids))
        rows = self._database.rows(f"SELECT chain_id FROM snapshots WHERE chain_id IN ({marks})", list(diff_ids))
        return [Digest(row[0]) for row in rows]

    def view(self, chain: Digest) -> tuple[Mount, ...]:
        """A read-only file system of the whole chain. Raises NotFound."""
        return self.driver.view(self.directories(chain))

    def unpack(self, parent: Digest | None, diff_id: Digest, pieces: Iterator[bytes]) -> Layer:
        """Applies a layer's plain tar on ``parent``. Raises Corrupt where it is not ``diff_id``, or Invalid."""
        chain = _chain(parent, diff_id)
        if self.hold(chain) and self.packed(chain) is None:
            return self.layer(chain)
        id, directory = self._begin(parent)
        try:
            lower, algorithm = self.directories(parent), diff_id.algorithm
            applied = self.driver.unpack(directory, lower, pieces, owners=self.owners, algorithm=algorithm)
            if applied.diff_id != diff_id:
                raise Corrupt(f"the layer that should be {diff_id} has the digest {applied.diff_id}")
            self.driver.finish(directory)
            layer = Layer(chain, diff_id, applied.size_bytes, parent)
            self._finish(id, layer, unpacked=True)
        except OSError as error:
            self._abandon(id)
            raise from_os_error(error, "unpack a layer")
        except BaseException:
            self._abandon(id)
            raise
        return layer

    def keep_packed(self, parent: Digest | None, diff_id: Digest, size_bytes: int, blob: Digest) -> Digest:
        """The chain of a layer whose files stay in ``blob``, which has just them, until they are needed.

        Raises NotFound.
        """
        from cais.snapshot.elsewhere import keep

        return keep(self._database, self._leases, Layer(_chain(parent, diff_id), diff_id, size_bytes, parent), blob)

    def packed(self, chain: Digest) -> Digest | None:
        """The blob that has the topmost layer's files, where they are not unpacked yet."""
        row = self._database.row("SELECT packed FROM snapshots WHERE chain_id = ?", (chain,))
        return None if row is None or row[0] is None else Digest(row[0])

    def pack(self, chain: Digest) -> Iterator[bytes]:
        """The plain tar of the topmost layer of ``chain``, made again from its files. Raises NotFound."""
        from cais.snapshot.pack import pack

        blob = self.packed(chain)
        if blob is not None and self._opened is not None:
            return self._opened(blob)
        self.reach()
        directories = self.directories(chain)
        changes = self.driver.changes(directories[0], directories[1:])
        return pack(changes, os.path.join(directories[0], "fs"), owners=self.owners)

    def repacked(self, parent: Digest | None, pieces: Iterator[bytes]) -> Digest:
        """The digest of a layer unpacked on ``parent`` and packed again by us; nothing stays of it."""
        id, directory = self._begin(parent)
        try:
            self.driver.unpack(directory, self.directories(parent), pieces, owners=self.owners, algorithm="sha256")
            return self.measure(Prepared(id, (), parent, directory)).diff_id
        finally:
            self._abandon(id)

    def directories(self, chain: Digest | None) -> list[str]:
        """The snapshots of ``chain``, topmost first, each once: overlayfs takes no directory twice, and one that is
        above another needs no second below it. What is packed is unpacked for it.

        Raises NotFound; of what is packed also Corrupt, Invalid, Unavailable (no space).
        """
        if chain is None:
            return []
        rows = self._below(chain)
        if any(row[2] for row in rows):
            with self._unpacking:  # steps that begin at once do it once
                for _, parent, blob, diff_id in reversed(self._below(chain)):
                    if blob and self._opened is not None:
                        self.unpack(Digest(parent) if parent else None, Digest(diff_id), self._opened(Digest(blob)))
            rows = self._below(chain)
        return [os.path.join(self.directory, name) for name in dict.fromkeys(row[0] for row in rows)]

    def _below(self, chain: Digest) -> list[tuple[str, str | None, str | None, str]]:
        """Directory, parent, blob (where packed) and diff_id of each layer, topmost first. Raises NotFound."""
        rows = self._database.rows(
            """WITH RECURSIVE below(depth, id, parent, packed, diff_id) AS (
                   SELECT 0, coalesce(files, id), parent, packed, diff_id FROM snapshots WHERE chain_id = ?
                   UNION ALL
                   SELECT depth + 1, coalesce(s.files, s.id), s.parent, s.packed, s.diff_id FROM snapshots s JOIN below
                       ON s.chain_id = below.parent
               ) SELECT id, parent, packed, diff_id FROM below ORDER BY depth""",
            (chain,),
        )
        if not rows or rows[-1][1] is not None:
            missing = rows[-1][1] if rows else chain
            raise NotFound(f"no snapshot of the layers {missing}", hint="Run: cais system check --repair")
        return rows

    def _begin(self, parent: Digest | None) -> tuple[str, str]:
        self.reach()
        id = random_name(8)
        make_top(self.directory, 0o711)
        directory = os.path.join(self.directory, id)
        with self._database.transaction() as change:
            change.execute("INSERT INTO snapshots (id, parent, lease) VALUES (?, ?, ?)", (id, parent, self._leases.id))
            if parent is not None:
                self._leases.hold(change, f"chain:{parent}")
        try:
            os.mkdir(directory, 0o711)
        except OSError as error:
            self._abandon(id)
            raise from_os_error(error, "prepare a snapshot")
        return id, directory

    def _finish(self, id: str, layer: Layer, *, unpacked: bool) -> None:
        with self._database.transaction() as change:
            self._leases.hold(change, f"chain:{layer.chain_id}")
            change.execute("DELETE FROM snapshots WHERE chain_id = ? AND packed NOTNULL", (layer.chain_id,))
            new = change.row("SELECT 1 FROM snapshots WHERE chain_id = ?", (layer.chain_id,)) is None
            if new:
                change.execute(
                    "UPDATE snapshots SET chain_id = ?, diff_id = ?, size_bytes = ?, unpacked = ? WHERE id = ?",
                    (layer.chain_id, layer.diff_id, layer.size_bytes, unpacked, id),
                )
        if not new:
            self._abandon(id)


def _chain(parent: Digest | None, diff_id: Digest) -> Digest:
    return diff_id if parent is None else Digest.of(f"{parent} {diff_id}".encode())
