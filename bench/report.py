"""The figures as Markdown tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cases import Case
    from peers import Peer

MEMORY_LIMIT_BYTES = 100 << 20


def cell(seconds: list[float]) -> str:
    return " / ".join(f"{value:.3f}" if value < 1 else f"{value:.2f}" for value in seconds)


class Table:
    """The rounds of one case, by name of the peer."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.rounds: dict[str, list[list[float]]] = {}
        self.failed: dict[str, str] = {}

    def add(self, name: str, seconds: list[float]) -> None:
        self.rounds.setdefault(name, []).append(seconds)

    def medians(self, name: str) -> list[float]:
        return [statistics.median(column) for column in zip(*self.rounds[name], strict=True)]

    def peers(self) -> list[str]:
        return [name for name in self.rounds if name not in ("cais", self.case.baseline_name)]

    def fastest(self, figure: int) -> tuple[float, str] | None:
        return min(((self.medians(name)[figure], name) for name in self.peers()), default=None)

    def too_slow(self, name: str, least_seconds: float, ratio: float) -> bool:
        """Whether more rounds of this peer cannot make it the fastest in any figure."""
        if name == "cais" or name not in self.rounds:
            return False
        mine = self.medians(name)
        others = [self.fastest(figure) for figure in range(len(mine))]
        if not any(self.case.targets) and "cais" in self.rounds:  # peers are shown beside a baseline, not compared
            others = [(seconds, "cais") for seconds in self.medians("cais")]
        return sum(mine) > least_seconds and all(
            other is not None and value > ratio * other[0] for value, other in zip(mine, others, strict=True)
        )


def document(
    tables: list[Table], peers: list[Peer], versions: dict[str, str], repeats: int, machine: str, day: str
) -> str:
    """bench/RESULTS.md."""
    names = [peer.name for peer in peers]
    others = [name for name in names if name != "cais"]
    out = [
        "# Results of `make bench`",
        "",
        f"{day}; {machine}.",
        "",
        f"Medians in seconds of {repeats} alternating rounds in one run. *Ratio*: Cais to the fastest peer.",
        "A figure marked ¹ was measured once: that peer took more than twice as long as the fastest.",
        "",
        "| work | cais | ratio | target | " + " | ".join(others) + " |",
        "|---|" + "---|" * (len(others) + 3),
    ]
    notes = []
    for table in tables:
        for figure, label in enumerate(table.case.figures):
            ours = table.medians("cais")[figure] if "cais" in table.rounds else None
            fastest = table.fastest(figure)
            target = table.case.targets[figure]
            ratio = f"{ours / fastest[0]:.2f}" if ours is not None and fastest else "-"
            row = [
                table.case.title + (f": {label}" if label else ""),
                cell([ours]) if ours is not None else "-",
                ratio,
                f"≤ {target}" if target is not None else "",
            ]
            for name in others:
                if name in table.rounds:
                    once = "¹" if len(table.rounds[name]) == 1 < repeats else ""
                    row.append(cell([table.medians(name)[figure]]) + once)
                else:
                    row.append("failed" if name in table.failed else "")
            out.append("| " + " | ".join(row) + " |")
        if table.case.baseline_name in table.rounds:
            floor = table.medians(table.case.baseline_name)[0]
            line = f"- {table.case.title}: {table.case.baseline_name} takes {cell([floor])} s"
            if "cais" in table.rounds:
                ours = table.medians("cais")[0]
                line += f"; Cais takes {ours / floor:.2f} times that, {(ours - floor) * 1000:+.0f} ms"
                line += f" (target: {table.case.baseline_target})"
            notes.append(line + ".")
        notes.extend(
            f"- {table.case.title}: {name} failed: {error.splitlines()[-1]}" for name, error in table.failed.items()
        )
    out += ["", *notes, ""]
    out += [
        "## Peak memory",
        "",
        "The largest process of each kind of command, in MiB; of docker only the client, as its daemon does the work.",
        f"The limit of Cais is {MEMORY_LIMIT_BYTES >> 20} MiB.",
        "",
    ]
    kinds = [
        kind
        for kind in ("build", "run", "save", "load", "push", "pull", "copy", "images", "rmi")
        if any(kind in peer.peak_memory_bytes for peer in peers)
    ]
    out += ["| command | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for kind in kinds:
        figures = (peer.peak_memory_bytes.get(kind) for peer in peers)
        out.append(f"| {kind} | " + " | ".join(f"{value / (1 << 20):.0f}" if value else "" for value in figures) + " |")
    out += ["", "## Versions", "", *(f"- {name}: {version}" for name, version in versions.items()), ""]
    return "\n".join(out)
