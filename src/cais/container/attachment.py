"""A caller's streams on a container that conmon holds: its attach socket, one of several at once.

conmon gives each of its clients everything that the container writes, as packets whose first byte tells the stream, and
passes on to the container what any of them sends. The container's life does not hang on a client: one that is killed,
or detached, leaves it running.
"""

from __future__ import annotations

import errno
import os
import select

from cais.container import terminal
from cais.container.attach import PATIENCE, Signals, write_out
from cais.errors import Unavailable, Unsupported, from_os_error
from cais.host.processes import leave_to_cat
from cais.runtime.runner import Bundle, Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    import signal
    from collections.abc import Callable

    from cais.container.detach_keys import DetachKeys
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

_STDOUT, _STDERR = 2, 3
_PACKET_BYTES = 1 << 16
# conmon reads so much at once of what it is sent.
_INPUT_BYTES = 1 << 13
_SOCKET, _CONTROL = "attach", "ctl"


class Attachment:
    """``with Attachment(bundle, name) as attached: attached.run(...)``. From the first line on what is written arrives.

    Raises Unavailable where nobody holds the container's streams any more, Unsupported where nobody shares them.
    """

    def __init__(self, bundle: Bundle, name: str, *, all_signals: bool = True) -> None:
        self.detached = False
        self._bundle = bundle
        self._socket = _connect(bundle, name)
        self._signals = Signals(resizes_only=not all_signals)
        self._keeps_stdin = False

    def __enter__(self) -> Attachment:
        self._signals.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.__exit__()
        if self._keeps_stdin and self._socket.fileno() >= 0:
            leave_to_cat((self._socket.fileno(),))
        self._socket.close()

    def run(
        self,
        streams: Streams,
        *,
        tty: bool,
        takes_stdin: bool,
        pass_signal: Callable[[int], object] | None,
        keys: DetachKeys | None = None,
        redraw: bool = False,
    ) -> bool:
        """To the end of the container's output: True. False where the detach ``keys`` were pressed.

        ``takes_stdin``: conmon closes the container's input with that of its first client. A client without one, which
        leaves before the end, must not do that. ``redraw``: what stands on the container's terminal is to be drawn
        anew. Raises BrokenPipeError where nobody reads what is written here.
        """
        self._keeps_stdin = takes_stdin and streams.stdin < 0
        pump = _Pump(self._socket, streams, self._signals, pass_signal, self._resize if tty else None, keys)
        if not tty:
            ended = pump.run()
        else:
            self._resize(redraw=redraw)
            with terminal.Raw(streams.stdin):
                ended = pump.run()
        if ended:
            self._keeps_stdin = False
        return ended

    def _resize(self, *, redraw: bool = False) -> None:
        """The container's terminal as large as the caller's. ``redraw``: another size before, so that all is drawn."""
        size = terminal.size(0) or terminal.size(1)
        if size is None:
            return
        try:
            control = os.open(
                os.path.join(self._bundle.directory, _CONTROL), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except OSError:
            return  # conmon has ended
        try:
            for rows in (size[0] + 1, size[0]) if redraw else (size[0],):
                _wait_until_read(control)
                os.write(control, f"1 {rows} {size[1]}\n".encode())
        except OSError:
            pass
        finally:
            os.close(control)


def _wait_until_read(control: int) -> None:
    """conmon takes of several messages that it reads at once the first only: the one before must have been read."""
    import fcntl
    import termios
    import time

    waiting = bytearray(4)
    for _ in range(100):
        fcntl.ioctl(control, termios.FIONREAD, waiting)
        if not any(waiting):
            return
        time.sleep(0.001)


def _connect(bundle: Bundle, name: str) -> _socket.socket:
    import _socket

    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    directory = -1
    try:
        # The name of a socket has at most 107 bytes, and a root directory may lie deep.
        directory = os.open(bundle.directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        client.connect(f"/proc/self/fd/{directory}/{_SOCKET}")
    except OSError as error:
        client.close()
        if error.errno == errno.ENOENT:
            raise Unsupported(
                f"cannot attach to container {name}: its streams belong to the command that started it",
                hint="run --rm without a terminal shares them with nobody. Start it with -d, or with -it.",
            )
        if error.errno == errno.ECONNREFUSED:
            raise Unavailable(
                f"cannot attach to container {name}: conmon, which held its streams, has been killed",
                hint="It still runs, and can be stopped or restarted.",
            )
        raise from_os_error(error, f"attach to container {name}")
    finally:
        if directory >= 0:
            os.close(directory)
    return client


class _Pump:
    """One thread and one ``poll``: packets to the caller's streams, the caller's input to the socket, signals."""

    def __init__(
        self,
        connection: _socket.socket,
        streams: Streams,
        signals: Signals,
        pass_signal: Callable[[int], object] | None,
        resize: Callable[[], None] | None,
        keys: DetachKeys | None,
    ) -> None:
        self._connection = connection
        self._stdin = streams.stdin
        self._outputs = {_STDOUT: streams.stdout, _STDERR: streams.stderr}
        self._signals = signals
        self._pass_signal = pass_signal
        self._resize = resize
        self._keys = keys
        self._waiting = b""
        self._impatience = 0
        self._poll = select.poll()

    def run(self) -> bool:
        socket = self._connection.fileno()
        self._poll.register(socket, select.POLLIN)
        if self._signals.descriptor >= 0:
            self._poll.register(self._signals.descriptor, select.POLLIN)
        if self._stdin >= 0:
            self._poll.register(self._stdin, select.POLLIN)
        os.set_blocking(socket, False)
        while True:
            for descriptor, event in self._poll.poll():
                if descriptor == self._signals.descriptor:
                    self._pass_signals()
                elif descriptor == self._stdin:
                    if not self._input():
                        return False
                else:
                    if event & select.POLLOUT:
                        self._send()
                    if event & ~select.POLLOUT and not self._output():
                        return True

    def _output(self) -> bool:
        try:
            packet = self._connection.recv(_PACKET_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not packet:
            return False
        destination = self._outputs.get(packet[0], -1)
        if destination >= 0 and not write_out(destination, packet[1:]):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return True

    def _input(self) -> bool:
        """False where the user detaches."""
        try:
            data = os.read(self._stdin, _INPUT_BYTES)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(self._stdin)
            self._stdin = -1
            if not self._waiting:
                self._end_input()
            return True
        if self._keys is not None:
            data = self._keys.pass_on(data)
        self._waiting = data
        self._send()
        return self._keys is None or not self._keys.pressed

    def _send(self) -> None:
        """What is read of the input is sent before more is read."""
        try:
            if self._waiting:
                self._connection.send(self._waiting)
            self._waiting = b""
        except BlockingIOError:
            pass
        except OSError:
            self._waiting = b""  # the container has closed its input
        socket = self._connection.fileno()
        self._poll.modify(socket, select.POLLIN | (select.POLLOUT if self._waiting else 0))
        if self._stdin >= 0:
            if self._waiting:
                self._unregister(self._stdin)
            else:
                self._poll.register(self._stdin, select.POLLIN)
        elif not self._waiting:
            self._end_input()

    def _unregister(self, descriptor: int) -> None:
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            pass

    def _end_input(self) -> None:
        if self._resize is not None:
            return  # a terminal has no end: its line discipline makes one of a key
        try:
            self._connection.shutdown(1)
        except OSError:
            pass

    def _pass_signals(self) -> None:
        for number in self._signals.arrived():
            if number == signal.SIGWINCH:
                if self._resize is not None:
                    self._resize()
                continue
            if self._pass_signal is None:
                continue
            if number in (signal.SIGINT, signal.SIGTERM):
                self._impatience += 1
                if self._impatience >= PATIENCE:
                    number = signal.SIGKILL
            self._pass_signal(number)
