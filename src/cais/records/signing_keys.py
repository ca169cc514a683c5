"""Signing keys of the registry's tokens, the same for all replicas."""

from __future__ import annotations

from sqlalchemy import Column, String, Table, Text, delete, insert, select, update

from cais.records.metadata import METADATA, UNIX_SECONDS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("private_pem", Text, nullable=False),
    Column("created_unix", UNIX_SECONDS, nullable=False),
    Column("signs_until_unix", UNIX_SECONDS, nullable=False),
    Column("verifies_until_unix", UNIX_SECONDS, nullable=False),
)


class Key(NamedTuple):
    """A row. It signs first, and verifies longer: until the last token that it signed has expired."""

    kid: str
    private_pem: str
    created_unix: float
    signs_until_unix: float
    verifies_until_unix: float

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r})"


def all(connection: Connection) -> list[Key]:
    """The newest first."""
    table = SIGNING_KEYS.c
    wanted = select(*(table[name] for name in Key._fields)).order_by(table.created_unix.desc(), table.kid)
    return [Key(*row) for row in connection.execute(wanted)]


def add(connection: Connection, key: Key) -> None:
    connection.execute(insert(SIGNING_KEYS).values(key._asdict()))


def retire(connection: Connection, now: float, verifies_until_unix: float) -> None:
    """Those that sign do not any more, and verify until then at the longest."""
    table = SIGNING_KEYS
    signing = table.c.signs_until_unix > now
    connection.execute(
        update(table).where(signing).values(signs_until_unix=now, verifies_until_unix=verifies_until_unix)
    )


def remove_expired(connection: Connection, now: float) -> None:
    connection.execute(delete(SIGNING_KEYS).where(SIGNING_KEYS.c.verifies_until_unix <= now))


def remove_all(connection: Connection) -> None:
    connection.execute(delete(SIGNING_KEYS))
