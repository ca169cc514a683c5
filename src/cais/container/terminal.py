"""Terminals: the container's, received from the runtime; and the user's, made raw and always restored."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def size(descriptor: int) -> tuple[int, int] | None:
    """(rows, columns) of a terminal, or None."""
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8)))
    except OSError:
        return None
    return (rows, columns) if rows and columns else None


def set_size(descriptor: int, rows_and_columns: tuple[int, int]) -> None:
    try:
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", *rows_and_columns, 0, 0))
    except OSError:
        pass  # the container has closed its side


class Raw:
    """``with Raw(descriptor):`` the user's terminal hands every key on as it is. No terminal: nothing changes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._saved: list[Any] | None = None

    def __enter__(self) -> Raw:
        if self._descriptor >= 0 and os.isatty(self._descriptor):
            self._saved = termios.tcgetattr(self._descriptor)
            mode = termios.tcgetattr(self._descriptor)
            mode[0] &= ~(
                termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                | termios.ICRNL | termios.IXON
            )  # fmt: skip
            mode[1] &= ~termios.OPOST
            mode[2] = (mode[2] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
            mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)
        return self

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            # Also from the background: a stopped restore would leave a terminal that does not echo.
            import signal

            old = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            try:
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._saved)
            except termios.error:
                pass  # the terminal is gone
            finally:
                signal.signal(signal.SIGTTOU, old)


class ConsoleSocket:
    """Where the runtime sends the container's terminal to. ``path`` lies in a directory that is ours alone."""

    def __init__(self, directory: str, name: str = "console") -> None:
        import socket

        # The name of a socket has at most 107 bytes, and a root directory may lie deep.
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._base = name
        self._name = os.path.join(directory, name)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.bind(f"/proc/self/fd/{self._directory}/{name}")
        self._socket.listen(1)

    @property
    def path(self) -> str:
        """For another process; a short one where that is possible."""
        if len(os.fsencode(self._name)) < 108:
            return self._name
        return f"/proc/{os.getpid()}/fd/{self._directory}/{self._base}"

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def receive(self) -> int:
        """The master side of the terminal. Raises OSError."""
        import array
        import socket

        connection, _ = self._socket.accept()
        with connection:
            _, messages, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        for level, kind, data in messages:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
                os.set_inheritable(descriptors[0], False)
                return descriptors[0]
        raise OSError("the runtime sent no terminal")

    def close(self) -> None:
        self._socket.close()
        os.close(self._directory)
        try:
            os.unlink(self._name)
        except FileNotFoundError:
            pass


def await_console(pid: int, console: ConsoleSocket) -> int | None:
    """The master side that the runtime ``pid`` sends, or None where it has ended without."""
    import select

    process = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(process, select.POLLIN)
        poll.register(console.descriptor, select.POLLIN)
        if console.descriptor in [descriptor for descriptor, _ in poll.poll()]:
            try:
                return console.receive()
            except OSError:
                pass  # it opened the connection, and ended: what it logged says why
        return None
    finally:
        os.close(process)
