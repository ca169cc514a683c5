"""Credentials: the secrets and SSH agents that RUN may ask for. Their values stay in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.errors import Invalid, from_os_error
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.ops.agent import KeyAgent

SECRET_LIMIT_BYTES = 500 << 10


class SecretSource(NamedTuple):
    """Where a secret is: in a file, or ``value``."""

    path: str = ""
    value: bytes | None = None


class AgentSource(NamedTuple):
    """An agent that runs, by its socket, or the files of the keys for one of our own."""

    socket: str = ""
    keys: tuple[str, ...] = ()


class Credentials:
    """By id. Nothing is read before a RUN asks for it. Threads may share it; close it at the end."""

    def __init__(self, secrets: Mapping[str, SecretSource], agents: Mapping[str, AgentSource]) -> None:
        import threading

        self._secrets = secrets
        self._agents = agents
        self._lock = threading.Lock()
        self._started: dict[str, KeyAgent] = {}

    def secret(self, id: str) -> bytes | None:
        """None where there is none. Raises Invalid (too big), NotFound, Denied."""
        source = self._secrets.get(id)
        if source is None or source.value is not None:
            return None if source is None else source.value
        try:
            with open(source.path, "rb") as file:
                value = file.read(SECRET_LIMIT_BYTES + 1)
        except OSError as error:
            raise from_os_error(error, f"read the secret {id}")
        if len(value) > SECRET_LIMIT_BYTES:
            raise too_big(id)
        return value

    def agent(self, id: str) -> str | None:
        """The socket of an agent; it may have to be started. Raises Unavailable, Invalid (a key), NotFound."""
        source = self._agents.get(id)
        if source is None or source.socket:
            return None if source is None else source.socket
        from cais.build.ops.agent import KeyAgent

        with self._lock:
            if id not in self._started:
                self._started[id] = KeyAgent(source.keys)
            return self._started[id].socket

    def close(self) -> None:
        for agent in self._started.values():
            agent.close()
        self._started.clear()


def too_big(id: str) -> Invalid:
    return Invalid(f"secret {id} too big. max size {SECRET_LIMIT_BYTES >> 10}KiB")


def check_size(id: str, path: str) -> None:
    """Raises Invalid, NotFound as Docker does where a file cannot be a secret."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise from_os_error(error, f"stat the secret {id}")
    if status.st_size > SECRET_LIMIT_BYTES:
        raise too_big(id)
