"""A worker, and the process that has started it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from cais.registry.worker import _end_with_parent


def test_a_worker_whose_parent_was_killed_before_it_looked_ends() -> None:
    """Its number may be nobody's by then, or that of a process that is not its parent."""
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    for number in (gone, os.getpid()):
        server = SimpleNamespace(should_exit=False)
        _end_with_parent(number, server)  # type: ignore[arg-type]
        assert server.should_exit
