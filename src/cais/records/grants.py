"""Grants: which subject may do what with the repositories of a pattern."""

from __future__ import annotations

import time

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, String, Table, and_, delete, insert, or_, select

from cais.records.accounts import ACCOUNTS
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, alone, name_type
from cais.records.robots import ROBOTS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import ColumnElement, Connection

# Neither an account (a person or an organisation) nor a robot: everyone. What is granted to somebody goes with them,
# so that who takes the name later does not inherit it.
GRANTS = Table(
    "grants",
    METADATA,
    Column("id", IDENTITY, primary_key=True),
    Column("account_id", IDENTITY, ForeignKey("accounts.id", ondelete="CASCADE")),
    Column("robot_id", IDENTITY, ForeignKey("robots.id", ondelete="CASCADE")),
    Column("pattern", name_type(255), nullable=False),
    Column("actions", String(64), nullable=False),
    Column("created_unix", UNIX_SECONDS, nullable=False),
    CheckConstraint("account_id IS NULL OR robot_id IS NULL", name="ck_grants_one_subject"),
    Index(None, "account_id"),
    Index(None, "robot_id"),
)


class Grant(NamedTuple):
    """A row with its subject's name; ``kind`` is ``account``, ``organisation``, ``robot`` or ``everyone``."""

    kind: str
    name: str
    pattern: str
    actions: tuple[str, ...]


class To(NamedTuple):
    """A subject by its id: at most one of the two."""

    account_id: int | None = None
    robot_id: int | None = None


EVERYONE = To()
_ROWS = (
    select(ACCOUNTS.c.kind, ACCOUNTS.c.name, ROBOTS.c.name, GRANTS.c.pattern, GRANTS.c.actions)
    .select_from(GRANTS)
    .outerjoin(ACCOUNTS, ACCOUNTS.c.id == GRANTS.c.account_id)
    .outerjoin(ROBOTS, ROBOTS.c.id == GRANTS.c.robot_id)
)


def of(connection: Connection, subjects: Sequence[To]) -> list[Grant]:
    """What is granted to any of them."""
    table = GRANTS.c
    accounts = [to.account_id for to in subjects if to.account_id is not None]
    robots = [to.robot_id for to in subjects if to.robot_id is not None]
    clauses: list[ColumnElement[bool]] = []
    if accounts:
        clauses.append(table.account_id.in_(accounts))
    if robots:
        clauses.append(table.robot_id.in_(robots))
    if EVERYONE in subjects:
        clauses.append(and_(table.account_id.is_(None), table.robot_id.is_(None)))
    if not clauses:
        return []
    return [_grant(row) for row in connection.execute(_ROWS.where(or_(*clauses)))]


def all(connection: Connection) -> list[Grant]:
    """By subject and pattern."""
    return sorted(_grant(row) for row in connection.execute(_ROWS))


def put(connection: Connection, to: To, pattern: str, actions: Sequence[str]) -> None:
    """The subject's only grant of this pattern from now on."""
    alone(connection, GRANTS)
    remove(connection, to, pattern)
    row = {
        "account_id": to.account_id, "robot_id": to.robot_id, "pattern": pattern, "actions": ",".join(actions),
        "created_unix": time.time(),
    }  # fmt: skip
    connection.execute(insert(GRANTS).values(row))


def remove(connection: Connection, to: To, pattern: str) -> bool:
    """Whether there was one."""
    table = GRANTS.c
    # A comparison with None is IS NULL.
    here = (table.account_id == to.account_id, table.robot_id == to.robot_id, table.pattern == pattern)
    return bool(connection.execute(delete(GRANTS).where(*here)).rowcount)


def _grant(row: Any) -> Grant:
    account_kind, account, robot, pattern, actions = row
    kind = "robot" if robot else "everyone" if not account else account_kind
    if kind == "person":
        kind = "account"
    return Grant(kind, robot or account or "", pattern, tuple(actions.split(",")))
