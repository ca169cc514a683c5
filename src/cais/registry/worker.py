"""One worker: the server on the shared socket, the threads in which it calls the catalog."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import uvicorn

from cais.catalog.catalog import Catalog
from cais.registry.application import Application
from cais.registry.connection import Connection
from cais.registry.settings import of_catalog

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from cais.registry.settings import Settings


def work(settings: Settings, listener: socket.socket) -> int:
    """Answers until SIGTERM; returns the exit code."""
    catalog = Catalog.open(of_catalog(settings))
    threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="catalog")
    server = uvicorn.Server(
        uvicorn.Config(
            Application(catalog, threads),
            http=Connection,
            ws="none",
            loop="uvloop",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(settings.limits_idle_timeout),
            timeout_graceful_shutdown=int(settings.stop_timeout),
        )
    )
    threading.Thread(target=_end_with_parent, args=(os.getppid(), server), daemon=True).start()
    server.run(sockets=[listener])
    threads.shutdown()
    catalog.close()
    return 0


def _end_with_parent(parent: int, server: uvicorn.Server) -> None:
    """A worker whose parent was killed stops by itself: nobody would stop it."""
    descriptor = os.pidfd_open(parent)
    import select

    select.select([descriptor], [], [])
    server.should_exit = True
