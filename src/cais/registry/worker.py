"""One worker: the server on the shared socket, the threads in which it calls the catalog."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from functools import partial

import uvicorn

from cais.catalog.catalog import Catalog
from cais.host.heaps import keep_pieces
from cais.registry.access_log import AccessLog
from cais.registry.application import Application
from cais.registry.connection import Connection, Patience
from cais.registry.counts import Counts
from cais.registry.observed import Observed
from cais.registry.readiness import Readiness
from cais.registry.settings import of_catalog
from cais.registry.threads import Threads
from cais.registry.tls import Certificates

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from cais.registry.settings import Settings

_TICKS_A_SECOND = 10  # of uvicorn
_YOUNG_OBJECTS = 10_000


def work(settings: Settings, listener: socket.socket, counts_directory: str, parent: int) -> int:
    """Answers until SIGTERM, or until the process ``parent`` is gone; returns the exit code. What it counts is put into
    ``counts_directory`` ("": nowhere)."""
    catalog = Catalog.open(of_catalog(settings))
    # A bucket answers later than a disk, and may not answer for a while: the others must not wait for those who wait.
    count = settings.threads or (64 if settings.s3_bucket else 16)
    threads = Threads(count, "catalog")
    counts, log = Counts(counts_directory), AccessLog(settings.log_access)
    readiness = Readiness(catalog.parts(), _tell)
    observed = Observed(
        Application(catalog, threads, realm=settings.access_realm, deletes=settings.deletes),
        log=log, counts=counts, failing=readiness.failing, metrics_path=settings.metrics_path,
    )  # fmt: skip
    certificates = None
    if settings.tls_certificate:
        certificates = Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
        signal.signal(signal.SIGHUP, lambda number, frame: certificates.look_again())
        threading.Thread(target=certificates.watch, args=(_tell,), daemon=True).start()
    patience = Patience(
        settings.limits_head_timeout,
        settings.limits_body_timeout,
        settings.limits_idle_timeout,
        settings.limits_body_rate,
    )

    def tidy() -> None:
        if catalog.uploads.has_begun:
            threads.run(catalog.uploads.forget_begun)

    server = _Server(
        uvicorn.Config(
            observed,
            http=partial(Connection, patience=patience),  # type: ignore[arg-type]
            ws="none",
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            # Who asks, and by which scheme, is what these say for others.
            proxy_headers=bool(settings.proxies),
            forwarded_allow_ips=[*settings.proxies],
            server_header=False,
            ssl_context_factory=None if certificates is None else lambda config, default: certificates.context,
            timeout_keep_alive=int(settings.limits_idle_timeout),
            timeout_graceful_shutdown=int(settings.stop_timeout),
        ),
        observed,
        settings.stop_delay,
        tidy,
    )
    threading.Thread(
        target=readiness.look, daemon=True
    ).start()  # what is out of reach is said now, and not when the first one asks
    threading.Thread(target=_end_with_parent, args=(parent, server), daemon=True).start()
    _collect_less()
    keep_pieces()
    server.run(sockets=[listener])
    threads.close()
    catalog.close()
    counts.publish()
    log.close()
    return 0


class _Server(uvicorn.Server):
    """Told to stop, it first says that it is not ready, and takes connections until ``delay_seconds`` later.

    ``tidy`` is called every second or so."""

    def __init__(
        self, config: uvicorn.Config, observed: Observed, delay_seconds: float, tidy: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._observed, self._delay_seconds, self._tidy = observed, delay_seconds, tidy
        self._stop_at = float("inf")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._observed.stopping = True
        self._stop_at = min(self._stop_at, time.monotonic() + self._delay_seconds)

    async def on_tick(self, counter: int) -> bool:
        if time.monotonic() >= self._stop_at:
            self.should_exit = True
        if counter % _TICKS_A_SECOND == 0:
            self._tidy()
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.look(now)
        return await super().on_tick(counter)


def _collect_less() -> None:
    """What was loaded stays: the collector of cycles need not look at it again and again. And it comes less often,
    as next to no object of a request is in a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _end_with_parent(parent: int, server: uvicorn.Server) -> None:
    """A worker whose parent was killed stops by itself: nobody would stop it."""
    import select

    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        pass
    else:
        if os.getppid() == parent:  # else it was killed before we came here, and the number is another's
            select.select([descriptor], [], [])
    server.should_exit = True
