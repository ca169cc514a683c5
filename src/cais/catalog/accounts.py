"""Accounts: people who sign in by a password, and organisations, whose members have what is granted to them.

An account's name is a namespace: repositories below ``alice/`` are alice's own, by a grant that she is given when she
is added. Changing a password, or disabling an account, ends what ``docker login`` has kept, at once; tokens that were
given before end within their few minutes.
"""

from __future__ import annotations

import re

from cais.catalog.passwords import check_strength, hashed
from cais.catalog.rules import ADMIN
from cais.errors import Conflict, Invalid, NotFound
from cais.records import accounts, grants
from cais.records.accounts import ORGANISATION, PERSON, Account
from cais.records.grants import To

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection

    from cais.records.database import Database

NAME_LIMIT = 64
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
# Words that mean something else where a name may stand, or namespaces that are nobody's.
_RESERVED = frozenset(("anonymous", "everyone", "library", "organisation", "robot", "v2"))


def check_name(name: str) -> str:
    """Returns it: it can be the first component of a repository's name. Raises Invalid."""
    if len(name) > NAME_LIMIT or _NAME.fullmatch(name) is None:
        raise Invalid(
            f"invalid name {name[:80]!r}",
            hint=f"A name has up to {NAME_LIMIT} lower-case letters and digits, joined by '.', '_' or '-'.",
        )
    if name in _RESERVED:
        raise Invalid(f"the name {name!r} is reserved")
    return name


class Accounts:
    """Users and organisations, by name, in the records."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, password: str, *, admin: bool = False, namespace: bool = True) -> None:
        """A person. ``namespace``: with all rights below its name. Raises Invalid, Conflict (the name is taken)."""
        kept = hashed(check_strength(password))
        self._add(name, PERSON, kept, admin=admin, namespace=namespace)

    def add_organisation(self, name: str) -> None:
        """Its members have all rights below its name. Raises Invalid, Conflict."""
        self._add(name, ORGANISATION, "", admin=False, namespace=True)

    def _add(self, name: str, kind: str, kept: str, *, admin: bool, namespace: bool) -> None:
        check_name(name)

        def write(connection: Connection) -> None:
            if accounts.by_name(connection, name) is not None:
                raise Conflict(f"the name {name!r} is taken")
            id = accounts.add(connection, name, kind, kept, is_admin=admin)
            if namespace:
                grants.put(connection, To(account_id=id), f"{name}/*", [ADMIN])

        self._database.write(write)

    def add_first(self, name: str, password: str) -> bool:
        """An administrator, where nobody can sign in yet. Whether it was added. Raises Invalid."""
        with self._database.reading() as connection:
            if accounts.any_person(connection):
                return False
        if not password:
            raise Invalid(
                f"the first administrator {name!r} has no password",
                hint="Set access.admin_password, or name a file by CAIS_REGISTRY_ACCESS_ADMIN_PASSWORD_FILE.",
            )
        try:
            self.add(name, password, admin=True)
        except Conflict:
            return False  # another replica was quicker
        return True

    def people(self) -> list[Account]:
        """By name."""
        with self._database.reading() as connection:
            return [account for account in accounts.all(connection) if account.kind == PERSON]

    def organisations(self) -> list[tuple[str, list[str]]]:
        """Names, and those of the members."""
        with self._database.reading() as connection:
            found = [account for account in accounts.all(connection) if account.kind == ORGANISATION]
            return [(account.name, accounts.members(connection, account.id)) for account in found]

    def set_password(self, name: str, password: str) -> None:
        """Raises Invalid, NotFound."""
        kept = hashed(check_strength(password))

        def write(connection: Connection) -> None:
            account = find(connection, name, PERSON)
            accounts.change(connection, account.id, password_hash=kept)
            accounts.end_logins(connection, account.id)

        self._database.write(write)

    def change(self, name: str, *, disabled: bool | None = None, admin: bool | None = None) -> None:
        """What is not None. Raises NotFound, Conflict (no administrator would be left)."""

        def write(connection: Connection) -> None:
            account = find(connection, name, PERSON)
            if disabled or admin is False:
                _keep_one_admin(connection, account)
            if disabled is not None:
                accounts.change(connection, account.id, is_disabled=disabled)
            if disabled:
                accounts.end_logins(connection, account.id)
            if admin is not None:
                accounts.change(connection, account.id, is_admin=admin)

        self._database.write(write)

    def remove(self, name: str) -> None:
        """With its grants, robots and memberships; repositories stay. Raises NotFound, Conflict (the last admin)."""

        def write(connection: Connection) -> None:
            account = find(connection, name, PERSON)
            _keep_one_admin(connection, account)
            accounts.remove(connection, account.id)

        self._database.write(write)

    def remove_organisation(self, name: str) -> None:
        """With its grants; members and repositories stay. Raises NotFound."""

        def write(connection: Connection) -> None:
            accounts.remove(connection, find(connection, name, ORGANISATION).id)

        self._database.write(write)

    def join(self, organisation: str, name: str) -> None:
        """Raises NotFound, Conflict (it is a member)."""

        def write(connection: Connection) -> None:
            group, account = find(connection, organisation, ORGANISATION), find(connection, name, PERSON)
            if group.id in accounts.organisations_of(connection, account.id):
                raise Conflict(f"{name} is a member of {organisation}")
            accounts.join(connection, group.id, account.id)

        self._database.write(write)

    def leave(self, organisation: str, name: str) -> None:
        """Raises NotFound."""

        def write(connection: Connection) -> None:
            group, account = find(connection, organisation, ORGANISATION), find(connection, name, PERSON)
            if not accounts.leave(connection, group.id, account.id):
                raise NotFound(f"{name} is no member of {organisation}")

        self._database.write(write)


def find(connection: Connection, name: str, kind: str) -> Account:
    """Raises NotFound."""
    account = accounts.by_name(connection, name)
    if account is None or account.kind != kind:
        raise NotFound(f"no such {'organisation' if kind == ORGANISATION else 'user'}: {name[:80]}")
    return account


def _keep_one_admin(connection: Connection, account: Account) -> None:
    """Who could not be let in again must not be shut out."""
    if accounts.admins(connection) == [account.id]:
        raise Conflict(f"{account.name} is the only administrator", hint="Make another one first.")
