"""The processes of ``cais registry serve``: one listens and keeps its workers alive; the workers answer.

The listening process says the address on one line when connections are taken. SIGTERM and SIGINT stop gracefully: no
new connections, what is under way is finished, for as long as the settings allow. SIGHUP has them load the
certificates again.
"""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time

from cais.catalog.catalog import prepare
from cais.errors import Invalid
from cais.registry import attendant, worker  # before the fork: what all workers share in memory is loaded once
from cais.registry.listening import listen, shown
from cais.registry.settings import of_catalog
from cais.registry.tls import Certificates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from cais.registry.settings import Settings

_MOST_WORKERS = 4
# A worker that dies at once again and again does not take the processor.
_AGAIN_SECONDS = 1.0
_KILL_SECONDS = 10.0  # behind the time in which a worker should have stopped by itself


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Serves until it is told to stop; returns the exit code. ``say`` shows a line.

    Raises Invalid (an address, a setting), Denied, Unavailable (a directory, a database, a port that is taken).
    """
    if settings.tls_certificate:
        Certificates(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    elif settings.tls_key or settings.tls_client_ca:
        raise Invalid("TLS has no certificate", hint="Set tls.certificate.")
    if not prepare(of_catalog(settings)) and settings.anonymous != "write":
        sys.stderr.write(
            "nobody can sign in yet: add a user with 'cais registry user add --admin NAME', "
            "or let everybody in by --anonymous write\n"
        )
    _allow_files()
    listener = listen(settings.listen)
    metrics = listen(settings.metrics_listen) if settings.metrics_listen else None
    workers = settings.workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    counts = tempfile.mkdtemp(prefix="cais-registry-") if settings.metrics_listen or settings.metrics_path else ""

    parent = os.getpid()

    def work() -> int:
        if metrics is not None:
            metrics.close()
        return worker.work(settings, listener, counts, parent)

    def attend() -> int:
        listener.close()
        return attendant.attend(settings, metrics, counts, parent)

    works: list[Callable[[], int]] = [work] * workers
    if settings.gc_interval or metrics is not None:
        works.append(attend)
    group = _Workers(works, listener)
    try:
        group.start()
        say(f"listening on {shown(listener, 'https' if settings.tls_certificate else 'http')}")
        return group.supervise(settings.stop_delay + settings.stop_timeout)
    finally:
        if counts:
            shutil.rmtree(counts, ignore_errors=True)


def _allow_files() -> None:
    """As many connections and files as the system lets this process have: the limit that shells set is that of programs
    which use select."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        pass  # some hosts allow less than they say


class _Workers:
    """Children that each run one of ``works``, which returns their exit code; ``listener`` is what they answer on."""

    def __init__(self, works: list[Callable[[], int]], listener: socket.socket) -> None:
        self._works, self._listener = works, listener
        self._running: dict[int, tuple[float, Callable[[], int]]] = {}
        self._stopping = False
        self._patience_seconds = 0.0
        # Where signals are seen that come just before this process begins to wait.
        self._signals, self._noted = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def start(self) -> None:
        signal.set_wakeup_fd(self._noted, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._look_again)
        for work in self._works:
            self._fork(work)

    def supervise(self, stop_timeout_seconds: float) -> int:
        """Until all have ended after a stop; who takes longer than that is killed."""
        self._patience_seconds = stop_timeout_seconds + _KILL_SECONDS
        signal.signal(signal.SIGALRM, self._kill)
        while self._running:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                select.select([self._signals], [], [])
                os.read(self._signals, 64)
                continue
            began, work = self._running.pop(process)
            if not self._stopping:
                sys.stderr.write(f"worker {process} ended with {os.waitstatus_to_exitcode(status)}; another begins\n")
                time.sleep(max(0.0, began + _AGAIN_SECONDS - time.monotonic()))
                if not self._stopping:
                    self._fork(work)
        return 0

    def _fork(self, work: Callable[[], int]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process == 0:
            code = 1
            try:
                signal.set_wakeup_fd(-1)
                os.close(self._signals)
                os.close(self._noted)
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)  # until the server has its own
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                code = work()
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)
        self._running[process] = time.monotonic(), work

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            signal.setitimer(signal.ITIMER_REAL, self._patience_seconds or _KILL_SECONDS)
        self._stopping = True
        self._listener.close()  # nobody is let wait for workers that have closed theirs
        self._tell(signal.SIGTERM)

    def _look_again(self, number: int, frame: FrameType | None) -> None:
        self._tell(signal.SIGHUP)

    def _kill(self, number: int, frame: FrameType | None) -> None:
        self._tell(signal.SIGKILL)

    def _tell(self, number: int) -> None:
        for process in self._running:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                pass


def _noted(number: int, frame: FrameType | None) -> None:
    """It is in the pipe."""
