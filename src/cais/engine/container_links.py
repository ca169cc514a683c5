"""What ``--link`` of a new container names."""

from __future__ import annotations

from cais.container.networking import DEFAULT
from cais.container.plan import Plan
from cais.container.records import ContainerRecords
from cais.errors import Conflict, Invalid, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def check_links(records: ContainerRecords, network: str, links: Sequence[str]) -> None:
    """``links`` are ``container:alias``; those of a ``network`` with names may lead to what comes later. Raises
    NotFound, Invalid; Conflict for a container on the host's network."""
    for text in links if network == DEFAULT else ():
        name = text.partition(":")[0]
        try:
            record = records.get(name)
        except (NotFound, Invalid) as error:
            raise type(error)(f"could not get container for {name}: {error.message}", exit_code=125)
        if Plan.from_json(record.plan).networking.mode == "host":
            raise Conflict(
                "conflicting options: host type networking can't be used with links. This would result in undefined "
                "behavior",
                exit_code=125,
            )
