"""The guardian's own life; what it does for others is in tests/faults."""

from __future__ import annotations

import os

import pytest

from cais.runtime.guardian import Guardian


def test_one_that_was_let_go_is_waited_for_and_followed_by_another(tmp_path):
    guardian = Guardian("/bin/true", str(tmp_path))
    try:
        guardian.watch("first", str(tmp_path / "first"))
        first = guardian._child
        guardian.forget("first")
        guardian.let_go()
        guardian.forget("first")  # once more: nobody listens
        guardian.watch("second", str(tmp_path / "second"))
        second = guardian._child
        with pytest.raises(ChildProcessError):
            os.waitpid(first, 0)
        assert os.waitpid(second, os.WNOHANG) == (0, 0)
        guardian.forget("second")
    finally:
        guardian.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(second, 0)
