"""How a container that conmon has made is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cais.runtime import conmon
from cais.runtime.find import find_program
from cais.runtime.runner import Bundle, Runtime


def test_the_first_process_is_let_go_by_a_byte_where_somebody_waits_and_nothing_else_is_to_be_done(
    tmp_path: Path,
) -> None:
    if not find_program("crun"):
        pytest.skip("needs crun")
    runtime = Runtime(str(tmp_path), "crun")
    bundle = Bundle("one", str(tmp_path / "run" / "one"), "")
    pipe = Path(runtime.start_pipe(bundle))
    assert not conmon._let_go(runtime, {}, bundle)  # crun says that there is no such container
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    assert not conmon._let_go(runtime, {}, bundle)  # or that its process has ended
    assert runtime.waits_for_start(bundle)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert not conmon._let_go(runtime, {"hooks": {"poststart": []}}, bundle)
        assert runtime.waits_for_start(bundle)
        assert conmon._let_go(runtime, {}, bundle)
        assert os.read(reader, 10) == b"\0"
        assert not runtime.waits_for_start(bundle)
    finally:
        os.close(reader)
