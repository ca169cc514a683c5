"""The picture of a build: its layout, and that nothing hostile gets out of its place."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as xml
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cais.cli.commands.builder_graph import _dot, _json
from cais.cli.graph_layout import layout
from cais.cli.graph_page import page

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&amp;\x00\x1b[2J\ud800\"'"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def step(id: int, stage: str, number: int, inputs: Sequence[int] = (), seconds: float = 0.0, **more: Any) -> Any:
    text = more.pop("text", f"RUN {id}")
    return {
        "id": id, "stage": stage, "number": number, "total": 9, "lines": [id, id], "text": text,
        "title": f"[{stage} {number}/9] {text}", "op": "Exec", "state": "miss" if seconds else "hit", "key": "k",
        "inputs": list(inputs), "reasons": [], "started": 0.0, "seconds": seconds, "size_bytes": 0, "chain_id": "",
        "run": None, **more,
    }  # fmt: skip


def record(steps: list[Any], name: str = "app") -> dict[str, Any]:
    return {"id": "abc", "name": name, "status": "done", "started": 1.0, "finished": 2.0, "steps": steps}


def hundred_stages() -> list[Any]:
    steps = []
    for number in range(100):
        below = 0
        for row in range(1, 5):
            id = len(steps) + 1
            inputs = [below] if below else []
            if row == 4 and number:
                inputs.append(id - 4)
            steps.append(step(id, f"stage{number}", row, inputs, seconds=0.5 * (number % 7)))
            below = id
    return steps


def test_every_edge_goes_to_the_right_and_no_two_steps_share_a_place() -> None:
    steps = hundred_stages()
    placed = layout(steps)
    assert len(set(placed.places.values())) == len(steps) == 400
    assert all(placed.places[source][0] < placed.places[target][0] for source, target in placed.edges)
    assert [lane.name for lane in placed.lanes] == [f"stage{number}" for number in range(100)]
    for lane in placed.lanes:
        assert lane.rows == 1, "a stage's steps stand in one row"


def test_what_comes_to_a_taken_place_gets_a_row_below() -> None:
    placed = layout([step(1, "a", 1), step(2, "a", 0), step(3, "a", 2, [1, 2])])
    assert placed.places[1] == (0, 0) and placed.places[2] == (0, 1) and placed.places[3] == (1, 0)
    assert placed.lanes[0].rows == 2


def test_the_longest_chain_by_time() -> None:
    placed = layout([step(1, "a", 1, [], 1.0), step(2, "b", 1, [], 3.0), step(3, "c", 1, [1, 2, 0], 0.5)])
    assert placed.critical == {2, 3} and placed.critical_seconds == 3.5
    assert layout([step(1, "a", 1)]).critical == frozenset()
    assert layout([]).columns == 0


def test_the_page_is_well_formed_and_holds_every_step() -> None:
    steps = hundred_stages()
    tree = xml.fromstring(page(record(steps)))
    nodes = [item for item in tree.iter(f"{SVG}g") if "node" in item.get("class", "")]
    assert len(nodes) == 400
    assert len(list(tree.iter(f"{SVG}path"))) == len(layout(steps).edges)
    assert xml.fromstring(page(record([]))) is not None


def test_hostile_names_stay_text_and_nothing_is_loaded() -> None:
    reasons = [{"text": HOSTILE}]
    run = {"args": [], "env": {"A": HOSTILE}, "cwd": HOSTILE, "user": HOSTILE}
    steps = [step(1, HOSTILE, 1, text=HOSTILE, reasons=reasons, run=run, chain_id=HOSTILE)]
    text = page(record(steps, HOSTILE))
    tree = xml.fromstring(text)
    scripts = [item for item in tree.iter() if item.tag.endswith("}script")]
    assert len(scripts) == 2 and not [item for item in tree.iter() if item.tag.endswith("}img")]
    assert text.count("</script>") == 2
    assert not re.search(r"(src|href)=\"|url\(|@import", text.replace(SVG, ""))
    assert "default-src 'none'" in text
    assert text.encode("utf-8", "strict")
    dot = _dot(record(steps))
    assert dot.count("\n") == 5 and "\x1b" not in dot
    assert json.loads(_json(record(steps)))["steps"][0]["column"] == 0


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser (chromium)")
def test_a_browser_shows_it_and_runs_nothing_hostile(tmp_path: Path) -> None:
    steps = [step(1, HOSTILE, 1, text=HOSTILE), step(2, "b", 1, [1], seconds=2.0)]
    path = tmp_path / "graph.html"
    click = '<script>document.querySelectorAll(".node")[1].dispatchEvent(new Event("click"))</script></body>'
    path.write_bytes(page(record(steps)).replace("</body>", click).encode("utf-8", "replace"))
    argv = [str(CHROMIUM), "--headless", "--disable-gpu", f"--user-data-dir={tmp_path}/profile", "--dump-dom"]
    argv += ["--no-sandbox"] if os.geteuid() == 0 else []
    done = subprocess.run([*argv, path.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    assert "<title>Build of app</title>" in done.stdout, "the title was not changed by a script"
    assert re.search(r"<h2>\[b 1/9\] RUN 2</h2>", done.stdout), "a click shows the step"
    assert "2.0 s" in done.stdout
