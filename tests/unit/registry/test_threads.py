"""Threads that do an event loop's waiting."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from cais.registry.threads import Threads

DEADLINE_SECONDS = 60.0


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads(2, "test")
    yield threads
    threads.close()
    assert not any(thread.is_alive() for thread in threads._threads)


def test_results_and_errors_come_back_to_the_loop(threads: Threads) -> None:
    def failing() -> None:
        raise KeyError("this")

    async def go() -> None:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        assert await threads.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(KeyError, match="this"):
            await threads.run(failing)
        assert await asyncio.gather(*(threads.run(pow, 2, number) for number in range(100))) == [
            2**number for number in range(100)
        ]

    asyncio.run(go())


def test_who_waits_no_more_disturbs_nobody(threads: Threads) -> None:
    may_end = threading.Event()

    async def go() -> None:
        cancelled = threads.run(may_end.wait, DEADLINE_SECONDS)
        cancelled.cancel()
        other = threads.run(may_end.wait, DEADLINE_SECONDS)
        may_end.set()
        assert await other
        assert cancelled.cancelled()
        assert await threads.run(int, "5") == 5

    asyncio.run(go())


def test_what_was_begun_is_done_when_the_loop_has_ended() -> None:
    threads = Threads(1, "test")
    may_end = threading.Event()
    done: list[int] = []

    def late() -> None:
        assert may_end.wait(DEADLINE_SECONDS)
        done.append(1)

    async def go() -> None:
        threads.run(late)
        threads.run(done.append, 2)

    asyncio.run(go())
    may_end.set()
    threads.close()
    assert done == [1, 2]


def test_an_idle_thread_holds_nothing_of_what_it_did(threads: Threads) -> None:
    class Body:
        pass

    async def go() -> weakref.ref[Body]:
        body = Body()
        await threads.run(id, body)
        return weakref.ref(body)

    held = asyncio.run(go())
    deadline = time.monotonic() + DEADLINE_SECONDS
    while held() is not None:
        assert time.monotonic() < deadline
        os.sched_yield()
