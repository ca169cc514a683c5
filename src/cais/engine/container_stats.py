"""What containers use: processor, memory, network, disks; measured between two looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from cais.container.records import ContainerRecord, ContainerRecords
from cais.engine.container_runs import ContainerRuns
from cais.errors import NotFound
from cais.runtime import cgroup_usage
from cais.runtime.cgroup_usage import GroupUsage
from cais.spec.named import NamedTuple

_FIRST_SECONDS = 0.5


class ContainerStats(NamedTuple):
    """``asked`` is the word that it was asked for by. Of a container that does not run all is 0.

    ``cpu_percent`` is of one processor; None, like anything in ``usage``, where the host cannot tell.
    """

    asked: str
    id: str
    name: str
    cpu_percent: float | None
    received_bytes: int | None
    sent_bytes: int | None
    usage: GroupUsage

    @property
    def memory_percent(self) -> float | None:
        used, limit = self.usage.memory_bytes, self.usage.memory_limit_bytes
        return None if used is None or limit is None else used / limit * 100 if limit else 0.0


_NOTHING = GroupUsage(0, 0, 0, 0, 0, 0)


class Looks:
    """One after another at the same containers. ``find`` gives (word, record) of those that are wanted now."""

    def __init__(self, runs: ContainerRuns, find: Callable[[], Sequence[tuple[str, ContainerRecord]]]) -> None:
        self._runs = runs
        self._find = find
        self._before: dict[str, tuple[int, int]] = {}

    def measured(self, seconds: float) -> Iterator[list[ContainerStats]]:
        """The first after half a second, then one every ``seconds``."""
        self._look()
        wait = _FIRST_SECONDS
        while True:
            time.sleep(wait)
            yield self._look()
            wait = seconds

    def _look(self) -> list[ContainerStats]:
        found = []
        seen: dict[str, tuple[int, int]] = {}
        for word, record in self._find():
            found.append(self._at(word, record, seen))
        self._before = seen
        return found

    def _at(self, word: str, record: ContainerRecord, seen: dict[str, tuple[int, int]]) -> ContainerStats:
        state = self._runs.store.state(record)
        if state.process is None:
            return ContainerStats(word, record.id, record.name, 0.0, 0, 0, _NOTHING)
        runtime = self._runs.runtime
        note = runtime.note(runtime.opened(record.id))
        usage = cgroup_usage.read(note.group if note is not None else "")
        percent: float | None = None
        if usage.cpu_nanoseconds is not None:
            now = (time.monotonic_ns(), usage.cpu_nanoseconds)
            before = self._before.get(record.id, now)
            elapsed = now[0] - before[0]
            percent = max(now[1] - before[1], 0) / elapsed * 100 if elapsed > 0 else 0.0
            seen[record.id] = now
        received, sent = _network(state.process.pid, record)
        return ContainerStats(word, record.id, record.name, percent, received, sent, usage)


def _network(pid: int, record: ContainerRecord) -> tuple[int | None, int | None]:
    """(received, sent) over all its interfaces but its loopback; the host's are not its own."""
    if record.plan.get("networking", {}).get("mode") == "host":
        return 0, 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            lines = [line.partition(":") for line in file.read(1 << 20).splitlines()[2:]]
    except OSError:
        return None, None
    counts = [numbers.split() for name, _, numbers in lines if name.strip() != "lo"]
    return sum(int(count[0]) for count in counts), sum(int(count[8]) for count in counts)


def stats(
    runs: ContainerRuns, records: ContainerRecords, names: Sequence[str], all: bool, seconds: float
) -> Iterator[list[ContainerStats]]:
    """See ``Containers.stats``."""
    for name in names:
        records.get(name)

    def find() -> list[tuple[str, ContainerRecord]]:
        if not names:
            return [(record.short_id, record) for record in (records.all() if all else records.running())]
        found = []
        for name in names:
            try:
                found.append((name, records.get(name)))
            except NotFound:
                continue  # removed since
        return found

    return Looks(runs, find).measured(seconds)
