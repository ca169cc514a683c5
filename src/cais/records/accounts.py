"""Accounts: people, and organisations, which are accounts that nobody signs in to. Each name is a namespace, too."""

from __future__ import annotations

import time

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    bindparam,
    delete,
    false,
    insert,
    not_,
    select,
    update,
)

from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, alone, name_type
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sqlalchemy import Connection

PERSON, ORGANISATION = "person", "organisation"

ACCOUNTS = Table(
    "accounts",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("name", name_type(64), nullable=False, unique=True),
    Column("kind", String(12), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("is_admin", Boolean, nullable=False, server_default=false()),
    Column("is_disabled", Boolean, nullable=False, server_default=false()),
    Column("created_unix", UNIX_SECONDS, nullable=False),
)

# Who belongs to an organisation has what is granted to it.
MEMBERS = Table(
    "members",
    METADATA,
    Column("organisation_id", IDENTITY, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("account_id", IDENTITY, ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True),
    Column("since_unix", UNIX_SECONDS, nullable=False),
    Index(None, "account_id"),
)

# What `docker login` keeps instead of the password.
LOGINS = Table(
    "logins",
    METADATA,
    Column("secret_hash", String(64), primary_key=True),
    Column("account_id", IDENTITY, ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    Column("client", String(255), nullable=False),
    Column("created_unix", UNIX_SECONDS, nullable=False),
    Column("expires_unix", UNIX_SECONDS, nullable=False),
    Index(None, "account_id"),
    Index(None, "expires_unix"),
)


class Account(NamedTuple):
    """A row. ``password_hash`` "" belongs to nobody's password."""

    id: int
    name: str
    kind: str
    password_hash: str
    is_admin: bool
    is_disabled: bool
    created_unix: float

    def __repr__(self) -> str:
        return f"Account(id={self.id}, name={self.name!r})"


_COLUMNS = [ACCOUNTS.c[name] for name in Account._fields]
_BY_NAME = select(*_COLUMNS).where(ACCOUNTS.c.name == bindparam("wanted"))
_BY_ID = select(*_COLUMNS).where(ACCOUNTS.c.id == bindparam("wanted"))
_BY_LOGIN = (
    select(*_COLUMNS)
    .join(LOGINS, LOGINS.c.account_id == ACCOUNTS.c.id)
    .where(LOGINS.c.secret_hash == bindparam("wanted"), LOGINS.c.expires_unix > bindparam("now"))
)
_ORGANISATIONS = select(MEMBERS.c.organisation_id).where(MEMBERS.c.account_id == bindparam("account_id"))


def by_name(connection: Connection, name: str) -> Account | None:
    return _one(connection, _BY_NAME, wanted=name)


def by_id(connection: Connection, id: int) -> Account | None:
    return _one(connection, _BY_ID, wanted=id)


def by_login(connection: Connection, secret_hash: str, now: float) -> Account | None:
    """The account whose unexpired login this is."""
    return _one(connection, _BY_LOGIN, wanted=secret_hash, now=now)


def all(connection: Connection) -> list[Account]:
    """By name."""
    return [Account(*row) for row in connection.execute(select(*_COLUMNS).order_by(ACCOUNTS.c.name))]


def admins(connection: Connection) -> list[int]:
    """Those who may sign in; nobody else changes that until this transaction ends."""
    alone(connection, ACCOUNTS)
    table = ACCOUNTS.c
    wanted = select(table.id).where(table.is_admin, not_(table.is_disabled))
    return list(connection.execute(wanted).scalars())


def any_person(connection: Connection) -> bool:
    return connection.execute(select(ACCOUNTS.c.id).where(ACCOUNTS.c.kind == PERSON).limit(1)).first() is not None


def add(connection: Connection, name: str, kind: str, password_hash: str, *, is_admin: bool = False) -> int:
    """Its id. Raises IntegrityError where the name is taken."""
    row = {
        "name": name, "kind": kind, "password_hash": password_hash, "is_admin": is_admin, "created_unix": time.time(),
    }  # fmt: skip
    made: int = connection.execute(insert(ACCOUNTS).values(row).returning(ACCOUNTS.c.id)).scalar_one()
    return made


def change(connection: Connection, id: int, **values: Any) -> None:
    """``password_hash``, ``is_admin``, ``is_disabled``."""
    connection.execute(update(ACCOUNTS).where(ACCOUNTS.c.id == id).values(values))


def remove(connection: Connection, id: int) -> None:
    """Its grants, robots, memberships and logins go with it."""
    connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.id == id))


def organisations_of(connection: Connection, id: int) -> list[int]:
    return list(connection.execute(_ORGANISATIONS, {"account_id": id}).scalars())


def members(connection: Connection, organisation_id: int) -> list[str]:
    """Names, in order."""
    wanted = (
        select(ACCOUNTS.c.name)
        .join(MEMBERS, MEMBERS.c.account_id == ACCOUNTS.c.id)
        .where(MEMBERS.c.organisation_id == organisation_id)
        .order_by(ACCOUNTS.c.name)
    )
    return list(connection.execute(wanted).scalars())


def join(connection: Connection, organisation_id: int, account_id: int) -> None:
    """Raises IntegrityError where it belongs to it already."""
    row = {"organisation_id": organisation_id, "account_id": account_id, "since_unix": time.time()}
    connection.execute(insert(MEMBERS).values(row))


def leave(connection: Connection, organisation_id: int, account_id: int) -> bool:
    """Whether it belonged to it."""
    table = MEMBERS.c
    gone = delete(MEMBERS).where(table.organisation_id == organisation_id, table.account_id == account_id)
    return bool(connection.execute(gone).rowcount)


def add_login(connection: Connection, account_id: int, secret_hash: str, client: str, expires_unix: float) -> None:
    """Those that have expired go, on this occasion."""
    now = time.time()
    connection.execute(delete(LOGINS).where(LOGINS.c.expires_unix <= now))
    row = {
        "secret_hash": secret_hash, "account_id": account_id, "client": client[:255],
        "created_unix": now, "expires_unix": expires_unix,
    }  # fmt: skip
    connection.execute(insert(LOGINS).values(row))


def end_logins(connection: Connection, account_id: int) -> int:
    """How many there were."""
    return int(connection.execute(delete(LOGINS).where(LOGINS.c.account_id == account_id)).rowcount)


def _one(connection: Connection, query: Any, **given: Any) -> Account | None:
    row = connection.execute(query, given).first()
    return None if row is None else Account(*row)
