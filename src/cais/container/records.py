"""The tables of containers: one row each, with the plan of what it runs as JSON."""

from __future__ import annotations

from cais.container.restart import BY_HAND, Restarts
from cais.errors import Conflict, Invalid, NotFound
from cais.host.database import Database, Transaction
from cais.spec.encoding import decode, encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

SCHEMA = (
    """CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image_id TEXT NOT NULL,
        image_name TEXT NOT NULL,
        manifest TEXT NOT NULL,
        chain TEXT NOT NULL,
        snapshot TEXT NOT NULL,
        created REAL NOT NULL,
        started REAL NOT NULL DEFAULT 0,
        finished REAL NOT NULL DEFAULT 0,
        state TEXT NOT NULL DEFAULT 'created',
        running INTEGER GENERATED ALWAYS AS (state = 'running') VIRTUAL,
        exit_code INTEGER NOT NULL DEFAULT 0,
        error TEXT NOT NULL DEFAULT '',
        auto_remove INTEGER NOT NULL DEFAULT 0,
        plan TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX containers_by_image ON containers (image_id);
    CREATE TABLE container_volumes (
        container TEXT NOT NULL REFERENCES containers (id),
        volume TEXT NOT NULL,
        anonymous INTEGER NOT NULL,
        PRIMARY KEY (container, volume)
    ) WITHOUT ROWID;
    CREATE INDEX container_volumes_by_volume ON container_volumes (volume)""",
    """ALTER TABLE containers ADD COLUMN restart_count INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE containers ADD COLUMN restart_wait_milliseconds INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0""",
    "ALTER TABLE containers ADD COLUMN oom_killed INTEGER NOT NULL DEFAULT 0",
)

# For the collector: queries that give the keys of what has to stay.
ROOTS = (
    "SELECT manifest FROM containers",
    "SELECT 'chain:' || chain FROM containers WHERE chain != ''",
    "SELECT 'snapshot:' || snapshot FROM containers",
    # The images that they have mounted.
    """SELECT 'chain:' || json_extract(point.value, '$.chain')
       FROM containers, json_each(containers.plan, '$.mounts') AS point
       WHERE json_extract(point.value, '$.kind') = 'image'""",
)

_COLUMNS = (
    "id, name, image_id, image_name, manifest, chain, snapshot, created, started, finished, state, exit_code, error, "
    "auto_remove, plan"
)
_RESTARTS = "restart_count, restart_wait_milliseconds, stopped"


NO_RESTARTS = Restarts()


class ContainerRecord(NamedTuple):
    """``state``: ``created``, ``running``, ``restarting``, ``removing`` or ``exited``, as last noted.

    Times are in seconds since 1970, 0 for never. ``manifest`` is the digest of the image's manifest, ``chain`` its
    topmost chain id ("" without layers), ``snapshot`` the id of the container's own layer. ``plan_json`` is
    ``plan.Plan`` as JSON.
    """

    id: str
    name: str
    image_id: str
    image_name: str
    manifest: str
    chain: str
    snapshot: str
    created: float
    started: float = 0.0
    finished: float = 0.0
    state: str = "created"
    exit_code: int = 0
    error: str = ""
    auto_remove: bool = False
    plan_json: str = "{}"
    restarts: Restarts = Restarts()
    oom_killed: bool = False

    @property
    def short_id(self) -> str:
        return self.id[:12]

    @property
    def plan(self) -> dict[str, Any]:
        value: dict[str, Any] = decode(self.plan_json)
        return value


class ContainerRecords:
    """The rows of containers; times are in seconds since 1970. A row says what was noted last (see ``state``)."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, record: ContainerRecord, volumes: Sequence[tuple[str, bool]] = ()) -> None:
        """``volumes``: (name, anonymous). Raises Conflict where the name is taken."""
        with self.database.transaction() as change:
            taken = change.row("SELECT id FROM containers WHERE name = ?", (record.name,))
            if taken is not None:
                raise _name_is_taken(record.name, taken[0])
            values = (*record[: _COLUMNS.count(",") + 1], *record.restarts)
            marks = ",".join("?" * len(values))
            change.execute(f"INSERT INTO containers ({_COLUMNS}, {_RESTARTS}) VALUES ({marks})", values)
            change.execute_many(
                "INSERT OR IGNORE INTO container_volumes VALUES (?, ?, ?)",
                [(record.id, name, anonymous) for name, anonymous in volumes],
            )

    def check_name_is_free(self, name: str) -> None:
        """Raises Conflict."""
        taken = self.database.row("SELECT id FROM containers WHERE name = ?", (name,))
        if taken is not None:
            raise _name_is_taken(name, taken[0])

    def rename(self, record: ContainerRecord, name: str) -> None:
        """Raises Conflict where the name is taken."""
        with self.database.transaction() as change:
            taken = change.row("SELECT id FROM containers WHERE name = ?", (name,))
            if taken is not None:
                raise _name_is_taken(name, taken[0])
            change.execute("UPDATE containers SET name = ? WHERE id = ?", (name, record.id))

    def remove(self, change: Transaction, id: str) -> None:
        change.execute("DELETE FROM container_volumes WHERE container = ?", (id,))
        change.execute("DELETE FROM containers WHERE id = ?", (id,))

    def set_started(
        self, id: str, now: float, plan: dict[str, Any] | None = None, restarts: Restarts = NO_RESTARTS
    ) -> None:
        """``restarts``: it was started again by its policy, and how it ended stays known, for who still waits for that
        end."""
        with self.database.transaction() as change:
            change.execute(
                "UPDATE containers SET state = 'running', started = ?, error = '', exit_code = exit_code * ?, "
                "oom_killed = 0 WHERE id = ?",
                (now, restarts.number > 0, id),
            )
            _set_restarts(change, id, restarts)
            if plan is not None:
                change.execute("UPDATE containers SET plan = ? WHERE id = ?", (encode(plan).decode(), id))

    def set_exited(self, id: str, exit_code: int, now: float, error: str = "", *, started: bool = True) -> None:
        """``started`` False: it never ran, and is still only created."""
        with self.database.transaction() as change:
            change.execute(
                "UPDATE containers SET state = ?, exit_code = ?, finished = ?, error = ? WHERE id = ?",
                ("exited" if started else "created", exit_code, now if started else 0.0, error, id),
            )

    def correct(self, record: ContainerRecord, exit_code: int, finished: float, *, oom_killed: bool = False) -> bool:
        """It was noted to be up and has ended; nothing changes where it was started again since ``record`` was read.

        Whether this call was the one that noted it.
        """
        with self.database.transaction() as change:
            noted = change.execute(
                "UPDATE containers SET state = 'exited', exit_code = ?, finished = ?, oom_killed = ? "
                "WHERE id = ? AND state = ? AND started = ?",
                (exit_code, finished, oom_killed, record.id, record.state, record.started),
            )
        return noted > 0

    def replace_plan(self, record: ContainerRecord, plan_json: str, volumes: Sequence[tuple[str, bool]]) -> None:
        """Plan and volumes at once. Raises Conflict where the plan is not that of ``record`` any more."""
        with self.database.transaction() as change:
            changed = change.execute(
                "UPDATE containers SET plan = ? WHERE id = ? AND plan = ?", (plan_json, record.id, record.plan_json)
            )
            if not changed:
                raise Conflict(f"the container {record.name} was changed or removed meanwhile", hint="Try again.")
            change.execute("DELETE FROM container_volumes WHERE container = ?", (record.id,))
            change.execute_many(
                "INSERT OR IGNORE INTO container_volumes VALUES (?, ?, ?)",
                [(record.id, name, anonymous) for name, anonymous in volumes],
            )

    def change_plan(self, id: str, changed: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Replaces what a container runs, whatever other commands do to it. Raises NotFound, and as ``changed``."""
        with self.database.transaction() as change:
            row = change.row("SELECT plan FROM containers WHERE id = ?", (id,))
            if row is None:
                raise NotFound(f"No such container: {id}")
            value = encode(changed(decode(row[0]))).decode("utf-8", "surrogateescape")
            change.execute("UPDATE containers SET plan = ? WHERE id = ?", (value, id))

    def set_restarting(self, id: str, exit_code: int, now: float, restarts: Restarts) -> None:
        """It has ended, and is to be started again."""
        with self.database.transaction() as change:
            change.execute(
                "UPDATE containers SET state = 'restarting', exit_code = ?, finished = ?, error = '' WHERE id = ?",
                (exit_code, now, id),
            )
            _set_restarts(change, id, restarts)

    def set_removing(self, id: str) -> None:
        """Whoever removes it may be killed: then the next command goes on with it."""
        with self.database.transaction() as change:
            change.execute("UPDATE containers SET state = 'removing' WHERE id = ?", (id,))

    def set_stopped(self, id: str, how: int = BY_HAND) -> None:
        """It is ended: whatever its policy, it is not started again before a user, or a boot, does it."""
        with self.database.transaction() as change:
            change.execute(
                "UPDATE containers SET stopped = ? WHERE id = ? AND state IN ('running', 'restarting')", (how, id)
            )

    def all(self) -> list[ContainerRecord]:
        """The newest first."""
        return self._query("ORDER BY created DESC, id")

    def running(self) -> list[ContainerRecord]:
        """Those that are noted to run, or to be started again."""
        return self._query("WHERE state IN ('running', 'restarting') ORDER BY created DESC, id")

    def up(self) -> list[tuple[str, bool]]:
        """(id, whether its health is checked) of those that are ``running``."""
        rows = self.database.rows(
            "SELECT id, instr(plan, '\"health\":') > 0 FROM containers WHERE state IN ('running', 'restarting')"
        )
        return [(row[0], bool(row[1])) for row in rows]

    def forgotten(self) -> list[ContainerRecord]:
        """Those that should have been removed with their end, or are being removed."""
        return self._query("WHERE (auto_remove = 1 AND state = 'exited') OR state = 'removing'")

    def get(self, id_or_name: str) -> ContainerRecord:
        """By full id, name, or the start of an id. Raises NotFound, Invalid with Docker's words."""
        text = id_or_name.removeprefix("/")
        if not text:
            raise Invalid("invalid container name or ID: value is empty")
        for clause in ("WHERE id = ?", "WHERE name = ?"):
            found = self._query(clause, (text,))
            if found:
                return found[0]
        if text and set(text) <= set("0123456789abcdef"):
            found = self._query("WHERE id >= ? AND id < ? LIMIT 2", (text, text + "g"))
            if len(found) > 1:
                raise Invalid(f"multiple IDs found with provided prefix: {id_or_name}")
            if found:
                return found[0]
        raise NotFound(f"No such container: {text}")

    def volumes_of(self, id: str) -> list[tuple[str, bool]]:
        """(name, anonymous) of the volumes of a container."""
        rows = self.database.rows("SELECT volume, anonymous FROM container_volumes WHERE container = ?", (id,))
        return [(row[0], bool(row[1])) for row in rows]

    def users_of_volume(self, name: str) -> list[str]:
        """The ids of the containers that have a volume."""
        rows = self.database.rows("SELECT container FROM container_volumes WHERE volume = ?", (name,))
        return [row[0] for row in rows]

    def rename_volume(self, change: Transaction, old: str, new: str) -> None:
        """In the caller's transaction: the containers that have the volume ``old`` have it as ``new``."""
        for id in self.users_of_volume(old):
            (text,) = change.row("SELECT plan FROM containers WHERE id = ?", (id,))
            plan = decode(text)
            for point in plan.get("mounts", ()):
                if point.get("kind") == "volume" and point.get("source") == old:
                    point["source"], point["anonymous"] = new, False
            change.execute("UPDATE containers SET plan = ? WHERE id = ?", (encode(plan).decode(), id))
        change.execute("UPDATE container_volumes SET volume = ?, anonymous = 0 WHERE volume = ?", (new, old))

    def _query(self, clause: str, parameters: Sequence[Any] = ()) -> list[ContainerRecord]:
        rows = self.database.rows(f"SELECT {_COLUMNS}, {_RESTARTS}, oom_killed FROM containers {clause}", parameters)
        return [
            ContainerRecord._make(
                (*row[:13], bool(row[13]), row[14], Restarts(row[15], row[16], row[17]), bool(row[18]))
            )
            for row in rows
        ]


def _set_restarts(change: Transaction, id: str, restarts: Restarts) -> None:
    """A start by hand forgets that it was stopped. A restart does not: that may have been while it came about."""
    change.execute(
        "UPDATE containers SET restart_count = ?, restart_wait_milliseconds = ?, stopped = iif(?, stopped, 0) "
        "WHERE id = ?",
        (restarts.number, restarts.wait_milliseconds, restarts.number > 0, id),
    )


def _name_is_taken(name: str, id: str) -> Conflict:
    return Conflict(
        f'Conflict. The container name "/{name}" is already in use by container "{id}". You have to remove (or rename) '
        "that container to be able to reuse that name.",
        exit_code=125,
    )
