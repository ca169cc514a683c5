"""The wait for a move to a control group, ahead of time: it changes nothing, ends by itself, and is not for ordinary
users. In children: who is put where, and with how many threads, is a fact of a process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cais.runtime import cgroup_moves

_PATIENCE_SECONDS = 20


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _groups() -> str:
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return file.read()


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def _can_be_written() -> bool:
    return any(os.access(f"/sys/fs/cgroup{path}/cgroup.procs", os.W_OK) for path in ("", "/systemd", "/cpu", "/pids"))


@pytest.mark.root
def test_one_thread_asks_until_it_need_not_and_moves_nothing(
    in_child: Callable[[Callable[[], object]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not _can_be_written():
        pytest.skip("there are no control groups that could be written")
    monkeypatch.setattr(cgroup_moves, "_FORESEEN_SECONDS", 600)

    def child() -> None:
        groups, descriptors, threads = _groups(), sorted(os.listdir("/proc/self/fd")), _threads()
        foresight = cgroup_moves.Foresight()
        for _ in range(2):
            foresight.ask()
            foresight.ask()
            assert _threads() == threads + 1
            foresight._until = 0.0
            _until(lambda: _threads() == threads)
            assert sorted(os.listdir("/proc/self/fd")) == descriptors
            assert _groups() == groups

    in_child(child)


@pytest.mark.root
def test_it_ends_by_itself(in_child: Callable[[Callable[[], object]], str]) -> None:
    def child() -> None:
        threads = _threads()
        cgroup_moves.Foresight().ask()
        _until(lambda: _threads() == threads)

    in_child(child)


@pytest.mark.root
def test_an_ordinary_user_keeps_one_thread(in_child: Callable[[Callable[[], object]], str]) -> None:
    def child() -> None:
        threads = _threads()
        os.setuid(65534)
        cgroup_moves.Foresight().ask()
        assert _threads() == threads

    in_child(child)


@pytest.mark.root
def test_a_group_that_is_not_there_is_no_error(
    in_child: Callable[[Callable[[], object]], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cgroup_moves, "_ROOT", str(tmp_path))

    def child() -> None:
        threads = _threads()
        cgroup_moves.Foresight().ask()
        assert _threads() == threads

    in_child(child)
