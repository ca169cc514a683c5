"""The live view has no thread where an ordinary user's build has still to enter its user namespace."""

from __future__ import annotations

import io
import threading

from rich.console import Console

from cais.cli.progress_live import Live


def test_there_is_no_thread_before_the_first_step_runs_in_one() -> None:
    before = threading.active_count()
    live = Live(Console(file=io.StringIO(), force_terminal=True, width=80))
    live({"event": "start", "id": 1, "name": "FROM base"})
    live({"event": "cached", "id": 1})
    assert threading.active_count() == before
    step = threading.Thread(target=lambda: live({"event": "start", "id": 2, "name": "RUN true"}))
    step.start()
    step.join()
    assert threading.active_count() == before + 1
    live.close()
    assert threading.active_count() == before
