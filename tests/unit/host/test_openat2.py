from __future__ import annotations

import os
import signal
import threading

import pytest

from cais.host import syscalls


@pytest.fixture
def renaming(tmp_path):
    """Somebody renames without an end, somewhere else on the host."""
    (tmp_path / "one").mkdir()
    child = os.fork()
    if child == 0:
        try:
            while True:
                os.rename(tmp_path / "one", tmp_path / "two")
                os.rename(tmp_path / "two", tmp_path / "one")
        finally:
            os._exit(1)
    yield
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_renames_elsewhere_do_not_disturb(tmp_path, renaming):
    """The kernel says EAGAIN where it cannot tell whether a ".." still leads inside."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    path = "a/../" * 4 + "a"
    descriptor = os.open(root, os.O_PATH)
    failures: list[OSError] = []

    def look() -> None:
        try:
            for _ in range(3000):
                os.close(syscalls.openat2(descriptor, path, os.O_PATH, syscalls.RESOLVE_IN_ROOT))
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.close(descriptor)
    assert failures == []
