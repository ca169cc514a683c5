"""``container attach``, and the attached ways of ``run`` and ``start``: the caller at the streams that conmon holds."""

from __future__ import annotations

import os

from cais.container import detach_keys, ending, terminal
from cais.container.attachment import Attachment
from cais.container.options import AttachOptions, RunOptions
from cais.container.plan import Plan
from cais.container.records import ContainerRecord
from cais.engine.container_runs import ContainerRuns
from cais.errors import Conflict
from cais.runtime.runner import Streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.runtime.runner import Bundle


def run_streams(options: RunOptions, given: Streams) -> Streams:
    """Which of ``given`` a foreground run has, by ``-i`` and ``-a``."""
    wanted = {name.lower() for name in options.attach}
    return Streams(
        given.stdin if options.interactive else -1,
        given.stdout if not wanted or "stdout" in wanted else -1,
        given.stderr if not wanted or "stderr" in wanted else -1,
    )


def start_attached(
    runs: ContainerRuns,
    record: ContainerRecord,
    streams: Streams,
    options: AttachOptions,
    warn: Callable[[str], None],
) -> int:
    """Starts it with the caller attached from its first line on; the exit code, 0 where the caller detached.

    One that runs already is attached to. Raises as ``ContainerRuns.detached``.
    """
    plan = Plan.from_json(record.plan)
    keys = _keys(plan, streams, options)
    attached: list[Attachment] = []

    def attach(bundle: Bundle) -> None:
        attached.append(Attachment(bundle, record.name, all_signals=options.sig_proxy))
        attached[0].__enter__()

    shown = max(streams.stdin, streams.stdout)
    size = terminal.size(shown) if plan.tty and shown >= 0 else None
    with runs.store.witness(record):
        try:
            if not runs.detached(record, warn, console_size=size, before=attach):
                attach(runs.runtime.opened(record.id))
            record = runs.records.get(record.id)
            ended = _run(runs, record, attached[0], plan, streams, keys)
        finally:
            for item in attached:
                item.__exit__()
        if not ended:
            runs.store.happenings.container("detach", record)
            return 0
        code = ending.wait_for_run(runs.store, record)
    if record.auto_remove:
        runs.remove_quietly(record)
    return code


def attach(runs: ContainerRuns, name: str, streams: Streams, options: AttachOptions) -> int | None:
    """To the container's end: its exit code; None where the detach keys were pressed.

    Raises NotFound; Conflict where it does not run; Unsupported, Unavailable where its streams cannot be shared.
    """
    record = runs.records.get(name)
    plan = Plan.from_json(record.plan)
    keys = _keys(plan, streams, options)
    state = runs.store.state(record)
    for status, word, instead in (
        ("paused", "paused", "unpause it first"),
        ("restarting", "restarting", "wait until it is running"),
    ):
        if state.status == status:
            raise Conflict(f"You cannot attach to a {word} container, {instead}")
    if not state.lives:
        raise Conflict("You cannot attach to a stopped container, start it first")
    # With a terminal the keys go through it, and a signal is the command's own.
    proxies = options.sig_proxy and not plan.tty
    with runs.store.witness(record):
        with Attachment(runs.runtime.opened(record.id), record.name, all_signals=proxies) as attached:
            runs.store.happenings.container("attach", record)
            if not _run(runs, record, attached, plan, streams, keys, sig_proxy=proxies, redraw=True):
                runs.store.happenings.container("detach", record)
                return None
        return ending.wait_for_run(runs.store, record)


def _run(
    runs: ContainerRuns,
    record: ContainerRecord,
    attached: Attachment,
    plan: Plan,
    streams: Streams,
    keys: detach_keys.DetachKeys | None,
    *,
    sig_proxy: bool = True,
    redraw: bool = False,
) -> bool:
    def pass_signal(number: int) -> None:
        runs.store.signal(record, number)

    return attached.run(
        streams._replace(stdin=streams.stdin if plan.stdin else -1),
        tty=plan.tty,
        takes_stdin=plan.stdin and not plan.detach and not plan.tty,
        pass_signal=pass_signal if sig_proxy else None,
        keys=keys,
        redraw=redraw,
    )


def _keys(plan: Plan, streams: Streams, options: AttachOptions) -> detach_keys.DetachKeys | None:
    """As with Docker, keys detach from terminals alone. Raises Invalid."""
    wanted = detach_keys.parse(detach_keys.DEFAULT if options.detach_keys is None else options.detach_keys)
    typed = plan.tty and plan.stdin and streams.stdin >= 0 and os.isatty(streams.stdin)
    return detach_keys.DetachKeys(wanted) if typed else None
