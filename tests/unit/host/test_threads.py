"""Threads that are waited for."""

from __future__ import annotations

import signal
import threading

import pytest

from cais.host.threads import Thread


class _Interrupt(Exception):
    pass


def test_who_is_interrupted_may_wait_again():
    go, done = threading.Event(), []

    def work() -> None:
        go.wait(20)
        done.append(sum(range(2_000_000)))

    def interrupt(number, frame):
        raise _Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(_Interrupt):
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    go.set()
    thread.join()
    assert done


def test_what_it_raises_is_its_end(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    thread = Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()


def test_a_limited_wait():
    go = threading.Event()
    thread = Thread(target=go.wait)
    thread.start()
    thread.join(0)
    assert thread.is_alive()
    go.set()
    thread.join()
