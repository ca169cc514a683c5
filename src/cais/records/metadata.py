"""The one MetaData of the servers' tables, and types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import BigInteger, Double, Integer, MetaData, String, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

# Names of constraints must be known to be changed by a later migration.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts up only what it calls INTEGER.
IDENTITY = BigInteger().with_variant(Integer(), "sqlite")
UNIX_SECONDS: Double[float] = Double()
DIGEST = String(200)


def alone(connection: Connection, table: Table) -> None:
    """Nobody else changes the table until this transaction ends: for rules about several rows of which rows are few.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE"))


def name_type(length: int) -> String:
    """A text that is sorted byte by byte on both: PostgreSQL would sort by the language of its cluster."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")
