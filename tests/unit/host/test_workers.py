"""The same work on several things."""

from __future__ import annotations

import threading

import pytest

from cais.host.workers import for_each


def test_all_of_them_each_once():
    done = []
    for_each(range(100), done.append)
    assert sorted(done) == list(range(100))
    for_each((), done.append)
    for_each([100], done.append)
    assert len(done) == 101


def test_one_is_done_where_we_are():
    found = []
    for_each(["only"], lambda item: found.append(threading.current_thread()))
    assert found == [threading.current_thread()]


def test_the_first_failure_ends_it():
    begun = []

    def fail(item: int) -> None:
        begun.append(item)
        raise ValueError(str(item))

    with pytest.raises(ValueError):
        for_each(range(1000), fail)
    assert len(begun) < 1000
