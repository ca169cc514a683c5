"""What of containers is left by killed commands: bundles, processes in control groups, notes, directories."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.host.files import remove_tree
from cais.network.leftovers import Leftover
from cais.runtime import cgroup_removal
from cais.runtime.runner import Bundle, Runtime

_GUARDIAN_SECONDS = 2.0


def check(stores: Stores, runs: ContainerRuns, repair: bool) -> list[tuple[str, str, str]]:
    """What is wrong with containers: (subject, problem, what was done)."""
    if repair:
        runs.reach()
    findings = []
    known = {row[0] for row in stores.database.rows("SELECT id FROM snapshots")}
    for record in runs.records.all():
        runs.store.state(record)  # corrects it
        if record.snapshot not in known:
            if repair:
                runs.store.remove(record, force=True)
            findings.append((f"container {record.id}", "its file system is not there", "removed" if repair else ""))
    for item in find(runs, stores.root):
        if repair:
            item.remove()
        findings.append((item.subject, item.problem, "removed" if repair else ""))
    if repair:
        runs.sweep()
        cgroup_removal.remove_empty()
    return findings


def find(runs: ContainerRuns, root: str) -> Iterator[Leftover]:
    """Nothing that another command is at. What the first ones have comes after them: take each away before the next
    is asked for."""
    runtime, problem = runs.runtime, "is of nothing that runs"
    up = frozenset(record.id for record in runs.records.running() if runs.store.state(record).is_up)
    for bundle in _abandoned(runtime, up):
        yield Leftover(f"bundle {bundle.id}", problem, lambda it=bundle: runtime.delete(it))  # type: ignore[misc]
    is_used = runs.store.rooms.connections.is_used
    groups = cgroup_removal.leftovers(root, lambda id: os.path.isdir(runtime.opened(id).directory) or is_used(id))
    for id, paths in groups.items():
        yield Leftover(f"control group {id}", problem, lambda it=paths: cgroup_removal.remove(it))  # type: ignore[misc]
    for bundle in _forgotten(runtime):
        yield Leftover(f"note of the OCI runtime on {bundle.id}", problem, lambda it=bundle: runtime.end(it))  # type: ignore[misc]
    for path in runs.store.orphans():
        yield Leftover(f"directory {path}", "is of no container", lambda it=path: remove_tree(it))  # type: ignore[misc]


def _abandoned(runtime: Runtime, keep: frozenset[str]) -> list[Bundle]:
    """Bundles that nobody cleans up. The guardian of a command that was killed just now is given a moment."""
    until = time.monotonic() + _GUARDIAN_SECONDS
    while (found := runtime.leftovers(keep)) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def _forgotten(runtime: Runtime) -> list[Bundle]:
    """What the OCI runtime still has notes of, and has neither a bundle nor a process any more."""
    try:
        names = sorted(os.listdir(runtime.state_directory))
    except FileNotFoundError:
        return []
    bundles = [runtime.opened(name) for name in names]
    return [item for item in bundles if not os.path.isdir(item.directory) and runtime.process(item) is None]
