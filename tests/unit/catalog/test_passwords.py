"""Passwords: right and wrong, remembered and forgotten, and what many attempts cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.catalog import passwords
from cais.catalog.attempts import Attempts, TooManyAttempts
from cais.catalog.passwords import Passwords, check_strength, hashed
from cais.errors import Invalid
from cais.records.database import Database

SECRET = "correct horse"
KEPT = hashed(SECRET)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/records.db")
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that argon2 was asked about."""
    asked: list[str] = []
    verify = passwords._verify

    def counted(kept: str, password: str) -> bool:
        asked.append(password)
        return verify(kept, password)

    monkeypatch.setattr(passwords, "_verify", counted)
    return asked


def test_a_hash_is_argon2id_and_never_the_same() -> None:
    assert KEPT.startswith("$argon2id$") and SECRET not in KEPT
    assert hashed(SECRET) != KEPT


def test_right_and_wrong(attempts: Attempts) -> None:
    checker = Passwords(attempts)
    assert checker.right("alice", SECRET, KEPT, "a")
    assert not checker.right("alice", SECRET + "x", KEPT, "a")
    assert not checker.right("nobody", SECRET, "", "a")
    assert not checker.right("alice", "\udc80", KEPT, "a")
    assert not checker.right("alice", SECRET, "no hash at all", "a")


def test_a_right_password_is_remembered_for_a_minute(attempts: Attempts, computed: list[str]) -> None:
    clock = Clock()
    checker = Passwords(attempts, clock)
    for _ in range(3):
        assert checker.right("alice", SECRET, KEPT, "a")
    assert len(computed) == 1
    clock.now += 61
    assert checker.right("alice", SECRET, KEPT, "a")
    assert len(computed) == 2
    assert SECRET.encode() not in b"".join(checker._known)


def test_how_long_it_will_take_is_no_answer(attempts: Attempts, computed: list[str]) -> None:
    clock = Clock()
    checker = Passwords(attempts, clock)
    assert not checker.was_right("alice", SECRET)
    assert checker.right("alice", SECRET, KEPT, "a") and checker.was_right("alice", SECRET)
    assert not checker.was_right("alice", "guess") and not checker.was_right("bob", SECRET)
    assert not checker.right("alice", SECRET, "", "a"), "the account is gone"
    clock.now += 61
    assert not checker.was_right("alice", SECRET)


def test_another_password_hash_is_another_question(attempts: Attempts, computed: list[str]) -> None:
    """Who changes the password shuts the old one out at once."""
    checker = Passwords(attempts)
    assert checker.right("alice", SECRET, KEPT, "a")
    assert not checker.right("alice", SECRET, hashed("another one"), "a")


def test_an_unknown_name_costs_as_much_as_a_known_one(attempts: Attempts, computed: list[str]) -> None:
    assert not Passwords(attempts).right("nobody", "guess", "", "a")
    assert computed == ["guess"]


def test_an_endless_password_costs_nothing(attempts: Attempts, computed: list[str]) -> None:
    assert not Passwords(attempts).right("alice", "x" * 5000, KEPT, "a")
    assert not Passwords(attempts).right("a" * 5000, "x", KEPT, "a")
    assert computed == []


def test_who_fails_too_often_waits_and_others_do_not(database: Database, computed: list[str]) -> None:
    clock = Clock()
    checker = Passwords(Attempts(database, clock), clock)
    for number in range(10):
        assert not checker.right("alice", f"guess {number}", KEPT, "bad")
    with pytest.raises(TooManyAttempts) as raised:
        checker.right("alice", "guess", KEPT, "bad")
    assert 0 < raised.value.retry_seconds <= 61 and "guess" not in str(raised.value)
    with pytest.raises(TooManyAttempts):
        checker.right("alice", SECRET, KEPT, "bad")
    assert len(computed) == 10
    assert checker.right("alice", SECRET, KEPT, "good")
    assert checker.right("alice", SECRET, KEPT, "bad"), "what is known to be right is not held off"
    assert not checker.right("bob", "guess", "", "bad")
    clock.now += 61
    assert not checker.right("alice", "guess", KEPT, "bad")


def test_processes_and_replicas_count_together(database: Database, computed: list[str]) -> None:
    clock = Clock()
    checkers = [Passwords(Attempts(database, clock), clock) for _ in range(3)]
    for number in range(10):
        assert not checkers[number % 3].right("alice", f"guess {number}", KEPT, "bad")
    for checker in checkers:
        with pytest.raises(TooManyAttempts):
            checker.right("alice", SECRET, KEPT, "bad")
    assert len(computed) == 10


def test_one_address_may_not_try_many_names(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_verify", lambda kept, password: False)
    clock = Clock()
    checkers = [Passwords(Attempts(database, clock), clock) for _ in range(2)]
    for number in range(100):
        assert not checkers[number % 2].right(f"name{number}", "guess", KEPT, "bad")
    with pytest.raises(TooManyAttempts):
        checkers[0].right("name100", "guess", KEPT, "bad")
    assert not checkers[0].right("name100", "guess", KEPT, "good")
    rows = "SELECT count(*) FROM sign_in_failures"
    with database.reading() as connection:
        assert connection.exec_driver_sql(rows).scalar() == 103
    clock.now += 61
    assert not checkers[1].right("name100", "guess", KEPT, "bad")
    with database.reading() as connection:
        assert connection.exec_driver_sql(rows).scalar() == 2, "what counts no more is not kept"


def test_a_wrong_password_that_comes_again_is_not_computed_again(attempts: Attempts, computed: list[str]) -> None:
    checker = Passwords(attempts)
    for _ in range(5):
        assert not checker.right("alice", "old password", KEPT, "a")
    assert computed == ["old password"]


def test_two_are_computed_at_a_time_and_a_crowd_is_turned_away(
    attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most, release, crowd = [0], [0], threading.Event(), threading.Event()
    lock = threading.Lock()

    def slow(kept: str, password: str) -> bool:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        release.wait(10)
        with lock:
            inside[0] -= 1
        return False

    monkeypatch.setattr(passwords, "_verify", slow)
    checker = Passwords(attempts)
    turned_away: list[int] = []

    def guess(number: int) -> None:
        try:
            checker.right(f"name{number}", "guess", KEPT, f"address{number}")
        except TooManyAttempts:
            turned_away.append(number)
            if len(turned_away) == 6:
                crowd.set()

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(70)]
    for thread in threads:
        thread.start()
    assert crowd.wait(10)
    release.set()
    for thread in threads:
        thread.join()
    assert most[0] == 2
    assert len(turned_away) == 6, "64 wait, or are at it"


def test_what_is_remembered_has_a_bound(attempts: Attempts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_verify", lambda kept, password: False)
    monkeypatch.setattr(passwords, "_REMEMBERED", 50)
    checker = Passwords(attempts)
    for number in range(200):
        checker.right(f"name{number}", "guess", KEPT, f"address{number}")
    assert len(checker._known) <= 50


@pytest.mark.parametrize("password", ["", "1234567", "cais_secret", "x" * 1025, "with\nnewline", "surrogate\udc80"])
def test_passwords_that_are_not_taken(password: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_strength(password)
    assert not password or password not in str(raised.value)
