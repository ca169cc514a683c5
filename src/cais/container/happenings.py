"""What happens to containers, told to the log of events in Docker's words."""

from __future__ import annotations

from cais.container.records import ContainerRecord
from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cais.container.plan import Plan
    from cais.events.log import EventLog
    from cais.network.records import Network

    Told = tuple[str, str, str, Mapping[str, str]]


class Happenings:
    """Writes events of containers, and of what they do to volumes and networks.

    ``network`` finds one by its name; without it nothing is told of networks.
    """

    def __init__(self, log: EventLog, network: Callable[[str], Network] | None = None) -> None:
        self._log = log
        self._network = network

    def container(self, action: str, record: ContainerRecord, **attributes: str) -> None:
        """``attributes`` beside those that every event of a container has: image, name, labels."""
        self._log.write_together((_of(record, action, **attributes),))

    def executes(self, record: ContainerRecord, id: str, command: Sequence[str]) -> None:
        """``exec_create`` and ``exec_start`` of ``command``."""
        words = " ".join(command)
        actions = (f"exec_create: {words}", f"exec_start: {words}")
        self._log.write_together(_of(record, action, execID=id) for action in actions)

    def started(self, record: ContainerRecord, plan: Plan, *, attached: bool) -> None:
        """``start``; before it ``attach`` of who started it, ``connect`` of its networks, ``mount`` of its volumes."""
        events = [_of(record, "attach")] if attached else []
        events += self._of_networks("connect", record, [item.network for item in plan.networking.networks])
        for point in plan.mounts:
            if point.kind == "volume":
                known = {"container": record.id, "destination": point.target, "driver": "local"}
                known |= {"propagation": point.propagation, "read/write": "false" if point.readonly else "true"}
                events.append(("volume", "mount", point.source, known))
        self._log.write_together((*events, _of(record, "start")))

    def died(self, record: ContainerRecord, exit_code: int, finished: float) -> None:
        """``die``, its networks left and its volumes unmounted. To be called by whoever has noted the end, once."""
        seconds = max(int(finished - record.started), 0) if record.started else 0
        events = [_of(record, "die", execDuration=str(seconds), exitCode=str(exit_code))]
        networks = record.plan.get("networking", {}).get("networks", ())
        events += self._of_networks("disconnect", record, [item["network"] for item in networks])
        for point in record.plan.get("mounts", ()):
            if point["kind"] == "volume":
                events.append(("volume", "unmount", point["source"], {"container": record.id, "driver": "local"}))
        self._log.write_together(events)

    def volume(self, action: str, name: str, **attributes: str) -> None:
        self._log.write("volume", action, name, attributes)

    def _of_networks(self, action: str, record: ContainerRecord, names: list[str]) -> list[Told]:
        events: list[Told] = []
        if self._network is None:
            return events
        for name in names:
            try:
                found = self._network(name)
            except CaisError:
                continue  # it was removed meanwhile
            known = {"container": record.id, "name": found.name, "type": found.driver}
            events.append(("network", action, found.id, known))
        return events


def _of(record: ContainerRecord, action: str, **attributes: str) -> Told:
    known = {"image": record.image_name, "name": record.name, **attributes}
    labels = record.plan.get("labels", {})
    return "container", action, record.id, {**known, **labels, **known}
