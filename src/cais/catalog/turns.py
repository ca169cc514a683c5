"""Turns: work that one of all processes and replicas does at a time, because two of them would undo each other's."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager

from cais.errors import Unavailable
from cais.records import jobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from cais.records.database import Database

COLLECTING, SEARCHING = "gc", "strays"
_HOLD_SECONDS = 600.0  # who died in the middle of it is waited for no longer
_WAIT_SECONDS = 600.0


class Turn:
    """One process's claim to do the work ``name``."""

    def __init__(self, database: Database, name: str) -> None:
        self._database, self._name = database, name
        self._holder = f"{_kernel()}.{os.getpid()}.{os.urandom(4).hex()}"
        self._renew_at = 0.0

    def take(self, every_seconds: float = 0.0) -> bool:
        """Whether it is ours: nobody does it now, and it was last done more than ``every_seconds`` ago."""
        before = time.time() - every_seconds if every_seconds else float("inf")
        self._renew_at = time.monotonic() + _HOLD_SECONDS / 2

        def write(connection: Connection) -> bool:
            self._free_dead(connection)
            return jobs.take(self._database, connection, self._name, self._holder, _HOLD_SECONDS, before)

        return self._database.write(write)

    def _free_dead(self, connection: Connection) -> None:
        """Lets go of the turn for a process of this machine that was killed: nobody else waits ten minutes for it."""
        row = jobs.find(connection, self._name)
        if row is not None and row.holder.startswith(_kernel() + "."):
            process = row.holder.split(".")[-2]
            if process.isdigit() and not os.path.exists(f"/proc/{process}"):
                jobs.finish(connection, self._name, row.holder, None)

    def hold(self) -> bool:
        """Called now and then, it keeps the turn. False: another one has it, because this one was silent too long."""
        if time.monotonic() < self._renew_at:
            return True
        self._renew_at = time.monotonic() + _HOLD_SECONDS / 2
        return self._database.write(lambda connection: jobs.hold(connection, self._name, self._holder, _HOLD_SECONDS))

    def end(self, report: dict[str, int] | None = None) -> None:
        """Lets go of it; with a ``report`` the work is done."""
        self._database.write(lambda connection: jobs.finish(connection, self._name, self._holder, report))


def _kernel() -> str:
    """Where a process's number says which process it is: the boot, and the namespace of numbers."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().replace("-", "")[:16]
        return f"{boot}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return os.urandom(8).hex()


@contextmanager
def without_collector(database: Database) -> Iterator[Callable[[], None]]:
    """Nothing is collected meanwhile; a run that is under way is waited for. What is yielded is called now and then.

    Raises Unavailable: the collector runs for ever, or has begun again because nothing was called for ten minutes.
    """
    turn = Turn(database, COLLECTING)
    deadline = time.monotonic() + _WAIT_SECONDS
    while not turn.take():
        if time.monotonic() > deadline:
            raise Unavailable("the registry's garbage is being collected, and this has to wait for it")
        time.sleep(0.2)

    def hold() -> None:
        if not turn.hold():
            raise Unavailable("this took so long that the registry's garbage is collected again")

    try:
        yield hold
    finally:
        turn.end()
