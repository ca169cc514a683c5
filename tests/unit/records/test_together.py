"""Changes that wait for another one are committed together, and each hears of its own end alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from sqlalchemy import text

from cais.errors import Conflict
from cais.records.database import Database
from cais.records.together import Together

MANY = 8
DEADLINE_SECONDS = 60.0


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database(f"sqlite:///{tmp_path}/registry.db")) as database:
        database.write(lambda connection: connection.execute(text("CREATE TABLE numbers (number INTEGER UNIQUE)")))
        yield database


def added(number: int) -> Callable[[Any], int]:
    """Adds it, and returns how many there are."""

    def write(connection: Any) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
        return connection.execute(text("SELECT count(*) FROM numbers")).scalar()

    return write


def numbers(database: Database) -> list[int]:
    with database.reading() as connection:
        return sorted(connection.execute(text("SELECT number FROM numbers")).scalars())


def while_one_writes(database: Database, actions: list[Callable[[Any], Any]]) -> list[Any]:
    """What each action returns or raises, when all come while another change is under way."""
    together = database._together
    is_open, may_end = threading.Event(), threading.Event()

    def first(connection: Any) -> None:
        is_open.set()
        assert may_end.wait(DEADLINE_SECONDS)

    with ThreadPoolExecutor(len(actions) + 1) as threads:
        one = threads.submit(database.write, first)
        assert is_open.wait(DEADLINE_SECONDS)
        others = []
        for count, action in enumerate(actions, 1):
            others.append(threads.submit(database.write, action))
            while len(together._waiting) < count:  # in this order
                os.sched_yield()
                assert not others[-1].done()
        may_end.set()
        one.result(DEADLINE_SECONDS)
        return [other.exception(DEADLINE_SECONDS) or other.result() for other in others]


def transactions(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each."""
    made: list[int] = []
    transaction = database._transaction

    def counted() -> Any:
        made.append(1)
        return transaction()

    monkeypatch.setattr(database, "_together", Together(counted))
    return made


def test_who_waits_is_written_with_all_who_wait(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    made = transactions(database, monkeypatch)
    found = while_one_writes(database, [added(number) for number in range(MANY)])
    assert found == [number + 1 for number in range(MANY)], "each sees those before it"
    assert len(made) == 2
    assert numbers(database) == [*range(MANY)]


def test_an_error_is_of_the_one_that_has_made_it(database: Database) -> None:
    def refused(connection: Any) -> None:
        connection.execute(text("INSERT INTO numbers VALUES (100)"))
        raise Conflict("not this one")

    def refused_by_driver(connection: Any) -> None:
        connection.connection.driver_connection.execute("INSERT INTO numbers VALUES (101)")
        raise Conflict("nor this one")

    actions = [added(1), refused, added(2), added(1), added(3), refused_by_driver]
    ended = while_one_writes(database, actions)
    assert isinstance(ended[5], Conflict)
    assert [ended[0], ended[2], ended[4]] == [1, 2, 3]
    assert isinstance(ended[1], Conflict)
    assert "not this one" in str(ended[1])
    assert isinstance(ended[3], Conflict)
    assert numbers(database) == [1, 2, 3]


def test_where_nothing_can_be_committed_all_hear_of_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise OSError("no room")

    together = Together(broken)
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            together.write(lambda connection: None)
    monkeypatch.setattr(database, "_together", together)
    with ThreadPoolExecutor(MANY) as threads:
        ended = [threads.submit(database.write, added(number)) for number in range(MANY)]
        assert all(isinstance(one.exception(DEADLINE_SECONDS), OSError) for one in ended)
    assert numbers(database) == []


def test_changes_of_many_threads_are_all_there(database: Database) -> None:
    with ThreadPoolExecutor(MANY) as threads:
        assert sorted(threads.map(lambda number: database.write(added(number)), range(10 * MANY))) == [
            *range(1, 10 * MANY + 1)
        ]
    assert numbers(database) == [*range(10 * MANY)]
