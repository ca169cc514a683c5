"""The log of one container: whichever driver keeps it, followed as long as it runs or is to be started again."""

from __future__ import annotations

import os

from cais.container import logs
from cais.container.log_sink import settle
from cais.container.logs import LogLine, timestamp
from cais.container.plan import Plan
from cais.container.records import ContainerRecord, ContainerRecords
from cais.engine.container_runs import ContainerRuns
from cais.errors import NotFound, Unsupported
from cais.host.files import write_all
from cais.host.watching import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Between two looks at a container that writes nothing.
_LOOK_SECONDS = 0.2


class ContainerLog:
    """Raises Unsupported for one that keeps none."""

    def __init__(
        self, record: ContainerRecord, records: ContainerRecords, runs: ContainerRuns, root: str, follow: bool
    ) -> None:
        self._record = record
        self._records = records
        self._runs = runs
        self._plan = Plan.from_json(record.plan)
        self._directory = os.path.join(root, "containers", record.id)
        self._path = os.path.join(self._directory, "log")
        self._driver = self._plan.log.driver if self._plan.log is not None else "json-file"
        self._watch = Watch(self._directory) if follow else None
        if self._driver == "none":
            raise Unsupported("configured logging driver does not support reading", exit_code=1)
        if not self._goes_on(record):
            settle(self._path)

    def lines(self, tail: int | None, since: int | None, until: int | None) -> Iterator[LogLine]:
        """See ``Containers.logs``."""
        first = "" if since is None else timestamp(since)
        last = "" if until is None else timestamp(until)
        wait = self._wait if self._watch is not None else None
        if self._driver == "journald":
            from cais.container import log_journal

            return log_journal.lines(self._record.id, follow=wait, tail=tail, since=first, until=last)
        return logs.lines(self._path, follow=wait, tail=tail, since=first, until=last)

    def _texts(self, tail: int | None) -> Iterator[tuple[str, bytes]]:
        """What stands together at once: (stream, bytes)."""
        if self._driver == "journald":
            return ((line.stream, line.text) for line in self.lines(tail, None, None))
        return logs.texts(self._path, follow=self._wait if self._watch is not None else None, tail=tail)

    def write(self, tail: int | None, outputs: Mapping[str, int]) -> None:
        """See ``Containers.write_log``."""
        if self._watch is None and tail is None and self._driver != "journald":
            from cais.container import log_large

            if log_large.write(self._path, outputs):
                return
        for stream, text in self._texts(tail):
            write_all(outputs[stream], text)

    def details(self) -> dict[str, str]:
        """See ``Containers.log_details``."""
        from cais.container.log_options import attributes

        if self._plan.log is None:
            return {}
        return attributes(self._plan.log, self._plan.labels, self._plan.env, self._record.short_id)

    def _wait(self) -> bool:
        assert self._watch is not None
        if self._watch.wait(_LOOK_SECONDS):
            return True
        try:
            record = self._records.get(self._record.id)
        except NotFound:
            return False
        if self._goes_on(record):
            return True
        settle(self._path)
        return False

    def _goes_on(self, record: ContainerRecord) -> bool:
        return record.state in ("running", "restarting") and self._runs.store.state(record).is_up
