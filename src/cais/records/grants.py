"""Grants: which subject may do what with the repositories of a pattern."""

from __future__ import annotations

import time

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
)

from cais.records.accounts import ACCOUNTS, MEMBERS
from cais.records.metadata import IDENTITY, METADATA, UNIX_SECONDS, alone, name_type
from cais.records.robots import ROBOTS
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection

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


class Allowed(NamedTuple):
    """What a grant says, to whomever."""

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


# Asked at requests, so made once.
_TO_EVERYONE = and_(GRANTS.c.account_id.is_(None), GRANTS.c.robot_id.is_(None))
_ALLOWED = select(GRANTS.c.pattern, GRANTS.c.actions)
_GROUPS = select(MEMBERS.c.organisation_id).where(MEMBERS.c.account_id == bindparam("id"))
_OF_ACCOUNT = _ALLOWED.where(
    or_(GRANTS.c.account_id == bindparam("id"), GRANTS.c.account_id.in_(_GROUPS), _TO_EVERYONE)
)
_OF_ROBOT = _ALLOWED.where(or_(GRANTS.c.robot_id == bindparam("id"), _TO_EVERYONE))
_OF_EVERYONE = _ALLOWED.where(_TO_EVERYONE)


def of_account(connection: Connection, id: int) -> list[Allowed]:
    """Of a person: with those of its organisations, and everyone's."""
    return _allowed(connection, _OF_ACCOUNT, id)


def of_robot(connection: Connection, id: int) -> list[Allowed]:
    """With everyone's."""
    return _allowed(connection, _OF_ROBOT, id)


def of_everyone(connection: Connection) -> list[Allowed]:
    return _allowed(connection, _OF_EVERYONE, None)


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


def _allowed(connection: Connection, query: Any, id: int | None) -> list[Allowed]:
    found = connection.execute(query, {} if id is None else {"id": id})
    return [Allowed(pattern, tuple(actions.split(","))) for pattern, actions in found]


def _grant(row: Any) -> Grant:
    account_kind, account, robot, pattern, actions = row
    kind = "robot" if robot else "everyone" if not account else account_kind
    if kind == "person":
        kind = "account"
    return Grant(kind, robot or account or "", pattern, tuple(actions.split(",")))
