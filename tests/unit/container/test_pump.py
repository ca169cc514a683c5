"""Streams of a container in the foreground."""

from __future__ import annotations

import os
import subprocess

from cais.container.attach import Pump


def test_what_is_held_back_of_a_program_that_does_not_look_begun_has_a_limit(tmp_path):
    """A program may run from a file in memory, as the runtimes do before they become it."""
    read, write = os.pipe()
    child = subprocess.Popen(["head", "-c", "8000000", "/dev/zero"], stdout=write)
    os.close(write)
    with open(tmp_path / "stderr", "wb") as file:
        pump = Pump(child.pid, {read: (file.fileno(), b"stderr")}, held=lambda: True)
        assert pump.run() == 0
    assert (tmp_path / "stderr").stat().st_size == 8_000_000
