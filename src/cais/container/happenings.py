"""What happens to containers, told to the log of events in Docker's words."""

from __future__ import annotations

from cais.container.records import ContainerRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.container.plan import Plan
    from cais.events.log import EventLog


class Happenings:
    """Writes events of containers and of what they do to volumes."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    def container(self, action: str, record: ContainerRecord, **attributes: str) -> None:
        """``attributes`` beside those that every event of a container has: image, name, labels."""
        known = {"image": record.image_name, "name": record.name, **attributes}
        labels = record.plan.get("labels", {})
        self._log.write("container", action, record.id, {**known, **labels, **known})

    def died(self, record: ContainerRecord, exit_code: int, finished: float) -> None:
        """``die``, and its volumes unmounted. To be called by whoever has noted the end, once."""
        for point in record.plan.get("mounts", ()):
            if point["kind"] == "volume":
                self.volume("unmount", point["source"], container=record.id, driver="local")
        seconds = max(int(finished - record.started), 0) if record.started else 0
        self.container("die", record, execDuration=str(seconds), exitCode=str(exit_code))

    def mounted(self, record: ContainerRecord, plan: Plan) -> None:
        """``mount`` of its volumes."""
        for point in plan.mounts:
            if point.kind == "volume":
                self.volume(
                    "mount", point.source, container=record.id, destination=point.target, driver="local",
                    propagation=point.propagation, **{"read/write": "false" if point.readonly else "true"},
                )  # fmt: skip

    def volume(self, action: str, name: str, **attributes: str) -> None:
        self._log.write("volume", action, name, attributes)
