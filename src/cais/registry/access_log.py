"""The access log: one line of JSON for each request, written whole by one call, so that several processes share a file.

A line has no secret in it: neither the query of an address (some clients put tokens there) nor any header but the
user agent and the request's id.
"""

from __future__ import annotations

import os
import select
import stat
import time
from json.encoder import encode_basestring_ascii as quoted

from cais.errors import from_os_error
from cais.spec.named import NamedTuple

# What came from outside is cut, so that a line stays below what a pipe takes at once (PIPE_BUF).
_LONGEST_PATH, _LONGEST_AGENT, _LONGEST_METHOD = 1024, 200, 20


class Answered(NamedTuple):
    """One request that is over. ``who`` is "" for anonymous ones; ``whole`` is False where the answer broke off."""

    request_id: str
    client: str
    method: str
    path: str
    status: int
    received_bytes: int
    sent_bytes: int
    seconds: float
    who: str
    agent: str
    whole: bool


class AccessLog:
    """Appends to ``target``: "-" is standard output, "" nothing, else a file. Raises as ``from_os_error`` says.

    Lines that cannot be written (a full disk, a reader asleep or gone) are counted in ``lost`` and stop nothing.
    """

    def __init__(self, target: str) -> None:
        self.lost = 0
        self._descriptor = -1
        self._second, self._text = -1, ""
        self._poll: select.poll | None = None
        if target == "-":
            self._descriptor = os.dup(1)
        elif target:
            try:
                self._descriptor = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            except OSError as error:
                raise from_os_error(error, f"open the access log {target}")
        if self._descriptor >= 0 and not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, done: Answered) -> None:
        """Adds the line for a request."""
        if self._descriptor < 0:
            return
        line = (
            f'{{"time":"{self._now()}","id":"{done.request_id}","client":{quoted(done.client)},'
            f'"method":{quoted(done.method[:_LONGEST_METHOD])},"path":{quoted(done.path[:_LONGEST_PATH])},'
            f'"status":{done.status},"received":{done.received_bytes},"sent":{done.sent_bytes},'
            f'"seconds":{done.seconds:.6f},"who":{quoted(done.who)},"agent":{quoted(done.agent[:_LONGEST_AGENT])}'
            + ("}\n" if done.whole else ',"broken":true}\n')
        )
        # A pipe whose reader sleeps must not stop everybody: it takes a line whole, or it is asked in vain.
        if self._poll is not None and not self._poll.poll(0):
            self.lost += 1
            return
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            self.lost += 1

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"
