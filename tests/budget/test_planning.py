"""Parsing and planning are counted, not timed: calls for each instruction, queries for each step."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import cais
from cais.build.dockerfile.parser import parse
from cais.host.database import Database

# Calls of Python functions for each instruction; measured: 34.
CALLS_AN_INSTRUCTION = 60


def instructions(count: int) -> bytes:
    lines = (
        "RUN make -C dir{0} \\\n  CFLAGS='-O2 -DX={0}'\n",
        "ENV A{0}=v B{0}='x y'\n",
        "COPY --chown=1:1 src{0} /dst{0}/\n",
        "LABEL l{0}=v\n",
        "ARG X{0}=1\n",
    )
    return ("FROM scratch\n" + "".join(lines[number % 5].format(number) for number in range(count - 1))).encode()


def calls_of(text: bytes) -> int:
    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        parse(text)
    finally:
        sys.setprofile(None)
    return count


def test_parsing_costs_the_same_for_every_instruction() -> None:
    few, many = calls_of(instructions(250)), calls_of(instructions(500))
    print(f"{many / 500:.1f} calls an instruction")
    assert many <= 500 * CALLS_AN_INSTRUCTION
    assert many - few <= 1.05 * few, "twice the instructions, twice the work"


def dockerfile(stages: int, name: str = "") -> str:
    parts = [f"FROM scratch AS s{n}\nCOPY src /x{n}{name}\nWORKDIR /z{n}\n" for n in range(stages)]
    return "".join(parts) + "FROM scratch\n" + "".join(f"COPY --from=s{n} /x{n}{name} /w{n}\n" for n in range(stages))


@pytest.mark.root
def test_queries_of_a_plan_of_a_hundred_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = 100
    context = tmp_path / "context"
    (context / "src").mkdir(parents=True)
    (context / "src/file").write_text("x")
    queries: list[str] = []

    def watch(method: str) -> None:
        original = getattr(Database, method)

        def counted(self: Database, sql: str, *rest: Any) -> Any:
            queries.append(sql)
            return original(self, sql, *rest)

        monkeypatch.setattr(Database, method, counted)

    watch("row")
    watch("rows")
    with cais.open(root=str(tmp_path / "root")) as engine:
        options = cais.BuildOptions(str(context))
        (context / "Dockerfile").write_text(dockerfile(3))
        with ThreadPoolExecutor(1) as thread:  # the mounts are that thread's
            thread.submit(engine.builder.build, options).result()
        for text, hits, misses in ((dockerfile(3), 9, 0), (dockerfile(3, "b"), 0, 3), (dockerfile(stages), 9, 97)):
            (context / "Dockerfile").write_text(text)
            queries.clear()
            steps = engine.builder.plan(options)
            states = [step.state for step in steps]
            assert (states.count("hit") >= hits, states.count("miss")) == (True, misses)
            print(f"{len(queries)} queries for {len(steps)} steps, {misses} misses")
            # One for each step that is judged; of a miss what it was, elsewhere, and whether it was pruned.
            assert len(queries) <= len(steps) + 3 * misses + 8


def test_the_graph_s_layout_is_linear_enough() -> None:
    from cais.cli.graph_layout import layout
    from unit.cli.test_graph import hundred_stages

    count = 0

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    steps = hundred_stages()
    sys.setprofile(profile)
    try:
        layout(steps)
    finally:
        sys.setprofile(None)
    assert count <= 60 * len(steps)
