"""Many containers started at once, each by a command of its own; ``CAIS_MANY=100`` makes it a hundred."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
from container_process import wait_until
from own_host import OwnHost

pytestmark = pytest.mark.root

MANY = int(os.environ.get("CAIS_MANY", "24"))
PUBLISHED = MANY // 3


def at_once(host: OwnHost, commands: list[tuple[str, ...]]) -> float:
    """All succeed; how many seconds that takes."""
    began = time.monotonic()
    started = [host.start(*words, stderr=subprocess.STDOUT) for words in commands]
    ended = [(process.communicate(timeout=300)[0].decode(), process.returncode) for process in started]
    assert [item for item in ended if item[1] != 0] == []
    return time.monotonic() - began


@pytest.mark.parametrize(("count", "flags"), [(MANY, ()), (PUBLISHED, ("-p", "80", "-p", "81/udp"))])
def test_many_are_started_at_once_and_removed_at_once(host, count, flags):
    before = host.machine()
    names = [f"c{number}" for number in range(count)]
    seconds = at_once(host, [("run", "-d", "--name", name, *flags, "box", "sleep", "1000") for name in names])
    facts = json.loads(host("container", "inspect", *names))
    assert all(item["State"]["Running"] and item["State"]["Pid"] for item in facts)
    addresses = {item["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] for item in facts}
    assert len(addresses) == count
    ports = {
        (key.partition("/")[2], place["HostPort"])
        for item in facts
        for key, places in item["NetworkSettings"]["Ports"].items()
        for place in places
    }
    assert len(ports) == count * (len(flags) // 2)
    assert host.alive().keys() == {item["Id"] for item in facts}
    assert host("system", "check") == "All is well\n"
    removed = at_once(host, [("rm", "-f", name) for name in names])
    print(f"{count} started in {seconds:.1f} s, removed in {removed:.1f} s")
    wait_until(lambda: host.machine() == before)
    assert host.nothing_left() and os.listdir(host.root / "containers") == []
    assert host.groups({item["Id"] for item in facts}) == []
