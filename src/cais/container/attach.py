"""The foreground: a container's streams to the caller's, signals passed to it.

One thread and one ``poll``: the runtime's end, the container's output, the caller's input, and signals as bytes.
"""

from __future__ import annotations

import os
import select
import sys

from cais.host.processes import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from cais.container.detach_keys import DetachKeys
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start

_BUFFER_BYTES = 1 << 16
# More input than this is not read ahead of what the container takes.
_INPUT_LIMIT_BYTES = 1 << 18
_PASSED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM,
    signal.SIGCONT, signal.SIGWINCH,
)  # fmt: skip
# So many SIGINT or SIGTERM, and the container is killed.
PATIENCE = 3
_RETRY_MILLISECONDS = 10
# No runtime has more to say of why it does not start: who writes more is the program.
_HELD_LIMIT_BYTES = 1 << 20


class Signals:
    """``with Signals() as signals:`` what arrives becomes readable at ``descriptor``; only in the main thread.

    It lasts until the container's end is noted and cleaned up: an impatient user's last signals must not cut that off.
    ``resizes_only``: all others do what they did before.
    """

    def __init__(self, *, resizes_only: bool = False) -> None:
        self.descriptor = -1
        self._numbers = (signal.SIGWINCH,) if resizes_only else _PASSED
        self._old: dict[int, object] = {}

    def __enter__(self) -> Signals:
        threading = sys.modules.get("threading")  # who never loaded it has one thread
        if threading is None or threading.current_thread() is threading.main_thread():
            self.descriptor, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            # What a command makes to notice signals would be one that the container is sent.
            self._old_timer = signal.setitimer(signal.ITIMER_REAL, 0)
            self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            for number in self._numbers:
                self._old[number] = signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor >= 0:
            for number, handler in self._old.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
            signal.set_wakeup_fd(self._old_wakeup)
            signal.setitimer(signal.ITIMER_REAL, *self._old_timer)
            os.close(self.descriptor)
            os.close(self._write)
            self.descriptor = -1

    def arrived(self) -> bytes:
        try:
            return os.read(self.descriptor, 64)
        except BlockingIOError:
            return b""


def _noted(number: int, frame: object) -> None:
    """The wake-up descriptor has it already."""


class Pump:
    """Moves bytes until the runtime ``pid`` has ended and its output is read.

    ``outputs``: descriptor to read from, (descriptor to write to, stream name for the log). ``stdin`` and ``target``
    are the caller's input and the container's, or -1. ``held`` tells whether stderr must be kept back for now, until it
    says no for the first time: what a runtime that cannot start writes there is said again by the error. ``on_leave``
    is given what the container still writes to, when this process leaves it before its end.
    """

    def __init__(
        self,
        pid: int,
        outputs: dict[int, tuple[int, bytes]],
        *,
        stdin: int = -1,
        target: int = -1,
        signals: Signals | None = None,
        pass_signal: Callable[[int], bool] | None = None,
        on_resize: Callable[[], None] | None = None,
        held: Callable[[], bool] | None = None,
        terminal: bool = False,
        keys: DetachKeys | None = None,
        on_leave: Callable[[tuple[int, ...]], None] | None = None,
        on_begun: Callable[[], None] | None = None,
    ) -> None:
        self._pid = pid
        self._outputs = dict(outputs)
        self._stdin = stdin
        self._target = target
        self._signals = signals
        self._pass_signal = pass_signal
        self._on_resize = on_resize
        self._held = held
        self._kept: list[tuple[int, bytes]] = []
        self._terminal = terminal
        self._keys = keys
        self._on_leave = on_leave
        self._on_begun = on_begun
        self.detached = False
        self._waiting = b""
        self._impatience = 0
        self._undelivered: list[int] = []
        self._poll = select.poll()

    def run(self) -> int:
        """The exit code of the runtime. The descriptors of ``outputs`` and ``target`` are closed.

        Where the detach ``keys`` were pressed it is 0, and ``detached`` is True.
        """
        process = os.pidfd_open(self._pid)
        self._poll.register(process, select.POLLIN)
        for descriptor in self._outputs:
            self._poll.register(descriptor, select.POLLIN)
        if self._signals is not None and self._signals.descriptor >= 0:
            self._poll.register(self._signals.descriptor, select.POLLIN)
        if self._target >= 0:
            os.set_blocking(self._target, False)
        if self._stdin >= 0:
            self._poll.register(self._stdin, select.POLLIN)
        elif self._target >= 0 and not self._terminal:
            self._close_target()
        code: int | None = None
        ended = False
        try:
            while (code is None or self._outputs) and not self.detached:
                if self._undelivered:
                    self._deliver()
                undecided = self._kept or self._on_begun is not None
                if undecided and self._held is not None and not self._held():
                    self._held = None
                    self.kept()
                    undecided = False
                pending = self._undelivered or (undecided and code is None)
                for descriptor, event in self._poll.poll(_RETRY_MILLISECONDS if pending else None):
                    if descriptor == process:
                        code = wait(self._pid)
                        self._undelivered.clear()
                        self._pass_signal = None
                        self._poll.unregister(process)
                        self._stop_input()
                    elif descriptor in self._outputs:
                        self._output(descriptor)
                    elif self._signals is not None and descriptor == self._signals.descriptor:
                        self._pass_signals()
                    elif descriptor == self._stdin:
                        self._input()
                    elif descriptor == self._target:
                        self._flush(event)
            ended = not self.detached
            return code or 0
        finally:
            os.close(process)
            if not ended and self._on_leave is not None:
                self._on_leave(tuple(self._outputs))
            for descriptor in self._outputs:
                os.close(descriptor)
            self._close_target()

    def kept(self) -> None:
        """The container runs, or ran after all: that is told, and written what was held back."""
        if self._on_begun is not None:
            self._on_begun()
            self._on_begun = None
        for destination, data in self._kept:
            write_out(destination, data)
        self._kept.clear()

    def _output(self, descriptor: int) -> None:
        destination, stream = self._outputs[descriptor]
        try:
            data = os.read(descriptor, _BUFFER_BYTES)
        except OSError:
            data = b""  # a terminal whose other side is closed
        if not data:
            self._end_output(descriptor)
            return
        if stream == b"stderr" and self._held is not None:
            if self._held() and sum(len(piece) for _, piece in self._kept) < _HELD_LIMIT_BYTES:
                self._kept.append((destination, data))
                return
            self._held = None
            self.kept()
        if not write_out(destination, data):
            # Nobody reads any more: the container is to see that, too.
            self._end_output(descriptor)

    def _end_output(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._outputs[descriptor]
        if descriptor != self._target:
            os.close(descriptor)

    def _input(self) -> None:
        try:
            data = os.read(self._stdin, _BUFFER_BYTES)
        except OSError:
            data = b""
        if not data:
            self._stop_input()
            if not self._waiting and not self._terminal:
                self._close_target()
            return
        if self._keys is not None:
            data = self._keys.pass_on(data)
            self.detached = self._keys.pressed
        self._waiting += data
        self._flush(0)

    def _flush(self, event: int) -> None:
        try:
            while self._waiting:
                self._waiting = self._waiting[os.write(self._target, self._waiting) :]
        except BlockingIOError:
            pass
        except OSError:
            # The container has closed its input: nothing more goes there.
            self._waiting = b""
            self._stop_input()
            if not self._terminal:
                self._close_target()
            return
        if self._target < 0 or self._target in self._outputs:
            # A terminal is one descriptor for both ways.
            if self._target in self._outputs:
                self._poll.modify(self._target, select.POLLIN | (select.POLLOUT if self._waiting else 0))
        elif self._waiting:
            self._poll.register(self._target, select.POLLOUT)
        else:
            self._unregister(self._target)
            if self._stdin < 0:
                self._close_target()
        if self._stdin >= 0:
            # Unregistered, not masked: a closed pipe would be reported all the time.
            if len(self._waiting) < _INPUT_LIMIT_BYTES:
                self._poll.register(self._stdin, select.POLLIN)
            else:
                self._unregister(self._stdin)

    def _stop_input(self) -> None:
        if self._stdin >= 0:
            self._unregister(self._stdin)
            self._stdin = -1

    def _unregister(self, descriptor: int) -> None:
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            pass

    def _close_target(self) -> None:
        if self._target >= 0 and self._target not in self._outputs:
            self._unregister(self._target)
            os.close(self._target)
            self._target = -1

    def _pass_signals(self) -> None:
        assert self._signals is not None
        for number in self._signals.arrived():
            if number == signal.SIGWINCH:
                if self._on_resize is not None:
                    self._on_resize()
                continue
            if number in (signal.SIGINT, signal.SIGTERM):
                self._impatience += 1
                if self._impatience >= PATIENCE:
                    number = signal.SIGKILL
            self._undelivered.append(number)

    def _deliver(self) -> None:
        if self._pass_signal is None:
            self._undelivered.clear()
        while self._undelivered and self._pass_signal is not None and self._pass_signal(self._undelivered[0]):
            del self._undelivered[0]


def write_out(descriptor: int, data: bytes) -> bool:
    """False where nobody reads any more. A descriptor that does not block is waited for: order goes before speed."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except OSError:
            return False
    return True
