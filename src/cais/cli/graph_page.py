"""The picture of a build: one HTML file that needs nothing else, and is well-formed XML, too.

Stage names and commands are an attacker's: everything is escaped, what XML does not allow is replaced, and the page's
policy lets it load nothing.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping

from cais.cli.explain import is_step
from cais.cli.graph_layout import CONTEXTS, Layout, layout
from cais.cli.units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WIDTH, _HEIGHT, _GAP, _ROW_GAP, _MARGIN, _LANE = 232, 46, 44, 14, 24, 22
_TITLE_CHARACTERS = 29
_WORDS = {"hit": "cached", "miss": "ran", "failed": "failed", "cancelled": "stopped", "pending": "not run"}

_STYLE = """
:root { --back: #ffffff; --text: #1c2024; --dim: #667079; --line: #b7bec6; --card: #f5f7f9; --edge: #9aa4ae;
  --hit: #3b82c4; --miss: #d99a1c; --failed: #d13438; --cancelled: #a07cc0; --pending: #8a939b; --critical: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --back: #15181b; --text: #e4e7ea; --dim: #98a1a9; --line: #3a4148;
  --card: #1f2428; --edge: #5f6a74; --hit: #5aa4e6; --miss: #e7b549; --failed: #f16a6d; --cancelled: #bd9be0;
  --pending: #767f87; --critical: #fb8b4b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
header { padding: 14px 24px 10px; border-bottom: 1px solid var(--line); }
h1 { margin: 0 0 4px; font-size: 18px; overflow-wrap: anywhere; }
.facts { color: var(--dim); }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 5px 0 14px; }
.tools { float: right; }
.tools button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 4px; padding: 2px 10px; cursor: pointer; }
main { display: flex; height: calc(100vh - 86px); min-height: 300px; }
#picture { flex: 1; overflow: auto; }
svg { display: block; }
svg text { fill: var(--text); font: 12px ui-monospace, monospace; }
svg .second, svg .lane { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .lane { font-weight: 600; }
.band { fill: var(--card); opacity: .55; }
.edge { fill: none; stroke: var(--edge); stroke-width: 1.3; }
.edge.context { opacity: .45; }
.edge.critical { stroke: var(--critical); stroke-width: 2.4; }
.edge.near { stroke: var(--text); opacity: 1; stroke-width: 2.4; }
.node { cursor: pointer; }
.node rect.box { fill: var(--back); stroke: var(--line); }
.node.critical rect.box { stroke: var(--critical); stroke-width: 2; }
.node.chosen rect.box, .node:focus rect.box, .node:hover rect.box { stroke: var(--text); stroke-width: 2; }
.node:focus { outline: none; }
.hit { fill: var(--hit); background: var(--hit); } .miss { fill: var(--miss); background: var(--miss); }
.failed { fill: var(--failed); background: var(--failed); }
.cancelled { fill: var(--cancelled); background: var(--cancelled); }
.pending { fill: var(--pending); background: var(--pending); }
aside { width: 380px; max-width: 45vw; overflow: auto; border-left: 1px solid var(--line); padding: 14px 18px; }
aside h2 { margin: 0 0 8px; font-size: 15px; overflow-wrap: anywhere; }
aside dt { color: var(--dim); margin-top: 8px; }
aside dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; font: 12px/1.5 ui-monospace, monospace; }
@media print { aside, .tools { display: none; } main { height: auto; } #picture { overflow: visible; } }
"""

_SCRIPT = """
const steps = JSON.parse(document.getElementById("steps").textContent);
const panel = document.getElementById("panel"), svg = document.querySelector("svg");
const width = svg.viewBox.baseVal.width, height = svg.viewBox.baseVal.height;
let zoom = 1;
function scaled(value) {
  zoom = Math.min(3, Math.max(0.05, value));
  svg.setAttribute("width", width * zoom); svg.setAttribute("height", height * zoom);
}
function near(id, on) {
  for (const edge of document.querySelectorAll(".edge"))
    if (edge.dataset.from === id || edge.dataset.to === id) edge.classList.toggle("near", on);
}
function show(node) {
  for (const item of document.querySelectorAll(".chosen")) {
    item.classList.remove("chosen"); near(item.dataset.id, false);
  }
  node.classList.add("chosen"); near(node.dataset.id, true);
  const step = steps[node.dataset.id], list = document.createElement("dl"), head = document.createElement("h2");
  head.textContent = step.title;
  for (const [name, value] of step.rows) {
    const key = document.createElement("dt"), text = document.createElement("dd");
    key.textContent = name; text.textContent = value; list.append(key, text);
  }
  panel.replaceChildren(head, list);
}
for (const node of document.querySelectorAll(".node")) {
  node.addEventListener("click", () => show(node));
  node.addEventListener("focus", () => show(node));
  node.addEventListener("mouseenter", () => near(node.dataset.id, true));
  node.addEventListener("mouseleave", () => node.classList.contains("chosen") || near(node.dataset.id, false));
}
const room = document.getElementById("picture");
document.getElementById("fit").onclick = () => scaled(Math.min(room.clientWidth / width, room.clientHeight / height));
document.getElementById("whole").onclick = () => scaled(1);
document.getElementById("closer").onclick = () => scaled(zoom * 1.25);
document.getElementById("away").onclick = () => scaled(zoom / 1.25);
room.addEventListener("wheel", event => {
  if (event.ctrlKey) { event.preventDefault(); scaled(zoom * (event.deltaY < 0 ? 1.1 : 0.9)); }
}, { passive: false });
"""


def page(record: Mapping[str, Any]) -> str:
    """The HTML of a build's record (``cais.engine.build_record``)."""
    steps = record["steps"]
    placed = layout(steps)
    # "<" cannot end the script's element, and "&" is no reference to an XML parser.
    data = json.dumps({str(step["id"]): _details(step) for step in steps})
    data = data.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    title = f"Build of {_plain(record['name'])}"
    return (
        '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en">\n<head>\n<meta charset="utf-8" />\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1" />\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\" />\n"
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header>{''.join(_header(record, placed, title))}</header>\n<main>\n"
        f'<div id="picture">{"".join(_picture(steps, placed))}</div>\n'
        '<aside id="panel"><p>Click a step to see what it did and why.</p></aside>\n</main>\n'
        f'<script type="application/json" id="steps">{data}</script>\n'
        f"<script>/*<![CDATA[*/{_SCRIPT}/*]]>*/</script>\n</body>\n</html>\n"
    )


def _header(record: Mapping[str, Any], placed: Layout, title: str) -> Iterator[str]:
    import time

    shown = [step for step in record["steps"] if is_step(step)]
    seconds = max(0.0, record["finished"] - record["started"]) if record["finished"] else 0.0
    counts = {state: sum(step["state"] == state for step in shown) for state in _WORDS}
    yield '<span class="tools"><button id="away">−</button> <button id="whole">100 %</button> '
    yield '<button id="closer">+</button> <button id="fit">fit</button></span>'
    yield f"<h1>{html.escape(title)}</h1>"
    started = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record["started"]))
    facts = [record["id"], record["status"], started, f"{seconds:.1f} s"]
    yield f'<div class="facts">{html.escape(" · ".join(facts))}'
    if placed.critical:
        yield f" · longest chain {placed.critical_seconds:.1f} s"
    for state, count in counts.items():
        if count:
            yield f'<span class="key {state}"></span>{count} {_WORDS[state]}'
    yield "</div>"


def _picture(steps: Any, placed: Layout) -> Iterator[str]:
    tops = _tops(placed)
    width = 2 * _MARGIN + max(1, placed.columns) * (_WIDTH + _GAP) - _GAP
    height = (tops[-1] if tops else 0) + _MARGIN
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
    yield 'role="img" aria-label="The graph of the build">'
    for lane in placed.lanes:
        top = tops[lane.row] - _LANE
        bottom = tops[lane.row + lane.rows - 1] + _HEIGHT + _ROW_GAP // 2
        yield f'<rect class="band" x="4" y="{top}" width="{width - 8}" height="{bottom - top}" rx="6" />'
        name = "build context" if lane.name == CONTEXTS else lane.name
        yield f'<text class="lane" x="{_MARGIN}" y="{top + 15}">{_text(name, 80)}</text>'

    def corner(id: int) -> tuple[int, int]:
        column, row = placed.places[id]
        return _MARGIN + column * (_WIDTH + _GAP), tops[row]

    contexts = {step["id"] for step in steps if not is_step(step)}
    for source, target in placed.edges:
        (left, above), (right, below) = corner(source), corner(target)
        x, y, end, to = left + _WIDTH, above + _HEIGHT // 2, right, below + _HEIGHT // 2
        bend = min(40, (end - x) // 2)
        # Far edges run in the gap before their target, not through what stands between.
        path = f"M{x} {y} C{x + bend} {y} {end - bend} {to} {end} {to}"
        if y != to and end - x > _GAP:
            path = f"M{x} {y} C{x + bend} {y} {x + bend} {to} {x + 2 * bend} {to} L{end} {to}"
        style = " critical" if {source, target} <= placed.critical else " context" if source in contexts else ""
        yield f'<path class="edge{style}" data-from="{source}" data-to="{target}" d="{path}" />'
    for step in steps:
        x, y = corner(step["id"])
        critical = " critical" if step["id"] in placed.critical else ""
        yield f'<g class="node{critical}" data-id="{step["id"]}" tabindex="0" transform="translate({x} {y})">'
        yield f"<title>{html.escape(_plain(_tooltip(step)))}</title>"
        yield f'<rect class="box" width="{_WIDTH}" height="{_HEIGHT}" rx="5" />'
        yield f'<rect class="{step["state"]}" width="6" height="{_HEIGHT}" rx="3" />'
        name = step["text"].replace(" docker.io/library/", " ", 1)
        yield f'<text x="14" y="19">{_text(name, _TITLE_CHARACTERS)}</text>'
        yield f'<text class="second" x="14" y="36">{_text(_second(step), 44)}</text></g>'
    yield "</svg>"


def _tops(placed: Layout) -> list[int]:
    """Where each row begins; above a lane there is room for its name."""
    starts = {lane.row for lane in placed.lanes}
    tops, top = [], _MARGIN // 2
    for row in range(placed.rows):
        top += _LANE if row in starts else 0
        tops.append(top)
        top += _HEIGHT + _ROW_GAP
    return [*tops, top]


def _second(step: Mapping[str, Any]) -> str:
    parts = []
    if step["number"]:
        parts.append(f"{step['number']}/{step['total']}")
    parts.append(_WORDS[step["state"]] if is_step(step) else "")
    if step["seconds"]:
        parts.append(f"{step['seconds']:.1f} s")
    if step["size_bytes"]:
        parts.append(human_size(step["size_bytes"]))
    return " · ".join(part for part in parts if part)


def _tooltip(step: Mapping[str, Any]) -> str:
    return "\n".join([step["title"], _second(step), *(reason["text"] for reason in step["reasons"][:3])])


def _details(step: Mapping[str, Any]) -> dict[str, Any]:
    first, last = step["lines"]
    rows = [
        ("Result", _second(step)),
        ("Why", "\n".join(reason["text"] for reason in step["reasons"])),
        ("Instruction", step["text"]),
        ("Lines", (f"{first}" if first == last else f"{first}–{last}") if first else ""),
        ("Operation", step["op"]),
        ("File system", step["chain_id"]),
        ("Key", step["key"]),
    ]
    if step.get("run"):
        rows += [("Working directory", step["run"]["cwd"]), ("User", step["run"]["user"])]
        rows.append(("Environment", "\n".join(f"{name}={value}" for name, value in step["run"]["env"].items())))
    return {"title": _plain(step["title"]), "rows": [[name, _plain(value)] for name, value in rows if value]}


def _text(text: str, limit: int) -> str:
    text = " ".join(_plain(text).split())
    return html.escape(text if len(text) <= limit else text[: limit - 1] + "…")


def _plain(text: str) -> str:
    """What XML 1.0 allows; the rest as U+FFFD."""
    if text.isprintable():
        return text
    return "".join(
        char
        if char in "\t\n\r" or (" " <= char <= "\ud7ff") or ("\ue000" <= char <= "\ufffd") or char > "\uffff"
        else "\ufffd"
        for char in text
    )
