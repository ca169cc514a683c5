"""Grants in the records, and what they add up to for somebody: ``rights_of`` is what the rules decide by."""

from __future__ import annotations

from cais.catalog import rules
from cais.catalog.accounts import find
from cais.catalog.rules import ACCOUNT, ANONYMOUS, EVERYONE, ORGANISATION, ROBOT, Grant, Rights, Subject
from cais.errors import NotFound
from cais.records import accounts, grants, robots
from cais.records.grants import To

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from cais.records.accounts import Account
    from cais.records.database import Database
    from cais.records.robots import Robot


class Grants:
    """What is granted to whom, in the records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Grant]:
        """By subject and pattern."""
        with self._database.reading() as connection:
            return [_grant(row) for row in grants.all(connection)]

    def put(self, who: str, pattern: str, actions: Iterable[str]) -> None:
        """The subject's only grant of this pattern from now on; ``who`` as ``Subject.parse`` reads it.

        Raises Invalid, NotFound (the subject).
        """
        subject = Subject.parse(who)
        rules.check_pattern(pattern)
        checked = rules.in_order(rules.check_actions(actions))
        self._database.write(lambda connection: grants.put(connection, _to(connection, subject), pattern, checked))

    def remove(self, who: str, pattern: str) -> None:
        """Raises Invalid, NotFound."""
        subject = Subject.parse(who)

        def write(connection: Connection) -> None:
            if not grants.remove(connection, _to(connection, subject), pattern):
                raise NotFound(f"nothing is granted to {subject} on {pattern[:80]!r}")

        self._database.write(write)


def rights_of(connection: Connection, subject: Subject, openness: str) -> Rights:
    """Now. Of a subject that is not there (any more), or may not sign in, none.

    ``openness`` is what those may do who do not sign in.
    """
    if subject.kind == ACCOUNT:
        account = accounts.by_name(connection, subject.name)
        return rules.NO_RIGHTS if account is None else account_rights(connection, account)
    if subject.kind == ROBOT:
        robot = robots.by_name(connection, subject.name)
        return rules.NO_RIGHTS if robot is None else robot_rights(connection, robot)
    if subject.kind == ANONYMOUS and openness != rules.OPEN_NOTHING:
        return rules.anonymous(openness, _grants(subject, grants.of_everyone(connection)))
    return rules.NO_RIGHTS


def account_rights(connection: Connection, account: Account) -> Rights:
    """None of an account that is disabled, or nobody's own."""
    if account.is_disabled or account.kind != accounts.PERSON:
        return rules.NO_RIGHTS
    subject = Subject(ACCOUNT, account.name)
    return Rights(subject, account.is_admin, True, _grants(subject, grants.of_account(connection, account.id)))


def robot_rights(connection: Connection, robot: Robot) -> Rights:
    within = None
    if robot.owner_id is not None:
        owner = accounts.by_id(connection, robot.owner_id)
        within = rules.NO_RIGHTS if owner is None else account_rights(connection, owner)
    subject = Subject(ROBOT, robot.name)
    return Rights(subject, False, True, _grants(subject, grants.of_robot(connection, robot.id)), within)


def _grants(subject: Subject, rows: list[grants.Allowed]) -> tuple[Grant, ...]:
    return tuple(Grant(subject, row.pattern, frozenset(row.actions)) for row in rows)


def _to(connection: Connection, subject: Subject) -> To:
    """Raises NotFound."""
    if subject.kind == EVERYONE:
        return grants.EVERYONE
    if subject.kind == ROBOT:
        robot = robots.by_name(connection, subject.name)
        if robot is None:
            raise NotFound(f"no such token: {subject.name[:80]}")
        return To(robot_id=robot.id)
    kind = accounts.ORGANISATION if subject.kind == ORGANISATION else accounts.PERSON
    return To(account_id=find(connection, subject.name, kind).id)


def _grant(row: grants.Grant) -> Grant:
    return Grant(Subject(row.kind, row.name), row.pattern, frozenset(row.actions))
