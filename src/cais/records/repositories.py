"""Repositories: names below which blobs, manifests and tags stand."""

from __future__ import annotations

import time

from sqlalchemy import Boolean, Column, Table, bindparam, case, false, or_, select, true, update

from cais.records.lookup import Lookup
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, name_type
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from cais.records.database import Database

REPOSITORIES = Table(
    "repositories",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("name", name_type(255), nullable=False, unique=True),
    Column("is_public", Boolean, nullable=False, server_default=false()),
    Column("created_unix", UNIX_SECONDS, nullable=False),
)


class Repository(NamedTuple):
    """A row; everybody may pull what is public."""

    name: str
    is_public: bool
    created_unix: float


# A page shows a repository where each of these says so: (all of them), (the public ones), (names of these patterns).
Shown = tuple[bool, bool, "Sequence[str]"]

_OR_LIMIT = 200

_PUBLIC = select(REPOSITORIES.c.is_public).where(REPOSITORIES.c.name == bindparam("repository"))
_ID = select(REPOSITORIES.c.id).where(REPOSITORIES.c.name == bindparam("repository"))
_LOOK_ID, _LOOK_PUBLIC = Lookup(_ID), Lookup(_PUBLIC)


def find(database: Database, connection: Connection, name: str) -> int | None:
    """The repository's id."""
    found = database.run(connection, _LOOK_ID, repository=name).rows
    return found[0][0] if found else None


def look(database: Database, name: str) -> int | None:
    """As ``find``."""
    found = database.look(_LOOK_ID, repository=name)
    return found[0][0] if found else None


def look_public(database: Database, name: str) -> bool:
    """As ``is_public``."""
    found = database.look(_LOOK_PUBLIC, repository=name)
    return bool(found and found[0][0])


def is_public(connection: Connection, name: str) -> bool:
    """Whether everybody may pull it; not what is not there."""
    return bool(connection.execute(_PUBLIC, {"repository": name}).scalar())


def ensure(database: Database, connection: Connection, name: str, *, public: bool) -> int:
    """The repository's id; it is made where it is not there, and ``public`` then."""
    found = find(database, connection, name)
    if found is None:
        row = {"name": name, "is_public": public, "created_unix": time.time()}
        connection.execute(database.insert(REPOSITORIES).values(row).on_conflict_do_nothing(index_elements=["name"]))
        found = find(database, connection, name)
        assert found is not None
    return found


def page(connection: Connection, behind: str, limit: int, shown: Sequence[Shown], term: str = "") -> list[str]:
    """Up to ``limit`` names behind ``behind``, in order, of those that are ``shown`` and contain ``term``."""
    table = REPOSITORIES
    wanted = select(table.c.name).where(table.c.name > behind, *map(is_shown, shown)).order_by(table.c.name)
    if term:
        wanted = wanted.where(table.c.name.contains(term, autoescape=True))
    return list(connection.execute(wanted.limit(limit)).scalars())


def all(connection: Connection) -> list[Repository]:
    """By name."""
    table = REPOSITORIES.c
    wanted = select(table.name, table.is_public, table.created_unix).order_by(table.name)
    return [Repository(*row) for row in connection.execute(wanted)]


def publish(connection: Connection, name: str, is_public: bool) -> bool:
    """Whether it was there."""
    change = update(REPOSITORIES).where(REPOSITORIES.c.name == name).values(is_public=is_public)
    return bool(connection.execute(change).rowcount)


def is_shown(rule: Shown) -> ColumnElement[bool]:
    """The condition on a row. In a pattern ``*`` stands for any characters; all else, and LIKE's own signs, for
    themselves."""
    everything, public, patterns = rule
    if everything:
        return true()
    name = REPOSITORIES.c.name
    plain = [pattern for pattern in patterns if "*" not in pattern]
    clauses: list[ColumnElement[bool]] = [
        name.like(pattern.replace("_", "\\_").replace("*", "%"), escape="\\") for pattern in patterns if "*" in pattern
    ]
    if plain:
        clauses.append(name.in_(plain))
    if public:
        clauses.append(REPOSITORIES.c.is_public)
    return _any(clauses)


def _any(clauses: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """However many: SQLite's expressions may be a thousand levels deep, and each OR is one more."""
    if len(clauses) <= _OR_LIMIT:
        return or_(false(), *clauses)
    parts = (clauses[at : at + _OR_LIMIT] for at in range(0, len(clauses), _OR_LIMIT))
    return _any([case((or_(*part), true()), else_=false()) for part in parts])
