"""Locks between processes: held, shared, freed by the kernel."""

from __future__ import annotations

import os
import signal

import pytest

from cais.host.locks import FileLock


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "lock")


def test_one_holder(path):
    one, two = FileLock(path), FileLock(path)
    assert one.acquire(blocking=False)
    assert not two.acquire(blocking=False)
    one.release()
    assert two.acquire(blocking=False)
    two.release()


def test_many_may_share_it(path):
    one, two, alone = FileLock(path), FileLock(path), FileLock(path)
    assert one.acquire(shared=True) and two.acquire(shared=True, blocking=False)
    assert not alone.acquire(blocking=False)
    one.release()
    two.release()
    assert alone.acquire(blocking=False)
    alone.release()


def test_released_twice_and_the_file_stays(path):
    with FileLock(path) as lock:
        assert not FileLock(path).acquire(blocking=False)
    lock.release()
    assert os.path.exists(path)
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_no_descriptor_stays_open(path):
    before = set(os.listdir("/proc/self/fd"))
    with FileLock(path):
        FileLock(path).acquire(blocking=False)
    assert set(os.listdir("/proc/self/fd")) == before


def test_the_kernel_frees_what_a_killed_process_held(path):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        lock = FileLock(path)
        lock.acquire()
        os.write(write, b"+")
        signal.pause()
        os._exit(1)
    assert os.read(read, 1) == b"+"
    lock = FileLock(path)
    assert not lock.acquire(blocking=False)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert lock.acquire(blocking=False)
    lock.release()


def test_waiting_ends_when_the_holder_dies(path):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        lock = FileLock(path)
        lock.acquire()
        os.write(write, b"+")
        signal.pause()
        os._exit(1)
    assert os.read(read, 1) == b"+"
    assert not FileLock(path).acquire(blocking=False)
    waiter = os.fork()
    if waiter == 0:
        os._exit(0 if FileLock(path).acquire() else 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert os.waitpid(waiter, 0)[1] == 0
