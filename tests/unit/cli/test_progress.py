"""Plain progress is BuildKit's form; a failed step's last output is kept for the end."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from cais.cli.progress import Failure, display
from cais.cli.progress_plain import Plain
from cais.cli.progress_raw import Raw
from cais.errors import Invalid


def plain(*events: dict[str, Any]) -> str:
    out = io.StringIO()
    shown = Plain(out)
    for event in events:
        shown(event)
    shown.close()
    return out.getvalue()


def start(id: int, name: str, at: float = 0.0) -> dict[str, Any]:
    return {"event": "start", "id": id, "name": name, "stage": "", "at": at}


def output(id: int, data: bytes, at: float = 0.0) -> dict[str, Any]:
    return {"event": "output", "id": id, "stream": 1, "data": data, "at": at}


def test_one_step() -> None:
    assert plain(
        start(5, "[builder 2/5] RUN make", 1.0),
        {"event": "miss", "id": 5, "reason": "the file main.c: content changed"},
        output(5, b"cc -o ma", 1.1),
        output(5, b"in main.c\nlast without an end", 1.123),
        {"event": "done", "id": 5, "seconds": 1.24, "at": 2.24},
    ) == (
        "#5 [builder 2/5] RUN make\n"
        "#5 cache miss: the file main.c: content changed\n"
        "#5 0.123 cc -o main main.c\n"
        "#5 1.240 last without an end\n"
        "#5 DONE 1.2s\n\n"
    )


def test_cached_and_warnings() -> None:
    assert (
        plain(
            {"event": "warning", "rule": "LegacyKeyValueFormat", "message": "use =", "line": 3},
            {"event": "warning", "rule": "LegacyKeyValueFormat", "message": "use =", "line": 3},
            {"event": "warning", "rule": "BuildArgNotConsumed", "message": "X not consumed", "line": 0},
            start(1, "[1/1] FROM x"),
            {"event": "cached", "id": 1},
        )
        == "#1 [1/1] FROM x\n#1 CACHED\n\n"
        " 2 warnings found (use --check to expand):\n"
        " - LegacyKeyValueFormat: use = (line 3)\n"
        " - X not consumed\n"
    )


def test_what_check_cannot_expand_does_not_point_at_it() -> None:
    warning = {"event": "warning", "message": "the cache x is not used: No such image: x", "line": 0}
    assert plain(warning) == " 1 warning found:\n - the cache x is not used: No such image: x\n"


def test_steps_that_run_at_once_take_turns() -> None:
    text = plain(
        start(1, "a"),
        start(2, "b"),
        output(1, b"one\n"),
        output(2, b"two\n"),
        {"event": "done", "id": 1, "seconds": 0.0},
        {"event": "error", "id": 2, "message": "broke"},
    )
    assert text == (
        "#1 a\n#1 ...\n\n#2 b\n#2 ...\n\n#1 a\n#1 0.000 one\n#1 ...\n\n#2 b\n#2 0.000 two\n#2 ...\n\n"
        "#1 a\n#1 DONE 0.0s\n\n#2 b\n#2 ERROR: broke\n\n"
    )


def test_what_an_interrupt_or_the_failure_of_another_ended_is_said() -> None:
    text = plain(
        start(1, "a"),
        start(2, "b"),
        output(1, b"half"),
        {"event": "error", "id": 2, "message": "broke"},
        {"event": "failed", "message": "broke"},
    )
    assert "#2 ERROR: broke\n\n#1 a\n#1 " in text
    assert text.endswith("half\n#1 CANCELED\n\nERROR: broke\n")
    assert text.count("CANCELED") == 1
    # As the log of an interrupted build has it.
    assert plain({"event": "failed", "message": ""}) == "ERROR: canceled\n"


@pytest.mark.parametrize(
    "data", [b"a\nb\nc\n", b"\na\n", b"a\n\nb\n", b"a \nb\t\n", b"10%\r20%\r\n", b"\n", b" \n", b"a\nrest", b"x\n y\n"]
)
def test_many_lines_at_once_are_shown_as_one_by_one(data: bytes) -> None:
    """What is fast must be the same: in one piece, and byte by byte."""
    pieces = [output(1, data[number : number + 1], 0.5) for number in range(len(data))]
    end = {"event": "done", "id": 1, "seconds": 1.0, "at": 0.5}
    assert plain(start(1, "a"), output(1, data, 0.5), end) == plain(start(1, "a"), *pieces, end)


def test_output_without_line_ends_is_not_kept_for_ever() -> None:
    out = io.StringIO()
    shown = Plain(out)
    shown(start(1, "a"))
    for _ in range(10):
        shown(output(1, b"x" * 40_000))
    assert len(out.getvalue()) > 300_000


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert "#1 0.000 \ufffdx\n" in plain(start(1, "a"), output(1, b"\xffx\r\n"))


def test_failure_keeps_the_last_lines_of_the_step_that_failed_first() -> None:
    failure = Failure()
    for event in (
        start(1, "[1/2] RUN a"),
        start(2, "[2/2] RUN b"),
        output(1, b"".join(b"line %d\n" % number for number in range(5000))),
        output(2, b"other\n"),
        {"event": "error", "id": 1, "message": "x"},
        {"event": "error", "id": 2, "message": "y"},
    ):
        failure.note(event)
    text = failure.text()
    assert text.startswith("------\n > [1/2] RUN a:\nline 4980\n")
    assert text.endswith("line 4999\n------\n")
    assert Failure().text() == ""


def test_raw_json_is_buildkit_s() -> None:
    """The shape is that of `docker buildx build --progress=rawjson` (buildx 0.13)."""
    out = io.StringIO()
    raw = Raw(out, started=1_700_000_000.0)
    for event in (
        {**start(1, "[1/2] FROM x"), "at": 0.0},
        {"event": "cached", "id": 1, "at": 0.5},
        {**start(2, "[2/2] RUN make"), "inputs": [1], "at": 1.0},
        {"event": "miss", "id": 2, "reason": "the command: a → b", "at": 1.0},
        output(2, b"\xff\n", 3.25),
        {"event": "error", "id": 2, "message": "failed", "at": 4.0},
        {"event": "warning", "message": "careful", "line": 3, "at": 4.0},
        {"event": "failed", "message": "failed", "at": 4.0},
    ):
        raw(event)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    first, second = (next(item["vertexes"][0] for item in lines[number:] if "vertexes" in item) for number in (0, 2))
    assert first["name"] == "[1/2] FROM x" and first["digest"].startswith("sha256:")
    assert first["started"] == "2023-11-14T22:13:20.000000000Z" and "completed" not in first
    assert lines[1]["vertexes"] == [{**first, "completed": "2023-11-14T22:13:20.500000000Z", "cached": True}]
    assert second["inputs"] == [first["digest"]]
    assert lines[3]["statuses"][0]["id"] == "cache miss: the command: a → b"
    (log,) = lines[4]["logs"]
    assert log == {
        "vertex": second["digest"], "stream": 1, "data": "/wo=", "timestamp": "2023-11-14T22:13:23.250000000Z"
    }  # fmt: skip
    assert lines[5]["vertexes"][0]["error"] == "failed" and lines[5]["vertexes"][0]["completed"]
    assert lines[6] == {
        "warnings": [{"level": 1, "short": "Y2FyZWZ1bA==", "range": [{"start": {"line": 3}, "end": {"line": 3}}]}]
    }
    assert len(lines) == 7


def test_live_view_draws_steps_and_their_output() -> None:
    from rich.console import Console

    from cais.cli.progress_live import Live

    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=60, height=10))
    live(start(1, "[1/2] FROM x"))
    live({"event": "cached", "id": 1})
    live(start(2, "[2/2] RUN make " + "x" * 100))
    live(output(2, b"\x1b[2Jhello\tworld\rmore\n"))
    drawn = live._drawn().plain
    assert "(1/2)" in drawn and " => CACHED [1/2] FROM x" in drawn
    assert "# more" in drawn and "\x1b" not in drawn
    assert all(len(line) <= 60 for line in drawn.splitlines())
    live({"event": "done", "id": 2, "seconds": 0.1})
    live.close()
    assert "FINISHED" in out.getvalue()
    assert "CANCELED" not in out.getvalue()


def test_live_view_says_what_was_interrupted() -> None:
    from rich.console import Console

    from cais.cli.progress_live import Live

    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=60, height=10))
    live(start(1, "[1/1] RUN make"))
    live.close()
    assert " => CANCELED [1/1] RUN make" in out.getvalue()


def test_modes() -> None:
    with pytest.raises(Invalid, match="invalid progress mode loud"):
        display("loud")


def test_live_view_says_why_a_step_runs() -> None:
    from rich.console import Console

    from cais.cli.progress_live import Live

    out = io.StringIO()
    live = Live(Console(file=out, force_terminal=True, width=60, height=10))
    for event in (
        start(1, "[1/2] COPY a /"),
        {"event": "miss", "id": 1, "reason": "the file a: content\x1b[2J 1 → 2"},
        {"event": "done", "id": 1, "seconds": 0.1},
        start(2, "[2/2] RUN b"),
        {"event": "miss", "id": 2, "reason": "this step was not built before"},
    ):
        live(event)
    live.close()
    last = out.getvalue().rpartition("[+] Building")[2]
    assert "cache miss: the file a: content [2J 1 → 2" in last and "not built before" not in last
