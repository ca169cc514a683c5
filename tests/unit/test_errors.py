"""OSErrors as errors of ours."""

from __future__ import annotations

import errno

from cais.errors import NotFound, from_os_error


def test_a_path_is_said_once() -> None:
    error = OSError(errno.ENOENT, "No such file or directory", "/nope/x")
    assert from_os_error(error, "write /nope/x").message == "cannot write /nope/x: No such file or directory"
    said = from_os_error(error, "store the blob")
    assert isinstance(said, NotFound)
    assert said.message == "cannot store the blob: No such file or directory (/nope/x)"
