"""The processes of a container: by the host's ``ps``, or by a short list of our own where there is none."""

from __future__ import annotations

import os
import time

from cais.container.records import ContainerRecord
from cais.engine.container_runs import ContainerRuns
from cais.errors import Conflict, Failed, Invalid
from cais.host.processes import wait
from cais.runtime import cgroup_usage
from cais.runtime.find import find_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

Table = tuple[list[str], list[list[str]]]


def top(runs: ContainerRuns, record: ContainerRecord, options: Sequence[str]) -> Table:
    """(titles, rows). ``options`` are those of ps. Raises Conflict where it does not run, Invalid, Failed."""
    state = runs.store.state(record)
    if state.process is None:
        raise Conflict(f"container {record.id} is {'restarting' if state.status == 'restarting' else 'not running'}")
    _check(options)
    note = runs.runtime.note(runs.runtime.opened(record.id))
    pids = cgroup_usage.processes(note.group if note is not None else "")
    pids = _in_namespace(state.process.pid) if pids is None else pids
    runs.happenings.container("top", record)
    program = find_program("ps")
    if not program:
        if options:
            raise Failed("ps is not installed: its options cannot be used", hint="Debian: apt-get install procps")
        return _listed(pids)
    words = list(options) or ["-ef"]
    try:
        # By number: options that only choose columns would otherwise list the processes of this user's terminal.
        text = _run(program, [*words, "-q" + ",".join(map(str, pids))])
    except Failed:
        text = _run(program, words)  # some options (f, -e) do not go with -q
    return _selected(text, set(pids))


def _check(options: Sequence[str]) -> None:
    """Docker's rule: a column that is renamed to PID would be taken for the real one."""
    import re

    for option in options:
        found = re.search(r"(?:^|[\s,])(\w*)=\s*(PID\S*)", option)
        if found and found[1] != "pid":
            raise Invalid(f'specifying "{found[1]}={found[2]}" is not allowed')


def _run(program: str, options: list[str]) -> str:
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.posix_spawn(
            program, ["ps", *options], {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "COLUMNS": "32767"},
            file_actions=[(os.POSIX_SPAWN_DUP2, write, 1), (os.POSIX_SPAWN_DUP2, write, 2)],
        )  # fmt: skip
    finally:
        os.close(write)
    with open(read, encoding="utf-8", errors="surrogateescape") as output:
        text = output.read()
    if wait(child):
        lines = text.strip().splitlines()
        raise Failed(f"ps: {lines[0].removeprefix('error: ') if lines else 'it failed'}")
    return text


def _selected(text: str, pids: set[int]) -> Table:
    lines = text.split("\n")  # a name may have what else is taken for the end of a line
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise Failed("Couldn't find PID field in ps output")
    place = titles.index("PID")
    rows = []
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) > place and fields[place].isdigit() and int(fields[place]) in pids:
            rows.append(fields)
    return titles, rows


def _in_namespace(pid: int) -> list[int]:
    """Without groups: the processes that share its pid namespace, where that is its own; else it and what it began."""
    try:
        own = os.readlink(f"/proc/{pid}/ns/pid")
        if own == os.readlink("/proc/self/ns/pid"):
            return [pid]
    except OSError:
        return [pid]
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink(f"/proc/{name}/ns/pid") == own:
                found.append(int(name))
        except OSError:
            continue
    return sorted(found)


def _listed(pids: Sequence[int]) -> Table:
    """As ``ps -ef`` lists them, with numbers for users."""
    ticks = os.sysconf("SC_CLK_TCK")
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    rows = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                name, _, rest = file.read().partition(b"(")[2].rpartition(b")")
            fields = rest.split()
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read(1 << 16).replace(b"\0", b" ").strip()
            user = os.stat(f"/proc/{pid}").st_uid
        except OSError:
            continue
        spent = (int(fields[11]) + int(fields[12])) // ticks
        began = time.strftime("%H:%M", time.localtime(booted + int(fields[19]) / ticks))
        command = (words or b"[" + name + b"]").decode("utf-8", "surrogateescape")
        clock = f"{spent // 3600:02}:{spent // 60 % 60:02}:{spent % 60:02}"
        rows.append([str(user), str(pid), fields[1].decode(), "0", began, "?", clock, command])
    return ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], rows
