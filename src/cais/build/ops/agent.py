"""SSH agents for RUN: a socket in the step that leads to an agent outside, and agents for keys in files.

Protocol: draft-ietf-sshm-ssh-agent; nothing of it is looked at here.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Sequence

from cais.errors import Invalid, Unavailable, from_os_error
from cais.host.files import random_name, remove_tree
from cais.host.owners import give
from cais.host.processes import wait

_PIECE_BYTES = 16 << 10
_CONNECTIONS = 64
_READY_SECONDS = 10.0
_SERVED = (
    "echo $SSH_AGENT_PID; cat > /dev/null; kill $SSH_AGENT_PID; "
    'rm -f "$SSH_AUTH_SOCK"; exec rmdir "${SSH_AUTH_SOCK%/*}"'
)


class AgentSocket:
    """A socket at ``directory``/``name``, for ``owner`` alone by ``mode``; what connects to it talks to ``agent``.

    Raises OSError.
    """

    def __init__(self, directory: str, name: str, agent: str, owner: tuple[int, int], mode: int) -> None:
        self.path = os.path.join(directory, name)
        self._agent = agent
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._read, self._write = os.pipe()
        try:
            # The kernel takes no more than 107 bytes of a path.
            opened = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._listener.bind(f"/proc/self/fd/{opened}/{name}")
            finally:
                os.close(opened)
            give(self.path, *owner)
            os.chmod(self.path, mode)
            self._listener.listen(16)
        except BaseException:
            self._release()
            raise
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends all connections."""
        os.close(self._write)
        self._write = -1
        self._thread.join()

    def _release(self) -> None:
        self._listener.close()
        os.close(self._read)
        if self._write >= 0:
            os.close(self._write)

    def _serve(self) -> None:
        pairs: dict[int, tuple[socket.socket, socket.socket]] = {}
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        try:
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._read:
                        return
                    if descriptor == self._listener.fileno():
                        self._accept(pairs, poll)
                    elif descriptor in pairs:
                        source, sink = pairs[descriptor]
                        if not _move(source, sink):
                            for item in (source, sink):
                                poll.unregister(item)
                                del pairs[item.fileno()]
                                item.close()
        finally:
            for source, _ in pairs.values():
                source.close()
            self._listener.close()
            os.close(self._read)

    def _accept(self, pairs: dict[int, tuple[socket.socket, socket.socket]], poll: select.poll) -> None:
        try:
            inside, _ = self._listener.accept()
        except OSError:
            return
        outside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if len(pairs) >= 2 * _CONNECTIONS:
                raise OSError("too many connections")
            outside.connect(self._agent)
        except OSError:
            # The step sees a connection that ends, as from an agent that has died.
            inside.close()
            outside.close()
            return
        for item, other in ((inside, outside), (outside, inside)):
            item.settimeout(_READY_SECONDS)
            pairs[item.fileno()] = (item, other)
            poll.register(item, select.POLLIN)


def _move(source: socket.socket, sink: socket.socket) -> bool:
    """False when it is over."""
    try:
        data = source.recv(_PIECE_BYTES)
        if data:
            sink.sendall(data)
        return bool(data)
    except OSError:
        return False


class KeyAgent:
    """An ssh-agent with the keys of ``files``; it ends when this process does, whatever happens.

    Raises Unavailable (no OpenSSH), NotFound, Invalid (no key, or one with a passphrase).
    """

    def __init__(self, files: Sequence[str]) -> None:
        programs = [_program(name) for name in ("ssh-agent", "ssh-add")]
        if not all(programs):
            raise Unavailable(
                "an SSH agent for keys is asked for, and ssh-agent and ssh-add are not installed",
                hint="Install OpenSSH's client (Debian: openssh-client), or give a socket: --ssh default=SOCKET.",
            )
        # In a short place: a socket's path has at most 107 bytes.
        self._directory = f"/tmp/cais-agent.{random_name(8)}"
        self.socket = os.path.join(self._directory, "socket")
        os.mkdir(self._directory, 0o700)
        self._child = self._agent = -1
        # The agent serves a program: one that reads until this process lets go of the pipe, and then ends the agent,
        # which by itself looks for its program every ten seconds only.
        read, self._hold = os.pipe()
        try:
            self._start(programs[0], read)
            for path in files:
                self._add(programs[1], path)
        except BaseException:
            self.close()
            raise

    def _start(self, program: str, read: int) -> None:
        said, say = os.pipe()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._child = os.posix_spawn(
                program,
                [program, "-a", self.socket, "/bin/sh", "-c", _SERVED],
                {"PATH": "/usr/bin:/bin"},
                file_actions=[(os.POSIX_SPAWN_DUP2, item, place) for place, item in enumerate((read, say, null))],
                setsid=True,
            )
        except OSError as error:
            os.close(said)
            raise from_os_error(error, f"start {program}")
        finally:
            for descriptor in (null, read, say):
                os.close(descriptor)
        with open(said, "rb") as pipe:
            text = pipe.readline().strip()
        if not text.isdigit():
            raise Unavailable(f"{program} did not start")
        self._agent = int(text)

    def _add(self, program: str, path: str) -> None:
        """By standard input: ssh-add refuses files that others may read, and Docker does not."""
        try:
            key = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, f"read the SSH key {path}")
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            child = os.posix_spawn(
                program,
                [program, "-q", "-"],
                {"PATH": "/usr/bin:/bin", "SSH_AUTH_SOCK": self.socket, "SSH_ASKPASS_REQUIRE": "never"},
                file_actions=[(os.POSIX_SPAWN_DUP2, key, 0)] + [(os.POSIX_SPAWN_DUP2, null, place) for place in (1, 2)],
                setsid=True,
            )
        except OSError as error:
            raise from_os_error(error, f"start {program}")
        finally:
            os.close(key)
            os.close(null)
        code = wait(child)
        if code == 2:
            raise Unavailable("the ssh-agent that was started does not answer")
        if code:
            raise Invalid(
                f"failed to parse {path}: no SSH key, or one with a passphrase",
                hint="A key with a passphrase comes by an agent: ssh-add it, and use --ssh default.",
            )

    def close(self) -> None:
        if self._agent > 0:
            try:
                os.kill(self._agent, signal.SIGTERM)
            except ProcessLookupError:
                pass
        os.close(self._hold)
        if self._child > 0:
            wait(self._child)
        remove_tree(self._directory)


def _program(name: str) -> str:
    for directory in ("/usr/bin", "/bin", "/usr/local/bin"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return ""
