"""Commands, conmon, the OCI runtime and whoever notes an end killed at random moments, several commands at a time.

Afterwards what is said of each container is true, and the host is as it was. ``CAIS_KILLS`` says how many are killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from container_process import wait_until
from own_host import OwnHost

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("CAIS_KILLS", "20"))
CHECK_EVERY = 20
AT_ONCE = 3
NAMES = [f"c{number}" for number in range(5)]
NETWORKS = ("one", "two")
VICTIMS = ("cli", "cli", "cli", "crun", "crun", "conmon", "finish", "finish", "aardvark-dns")
PATIENT = "trap 'exit 0' TERM; while :; do sleep 0.05; done"


def commands(chance: random.Random, directory: Path) -> tuple[str, ...]:
    name, network, volume = chance.choice(NAMES), chance.choice(NETWORKS), f"v{chance.randrange(3)}"
    port = 18000 + NAMES.index(name)
    on = ("--name", name, "--network", network, "-p", f"{port}:80", "-v", f"{volume}:/data", "-v", "/more")
    choices: list[tuple[str, ...]] = [
        ("run", *on, "box", "sh", "-c", "echo x > /data/x; sleep 0.1"),
        ("run", "--rm", *on, "box", "sh", "-c", "sleep 0.1"),
        ("run", "--rm", "-t", "--name", name, "box", "sh", "-c", "sleep 0.1"),
        ("run", "-d", *on, "box", "sh", "-c", PATIENT),
        ("run", "-d", "--name", name, "box", "sh", "-c", PATIENT),
        ("run", "-d", "--rm", "-P", "--expose", "99", "--name", name, "box", "sh", "-c", "sleep 0.2"),
        ("run", "-d", "--restart", "on-failure:2", *on, "box", "sh", "-c", "sleep 0.1; exit 1"),
        ("run", "-d", "--health-cmd", "true", "--health-interval", "50ms", *on, "box", "sh", "-c", PATIENT),
        ("start", name),
        ("start", "-a", name),
        ("stop", "-t", "1", name),
        ("restart", "-t", "1", name),
        ("kill", name),
        ("exec", name, "sh", "-c", "echo y > /data/y; sleep 0.1"),
        ("exec", "-d", name, "sleep", "1000"),
        ("rm", "-f", name),
        ("rm", "-fv", name),
        ("network", "connect", network, name),
        ("network", "disconnect", network, name),
        ("cp", "/bin/busybox", f"{name}:/copied"),
        ("cp", f"{name}:/bin", str(directory / f"out{name}")),
        ("pause", name),
        ("unpause", name),
        ("commit", name, f"made:{name}"),
        ("container", "edit", "-e", "A=B", "-p", f"{port}:81", name),
        ("container", "prune", "-f"),
        ("volume", "prune", "-f"),
    ]
    return choices[chance.randrange(len(choices))]


class Killing:
    """Threads that each start commands and kill something of each."""

    def __init__(self, host: OwnHost, seed: int, directory: Path) -> None:
        self.host = host
        self.chance = random.Random(seed)
        self.directory = directory
        self.killed: dict[str, int] = {}
        self.said: list[tuple[tuple[str, ...], str]] = []
        self.failures: list[BaseException] = []

    def round(self, kills: int) -> None:
        goal = sum(self.killed.values()) + kills
        threads = [threading.Thread(target=self._run, args=(goal,)) for _ in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, goal: int) -> None:
        try:
            self._work(goal)
        except BaseException as error:
            self.failures.append(error)

    def _work(self, goal: int) -> None:
        while not self.failures and sum(self.killed.values()) < goal:
            words = commands(self.chance, self.directory)
            process = self.host.start(*words, stderr=subprocess.STDOUT)
            victim = self.chance.choice(VICTIMS)
            if victim == "cli":
                try:
                    process.wait(timeout=self.chance.random() * 0.7)
                except subprocess.TimeoutExpired:
                    process.send_signal(self.chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
                    self._count(victim)
            else:
                self._kill_one(victim)
            self.said.append((words, self._rest(process, f"{words} hangs after {victim} was killed")))

    def _rest(self, process: subprocess.Popen[bytes], otherwise: str) -> str:
        """What a command has said at its end."""
        try:
            return process.communicate(timeout=10)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            # It waits for a container that goes on until it is stopped, or that another command has paused.
            for name in NAMES:
                self.host("unpause", name, code=None)
                self.host("kill", name, code=None)
        try:
            return process.communicate(timeout=30)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(otherwise)

    def _kill_one(self, victim: str) -> None:
        """What is found first of a kind, some time after it has come."""
        end = time.monotonic() + 0.6
        delay = self.chance.random() * 0.02
        while time.monotonic() < end:
            for pid in self._found(victim):
                threading.Event().wait(delay)
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                self._count(victim)
                return

    def _found(self, victim: str) -> Iterator[int]:
        """Processes of this root directory alone."""
        root, wanted = os.fsencode(self.host.root), victim.encode()
        names = [name for name in os.listdir("/proc") if name.isdigit()]
        self.chance.shuffle(names)
        for name in names:
            try:
                line = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            words = line.split(b"\0")
            program = os.path.basename(words[0])
            is_it = b"cais.engine.finish" in words and program != b"conmon" if victim == "finish" else program == wanted
            if is_it and root in line:
                yield int(name)

    def _count(self, victim: str) -> None:
        self.killed[victim] = self.killed.get(victim, 0) + 1


def assert_true(host: OwnHost) -> None:
    """Each container that is said to run does, and no other has a process."""
    wrong: list[object] = []

    def is_true() -> bool:
        ids = host("ps", "-aq", "--no-trunc").split()
        # What is removed with its end may just have gone: that is said behind the rest.
        facts = json.JSONDecoder().raw_decode(host("container", "inspect", *ids, code=None))[0] if ids else []
        alive = host.alive()
        wrong.clear()
        for item in facts:
            state, pids = item["State"], alive.get(item["Id"], set())
            if state["Running"] and not state["Restarting"]:
                if state["Pid"] not in pids:
                    wrong.append((item["Name"], state, pids))
            elif pids:
                wrong.append((item["Name"], state, pids))
        wrong.extend(("not known", id, alive[id]) for id in alive.keys() - set(ids))
        return not wrong

    try:
        wait_until(is_true, 15)
    except AssertionError:
        raise AssertionError(wrong)


def test_whatever_is_killed_states_are_true_and_nothing_leaks(host, tmp_path):
    for name in NETWORKS:
        host("network", "create", name)
    for network in NETWORKS:
        host("run", "--rm", "--network", network, "box", "true")
    host("commit", host("create", "box").strip(), "made:0")
    host("container", "prune", "-f")
    before = host.machine()
    seed = int(os.environ.get("CAIS_SEED", random.randrange(1 << 30)))
    print("seed", seed)
    killing = Killing(host, seed, tmp_path)
    while sum(killing.killed.values()) < KILLS:
        killing.round(CHECK_EVERY)
        assert_true(host)
    print(killing.killed)
    bad = [item for item in killing.said if "Traceback" in item[1] or "internal error" in item[1]]
    assert not bad, bad
    told = host("events", "--since", "1h", "--until", "0s", "--filter", "type=container", "--format", "{{.Actor.ID}}")
    ids = set(told.split())
    for id in host("ps", "-aq").split():
        host("rm", "-fv", id)
    print(host("system", "check", "--repair", code=None))
    assert host("system", "check") == "All is well\n"
    wait_until(lambda: not host.alive())
    try:
        wait_until(lambda: host.machine() == before, 10)
    except AssertionError:
        after = host.machine()
        raise AssertionError({key: after[key] for key in after if after[key] != before[key]})
    assert host.groups(ids) == []
    assert host.nothing_left(), os.listdir(host.root / "run")
    assert os.listdir(host.root / "containers") == []
    assert os.listdir(host.root / "dns") == []
