"""Who asks, and what they may: on real records."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cais.catalog import access as module
from cais.catalog.access import Access, NotGranted, NotKnown, Who
from cais.catalog.accounts import Accounts
from cais.catalog.attempts import TooManyAttempts
from cais.catalog.errors import NameUnknown, NotAllowed
from cais.catalog.grants import Grants
from cais.catalog.keys import SigningKeys
from cais.catalog.robots import Robots
from cais.catalog.scopes import parse
from cais.catalog.settings import AccessSettings
from cais.errors import Conflict, Invalid, NotFound, Unavailable
from cais.records import repositories
from cais.records.database import Database

PASSWORD = "correct horse"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def copied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The URL of a copy of one of two databases, which are made once: ``empty``, and ``full`` of people."""
    if request.param == "sqlite":
        directory = tmp_path_factory.mktemp("records")

        def copy(url: str) -> str:
            target = directory / f"{len(list(directory.iterdir()))}.db"
            shutil.copy(url.removeprefix("sqlite:///"), target)
            return f"sqlite:///{target}"

        empty = f"sqlite:///{directory}/empty.db"
    else:
        postgres = request.getfixturevalue("postgres")

        def copy(url: str) -> str:
            return str(postgres.database(url.rpartition("/")[2]))

        empty = postgres.database()
    made = Database(empty)
    made.upgrade()
    made.close()
    full = copy(empty)
    made = Database(full)
    accounts = Accounts(made)
    accounts.add("root", PASSWORD, admin=True)
    accounts.add("alice", PASSWORD)
    accounts.add("bob", PASSWORD)
    for name, public in (("alice/app", False), ("team/app", False), ("open/app", True)):
        repository(made, name, public)
    made.close()
    return lambda name: copy({"empty": empty, "full": full}[name])


@pytest.fixture
def database(request: pytest.FixtureRequest, copied: Callable[[str], str]) -> Iterator[Database]:
    """With people and repositories where the test asks for ``access``."""
    made = Database(copied("full" if "access" in request.fixturenames else "empty"))
    yield made
    made.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


@pytest.fixture
def access(database: Database) -> Access:
    return Access(database, AccessSettings(anonymous="read"))


def repository(database: Database, name: str, public: bool) -> None:
    def write(connection) -> None:  # type: ignore[no-untyped-def]
        repositories.ensure(database, connection, name, public=public)

    database.write(write)


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def bearer(access: Access, who: Who, *scopes: str) -> Who:
    return access.identify("Bearer " + access.issue(who, parse(scopes))[0].token)


def allowed(access: Access, who: Who, *names: str) -> list[str]:
    names = names or ("alice/app", "team/app", "open/app", "new/app")
    return [f"{name}:{action}" for name in names for action in ("pull", "push", "delete")
            if access.allows(who, action, name)]  # fmt: skip


def test_an_account_has_its_namespace_and_what_is_public(access: Access) -> None:
    alice = access.identify(basic("alice"))
    assert alice.name == "alice"
    assert allowed(access, alice) == ["alice/app:pull", "alice/app:push", "alice/app:delete", "open/app:pull"]
    assert len(allowed(access, access.identify(basic("root")))) == 12


def test_grants_come_and_go_at_once(access: Access, database: Database) -> None:
    grants = Grants(database)
    grants.put("bob", "team/*", ["push", "pull"])
    assert allowed(access, access.identify(basic("bob")), "team/app") == ["team/app:pull", "team/app:push"]
    grants.put("bob", "team/*", ["pull"])
    assert allowed(access, access.identify(basic("bob")), "team/app") == ["team/app:pull"]
    grants.remove("bob", "team/*")
    assert allowed(access, access.identify(basic("bob")), "team/app") == []
    with pytest.raises(NotFound):
        grants.remove("bob", "team/*")
    with pytest.raises(NotFound):
        grants.put("nobody", "team/*", ["pull"])


def test_members_have_what_is_granted_to_their_organisation(
    access: Access, accounts: Accounts, database: Database
) -> None:
    accounts.add_organisation("team")
    Grants(database).put("organisation:team", "open/*", ["push"])
    assert allowed(access, access.identify(basic("bob")), "team/app") == []
    accounts.join("team", "bob")
    assert accounts.organisations() == [("team", ["bob"])]
    bob = access.identify(basic("bob"))
    assert allowed(access, bob, "team/app") == ["team/app:pull", "team/app:push", "team/app:delete"]
    assert allowed(access, bob, "open/app") == ["open/app:pull", "open/app:push"]
    accounts.leave("team", "bob")
    assert allowed(access, access.identify(basic("bob")), "team/app") == []
    with pytest.raises(NotKnown):
        access.identify(basic("team", ""))


@pytest.mark.parametrize("openness", ["none", "read", "write"])
def test_who_says_nothing(access: Access, database: Database, openness: str) -> None:
    Grants(database).put("everyone", "team/*", ["pull", "push"])
    opened = Access(database, AccessSettings(anonymous=openness))
    expected = {"none": [], "read": ["team/app:pull", "open/app:pull"]}
    found = allowed(opened, opened.identify(""))
    assert found == expected[openness] if openness != "write" else len(found) == 12


@pytest.mark.parametrize(
    "authorization",
    [
        basic("alice", "wrong horse"), basic("nobody"), basic("", ""), basic("alice", ""),
        basic("alice", "cais_" + "x" * 43),
        "Basic", "Basic ", "Basic !!!", "Basic YWxpY2U=", "Basic " + "A" * 9000, "Basic /w==", "Bearer", "Bearer x",
        "Digest username=alice", "nonsense", "Bearer " + "e30." * 3,
    ],
)  # fmt: skip
def test_credentials_that_are_none(access: Access, authorization: str) -> None:
    with pytest.raises(NotKnown) as raised:
        access.identify(authorization)
    assert "horse" not in str(raised.value) and "cais_" not in str(raised.value)


def test_a_token_allows_what_its_scope_says(access: Access) -> None:
    alice = access.identify(basic("alice"))
    who = bearer(access, alice, "repository:alice/app:pull,push repository:team/app:pull repository:open/app:pull,push")
    assert who.name == "alice"
    assert allowed(access, who) == ["alice/app:pull", "alice/app:push", "open/app:pull"]
    assert allowed(access, bearer(access, alice, "repository:alice/app:*"), "alice/app") == allowed(
        access, alice, "alice/app"
    )
    assert allowed(access, bearer(access, alice)) == []
    assert allowed(access, bearer(access, alice, "repository:Not/A/Name:pull", "other:alice/app:pull")) == []


def test_a_token_of_nobody_reads_what_is_public(access: Access) -> None:
    who = bearer(access, access.identify(""), "repository:open/app:pull,push", "repository:alice/app:pull")
    assert allowed(access, who) == ["open/app:pull"]
    assert who.name == ""


def test_a_token_does_not_buy_another(access: Access) -> None:
    who = bearer(access, access.identify(basic("alice")), "repository:alice/app:pull")
    with pytest.raises(NotKnown):
        access.issue(who, parse(["repository:alice/app:push"]))
    assert access.begin_login(who, "docker") == ""


def test_nobody_gets_a_token_where_nothing_is_open(access: Access, database: Database) -> None:
    closed = Access(database, AccessSettings(anonymous="none"))
    with pytest.raises(NotKnown):
        closed.issue(closed.identify(""), ())


def test_what_is_refused_looks_as_if_it_were_not_there(access: Access) -> None:
    """The same answer for what is there and for what is not, for each way of asking."""

    def answer(who: Who, action: str, name: str) -> tuple[str, ...]:
        with pytest.raises(Exception) as raised:
            access.require(who, action, name)
        error = raised.value
        text = f"{error} {getattr(error, 'scope', '')}".replace(name, "NAME")
        return type(error).__name__, text, getattr(error, "problem", "")

    bob = access.identify(basic("bob"))
    for who in (bob, access.identify(""), bearer(access, bob, "repository:bob/x:pull")):
        for action in ("pull", "push", "delete"):
            assert answer(who, action, "alice/app") == answer(who, action, "alice/none")
    with pytest.raises(NameUnknown):
        access.require(bob, "pull", "alice/app")
    with pytest.raises(NotAllowed):
        access.require(bob, "push", "alice/app")
    with pytest.raises(NotKnown) as raised:
        access.require(access.identify(""), "push", "alice/app")
    assert (raised.value.scope, raised.value.problem) == ("repository:alice/app:pull,push", "")
    with pytest.raises(NotGranted) as refused:
        access.require(bearer(access, bob), "delete", "alice/app")
    assert (refused.value.scope, refused.value.problem) == ("repository:alice/app:delete", "insufficient_scope")


def test_robots(access: Access, database: Database) -> None:
    robots = Robots(database)
    secret = robots.create("ci", [("team/*", ["pull", "push"])], lasts_seconds=60)
    robot = access.identify(basic("ci", secret))
    assert robot.name == "robot:ci"
    assert allowed(access, robot) == ["team/app:pull", "team/app:push", "open/app:pull"]
    assert allowed(access, bearer(access, robot, "repository:team/app:*")) == ["team/app:pull", "team/app:push"]
    assert access.begin_login(robot, "docker") == ""
    with pytest.raises(NotKnown):
        access.identify(basic("alice", secret))
    with pytest.raises(Conflict):
        robots.create("ci", [], lasts_seconds=None)
    (row,) = robots.all()
    assert row.used_unix is not None and secret not in repr(row)
    Grants(database).put("robot:ci", "new/app", ["pull"])
    assert "new/app:pull" in allowed(access, access.identify(basic("ci", secret)))
    robots.revoke("ci")
    with pytest.raises(NotKnown):
        access.identify(basic("ci", secret))
    assert all(grant.subject.kind != "robot" for grant in Grants(database).all())
    with pytest.raises(NotFound):
        robots.revoke("ci")


def test_what_looks_like_a_secret_is_never_hashed(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access._passwords, "right", lambda *_: pytest.fail("hashed"))
    assert not access.takes_time("alice", "cais_guess") and access.takes_time("alice", "guess")
    with pytest.raises(NotKnown):
        access.identify(basic("alice", "cais_guess"))


def test_a_robot_ends(access: Access, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Robots(database).create("ci", [("team/*", ["pull"])], lasts_seconds=60)
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 61)
    with pytest.raises(NotKnown, match="expired"):
        access.identify(basic("ci", secret))


def test_a_robot_of_an_account_does_no_more_than_it(access: Access, accounts: Accounts, database: Database) -> None:
    secret = Robots(database).create("ci", [("*", ["pull", "push"])], owner="alice", lasts_seconds=None)
    for name in ("ci", "alice"):
        robot = access.identify(basic(name, secret))
        assert allowed(access, robot) == ["alice/app:pull", "alice/app:push", "open/app:pull"]
    accounts.change("alice", disabled=True)
    assert allowed(access, access.identify(basic("ci", secret))) == []
    accounts.remove("alice")
    with pytest.raises(NotKnown):
        access.identify(basic("ci", secret))


def test_a_login_is_kept_and_ends_with_the_password(access: Access, accounts: Accounts) -> None:
    kept = access.begin_login(access.identify(basic("alice")), "docker")
    assert allowed(access, access.resume_login(kept), "alice/app") != []
    accounts.set_password("alice", "another horse")
    for secret in (kept, "caislogin_x", "", "x" * 9000):
        with pytest.raises(NotKnown):
            access.resume_login(secret)
    with pytest.raises(NotKnown):
        access.identify(basic("alice"))
    assert access.identify(basic("alice", "another horse")).name == "alice"


def test_a_login_ends_by_itself(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = access.begin_login(access.identify(basic("alice")), "docker")
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now + 91 * 86400)
    with pytest.raises(NotKnown):
        access.resume_login(kept)


def test_who_is_disabled_is_out_at_once(access: Access, accounts: Accounts) -> None:
    kept = access.begin_login(access.identify(basic("alice")), "docker")
    token = bearer(access, access.identify(basic("alice")), "registry:catalog:*")
    accounts.change("alice", disabled=True)
    with pytest.raises(NotKnown):
        access.identify(basic("alice"))
    with pytest.raises(NotKnown):
        access.resume_login(kept)
    (seen,) = access.seen(token)
    assert seen == (False, False, ())
    accounts.change("alice", disabled=False)
    assert access.identify(basic("alice")).name == "alice"
    with pytest.raises(NotKnown):
        access.resume_login(kept)


def test_the_last_administrator_stays(access: Access, accounts: Accounts) -> None:
    for change in ({"disabled": True}, {"admin": False}):
        with pytest.raises(Conflict, match="only administrator"):
            accounts.change("root", **change)
    with pytest.raises(Conflict):
        accounts.remove("root")
    accounts.change("alice", admin=True)
    accounts.remove("root")
    assert [account.name for account in accounts.people()] == ["alice", "bob"]


def test_a_name_that_is_taken_again_inherits_nothing(access: Access, accounts: Accounts, database: Database) -> None:
    Grants(database).put("bob", "team/*", ["admin"])
    accounts.remove("bob")
    accounts.add("bob", PASSWORD, namespace=False)
    assert allowed(access, access.identify(basic("bob")), "team/app", "bob/x") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.text(max_size=80) | st.sampled_from(["Basic ", "Bearer ", "bearer x.y.", "BASIC "]).flatmap(
    lambda scheme: st.text(max_size=60).map(lambda rest: scheme + rest)
) | st.binary(max_size=40).map(lambda raw: "Basic " + base64.b64encode(raw).decode()))  # fmt: skip
def test_no_header_is_believed_or_fails_otherwise(access: Access, authorization: str) -> None:
    # Guesses need no argon2 here.
    access._passwords.right = lambda name, password, kept, address: False  # type: ignore[method-assign]
    try:
        who = access.identify(authorization, authorization[:8])
    except (NotKnown, TooManyAttempts):
        return
    assert not authorization and not who.name


@pytest.mark.parametrize("name", ["", "Alice", "a b", "a/b", "-a", "a..b", "everyone", "library", "x" * 65, "é", "a\n"])
def test_names_that_are_not_taken(accounts: Accounts, name: str) -> None:
    with pytest.raises(Invalid):
        accounts.add(name, PASSWORD)


def test_the_first_administrator_is_added_once(database: Database, accounts: Accounts) -> None:
    with pytest.raises(Invalid, match="has no password"):
        accounts.add_first("root", "")
    assert accounts.add_first("root", PASSWORD)
    assert not accounts.add_first("other", PASSWORD)
    assert [(account.name, account.is_admin) for account in accounts.people()] == [("root", True)]
    with pytest.raises(Conflict, match="taken"):
        accounts.add("root", PASSWORD)


def test_lists_show_what_may_be_pulled(access: Access, database: Database) -> None:
    Grants(database).put("bob", "team/*", ["push"])
    (seen,) = access.seen(access.identify(basic("bob")))
    assert seen == (False, True, ("bob/*",))
    with pytest.raises(NotKnown) as raised:
        access.require(access.identify(""), "list", "")
    assert raised.value.scope == "registry:catalog:*"
    assert access.seen(bearer(access, access.identify(""), "registry:catalog:*")) == ((False, True, ()),)
    with pytest.raises(NotGranted):
        access.require(bearer(access, access.identify(basic("bob")), "repository:bob/x:pull"), "list", "")


def test_where_clients_learn_how_to_sign_in(access: Access, database: Database) -> None:
    with pytest.raises(NotKnown):
        access.require(access.identify(""), "enter", "")
    access.require(access.identify(basic("bob")), "enter", "")
    access.require(bearer(access, access.identify("")), "enter", "")
    opened = Access(database, AccessSettings(anonymous="write"))
    opened.require(opened.identify(""), "enter", "")


def test_what_is_remembered_asks_no_database(access: Access, database: Database) -> None:
    token = "Bearer " + access.issue(access.identify(basic("bob")), parse(["repository:bob/x:pull"]))[0].token
    assert access.remembered(token) is None
    access.identify(token)
    database.close()
    database.reading = None  # type: ignore[assignment,method-assign]
    who = access.remembered(token)
    assert who is not None and access.allows(who, "pull", "bob/x") and not access.allows(who, "push", "bob/x")


def test_keys_rotate_and_overlap(database: Database) -> None:
    now = [1000.0]
    one, two = (SigningKeys(database, 300, 3600, lambda: now[0]) for _ in range(2))
    first = one.signing()
    assert two.signing().kid == first.kid, "replicas sign with the same key"
    now[0] += 3601
    second = one.signing()
    assert second.kid != first.kid
    assert two.verifying(second.kid) is not None, "a key that another replica has made is known at once"
    assert two.verifying(first.kid) is not None, "what was signed just before is still believed"
    now[0] += 500
    assert two.verifying(first.kid) is None and not two.has(first.kid)
    assert two.has(second.kid)
    third = two.rotate()
    assert one.verifying(third) is not None and one.verifying(second.kid) is not None
    now[0] += 61
    assert one.signing().kid == third
    last = two.rotate(forget=True)
    now[0] += 2
    assert two.verifying(second.kid) is None and two.verifying(third) is None
    assert one.verifying(last) is not None and one.verifying(third) is None
    assert [key.kid for key in one.all()] == [last] and "PRIVATE" not in repr(one.all())


def test_kids_that_are_made_up_do_not_ask_the_records_each_time(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = SigningKeys(database, 300, 3600)
    keys.signing()
    read = keys.all
    asked: list[int] = []
    monkeypatch.setattr(keys, "all", lambda: (asked.append(1), read())[1])
    for number in range(20):
        assert keys.verifying(f"made-up-{number}") is None
    assert len(asked) <= 1


def test_keys_are_encrypted_where_there_is_a_secret(database: Database) -> None:
    def kept() -> list[str]:
        with database.reading() as connection:
            return [row[0] for row in connection.exec_driver_sql("SELECT private_pem FROM signing_keys")]

    plain = SigningKeys(database, 300, 3600).signing()
    keys = SigningKeys(database, 300, 3600, secret="one secret of all replicas")
    signing = keys.signing()
    assert signing.kid != plain.kid, "what was for anybody to read signs no more"
    assert keys.verifying(plain.kid) is not None, "its tokens are good until they end"
    assert SigningKeys(database, 300, 3600, secret="one secret of all replicas").signing().kid == signing.kid
    assert sorted("ENCRYPTED" in pem for pem in kept()) == [False, True]
    for wrong in ("", "another secret"):
        with pytest.raises(Unavailable) as raised:
            SigningKeys(database, 300, 3600, secret=wrong).signing()
        assert "access.key_secret" in raised.value.message and "one secret" not in str(raised.value)
    new = SigningKeys(database, 300, 3600, secret="another secret").rotate(forget=True)
    assert SigningKeys(database, 300, 3600, secret="another secret").signing().kid == new
    assert all("ENCRYPTED" in pem for pem in kept())


def test_a_longer_lifetime_of_tokens_makes_a_new_key(database: Database) -> None:
    old = SigningKeys(database, 300, 3600).signing()
    assert SigningKeys(database, 7200, 3600).signing().kid != old.kid
