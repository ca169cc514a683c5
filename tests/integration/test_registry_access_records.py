"""Accounts, grants and keys in both databases, and several replicas at once on them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from cais.catalog import rules
from cais.catalog.access import Access, NotKnown
from cais.catalog.administration import Administration
from cais.catalog.keys import SigningKeys
from cais.catalog.rules import Grant, Rights, Subject, decide, seen
from cais.catalog.scopes import parse
from cais.catalog.settings import AccessSettings, CatalogSettings
from cais.errors import Conflict
from cais.records import repositories
from cais.records.database import Database
from registry_people import PASSWORD, basic

NAMES = ("a", "a/b", "a_b", "axb", "a-b/c", "b/a", "a/b_c", "long/er.name")
ALICE = Subject("account", "alice")


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a database of this module's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('records')}/registry.db"
    return str(request.getfixturevalue("postgres").database())


@pytest.fixture(scope="module")
def database(url: str) -> Iterator[Database]:
    made = Database(url)
    made.upgrade()

    def write(connection: Any) -> None:
        for number, name in enumerate(NAMES):
            repositories.ensure(made, connection, name, public=number % 2 == 0)

    made.write(write)
    yield made
    made.close()


PATTERNS = st.sampled_from(["a", "a/*", "*", "*b", "a_b", "a*", "*_*", "a*b", "*.*", "a-b/c", "b/*a"])
RULES = st.builds(
    Rights, st.just(ALICE), st.just(False), st.booleans(),
    st.lists(st.builds(Grant, st.just(ALICE), PATTERNS, st.just(frozenset(["pull"]))), max_size=3).map(tuple),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(RULES, st.none() | RULES)
def test_a_list_of_the_database_is_what_the_rules_say(database: Database, rights: Rights, owner: Rights | None) -> None:
    asked = rights._replace(within=owner)
    with database.reading() as connection:
        found = repositories.page(connection, "", 100, seen(asked))
    expected = [name for number, name in enumerate(NAMES) if rules.PULL in decide(asked, name, public=number % 2 == 0)]
    assert found == sorted(expected)


def test_a_list_for_somebody_who_is_granted_very_much(database: Database) -> None:
    patterns = [f"team{number}/*" for number in range(1500)] + [f"one{number}" for number in range(1500)]
    for more, expected in ([], []), (["a/*"], ["a/b", "a/b_c"]), (["a_b"], ["a_b"]):
        with database.reading() as connection:
            assert repositories.page(connection, "", 100, [(False, False, patterns + more)]) == expected


def at_once(count: int, action: Callable[[int], object]) -> list[object]:
    """What the calls return, or raise, that begin together."""
    barrier, found = threading.Barrier(count), list[object]()

    def work(number: int) -> None:
        barrier.wait(30)
        try:
            found.append(action(number))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_the_whole_of_it(url: str, database: Database) -> None:
    """What the unit tests look at on SQLite, once through on both."""
    with Administration.open(CatalogSettings("/nowhere", database=url)) as records:
        records.accounts.add("root", PASSWORD, admin=True)
        records.accounts.add("alice", PASSWORD)
        records.accounts.add_organisation("acme")
        records.accounts.join("acme", "alice")
        records.grants.put("organisation:acme", "a/*", ["pull", "push"])
        records.grants.put("everyone", "b/*", ["pull"])
        records.grants.put("everyone", "b/*", ["pull"])
        secret = records.robots.create("ci", [("a_b", ["push"])], owner="alice", lasts_seconds=60)
        access = Access(database, AccessSettings(anonymous="read"))
        alice = access.identify(basic("alice")["Authorization"])
        assert access.allows(alice, "push", "a/b") and not access.allows(alice, "push", "a_b")
        robot = access.identify(basic("ci", secret)["Authorization"])
        assert not access.allows(robot, "push", "a_b")
        signed, allowed = access.issue(alice, parse(["repository:a/b:pull,delete", "repository:b/a:pull"]))
        assert [scope.actions for scope in allowed] == [("pull",), ("pull",)]
        assert access.identify(f"Bearer {signed.token}").name == "alice"
        kept = access.begin_login(alice, "docker")
        assert access.resume_login(kept).name == "alice"
        assert len(records.grants.all()) == 6
        records.accounts.remove("alice")
        for attempt in (lambda: access.resume_login(kept), lambda: access.sign_in("ci", secret)):
            with pytest.raises(NotKnown):
                attempt()
        assert {str(grant.subject) for grant in records.grants.all()} == {"root", "organisation:acme", "everyone"}


def test_several_at_once(url: str, database: Database) -> None:
    others = [Database(url) for _ in range(4)]
    people = [Administration(other, CatalogSettings("/nowhere", database=url)) for other in others]
    try:
        done = at_once(4, lambda number: people[number].accounts.add("carol", PASSWORD))
        assert done.count(None) == 1 and sum(isinstance(one, Conflict) for one in done) == 3, done
        at_once(4, lambda number: people[number].grants.put("carol", "x/*", ["pull"]))
        assert [grant.pattern for grant in people[0].grants.all() if str(grant.subject) == "carol"] == [
            "carol/*",
            "x/*",
        ]
        people[0].accounts.change("carol", admin=True)
        done = at_once(2, lambda number: people[number].accounts.change(("root", "carol")[number], admin=False))
        assert done.count(None) == 1 and sum(isinstance(one, Conflict) for one in done) == 1, done
        rings = [SigningKeys(other, 300, 3600) for other in others]
        signing = at_once(4, lambda number: rings[number].signing())
        for key in signing:
            assert all(ring.verifying(key.kid) is not None for ring in rings), "each believes what any has signed"
    finally:
        for other in others:
            other.close()
