"""Uploads that are begun beforehand: how many, for whom, and for how long."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from cais.catalog.beforehand import Beforehand

MOST = 16


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ask(clock: Clock) -> Callable[..., int]:
    """Asks for an upload so long after the last one; how many the transaction begins besides (-1: there was one)."""
    numbers = itertools.count()

    def ask(beforehand: Beforehand, repository: str, later: float = 0.01) -> int:
        clock.now += later
        if beforehand.take(repository) is not None:
            return -1
        more = beforehand.wanted(repository)
        beforehand.made(repository, more, [f"{repository}-{next(numbers)}" for _ in range(more)])
        return more

    return ask


def test_the_quicker_they_come_the_more_are_begun(clock: Clock, ask: Callable[..., int]) -> None:
    beforehand = Beforehand(clock)
    asked = [ask(beforehand, "app") for _ in range(100)]
    assert [more for more in asked if more >= 0] == [0, 1, 3, 7, 15, 16, 16, 16, 16, 16]


def test_who_takes_a_while_pays_for_nobody_else(clock: Clock, ask: Callable[..., int]) -> None:
    beforehand = Beforehand(clock)
    assert [ask(beforehand, "app", 0.2) for _ in range(10)] == [0] * 10
    assert [ask(beforehand, name) for name in ("a", "b", "c")] == [0] * 3


def test_many_that_ask_at_once_do_not_each_begin_many(clock: Clock) -> None:
    beforehand = Beforehand(clock)
    under_way = []
    for _ in range(50):
        clock.now += 0.001
        under_way.append(beforehand.wanted("app"))
    assert sum(under_way) == MOST
    for wanted in under_way:
        beforehand.made("app", wanted, [])  # none of them could be begun
    clock.now += 0.001
    assert beforehand.wanted("app") == MOST


def test_one_is_of_one_repository_and_given_once(clock: Clock) -> None:
    beforehand = Beforehand(clock)
    beforehand.wanted("app")
    clock.now += 0.01
    beforehand.made("app", beforehand.wanted("app"), ["one"])
    assert beforehand.take("other") is None
    assert beforehand.take("app") == "one"
    assert beforehand.take("app") is None
    assert beforehand.left(all=True) == []


def test_what_nobody_asks_for_is_told_once_and_not_before_its_time(clock: Clock) -> None:
    beforehand = Beforehand(clock)
    assert not beforehand
    beforehand.wanted("app")
    clock.now += 0.01
    wanted = beforehand.wanted("app")
    assert beforehand.left(all=True) == [], "one is on its way"
    beforehand.made("app", wanted, ["one", "two"])
    clock.now += 1.9
    assert beforehand.left() == []
    assert beforehand.take("app") == "one"
    clock.now += 1.9
    assert beforehand.left() == [], "it was asked for meanwhile"
    clock.now += 0.2
    assert beforehand and beforehand.left() == ["two"]
    assert not beforehand and beforehand.take("app") is None
