"""Commands on volumes killed at random moments: no file is lost, none is half there, nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("CAIS_KILLS", "20"))
FILES = 400
SECONDS = 0.35  # longer than any of the commands takes


def place(cais, name: str) -> Path:
    return Path(json.loads(cais("volume", "inspect", name).stdout)[0]["Mountpoint"])


def state(path: Path) -> set[str]:
    """What the files say: one word where all are of one version."""
    return {file.read_text() for file in path.iterdir()} if len(list(path.iterdir())) == FILES else {"half"}


def fill(path: Path, word: str) -> None:
    for number in range(FILES):
        (path / str(number)).write_text(word)


def kill(cais, chance: random.Random, words: tuple[str, ...]) -> None:
    process = cais.start(*words)
    try:
        process.wait(timeout=chance.uniform(0.03, SECONDS))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_copies_killed_at_random_moments(cais, tmp_path):
    chance = random.Random(20261124)
    cais("volume", "create", "data")
    fill(place(cais, "data"), "one")
    cais("volume", "snapshot", "data", "one")
    fill(place(cais, "data"), "two")
    cais("volume", "snapshot", "data", "two")
    cais("volume", "export", "-o", str(tmp_path / "two.tar"), "data")
    number = 0
    end = time.monotonic() + 60
    for number in range(1, KILLS + 1):
        words = chance.choice([
            ("volume", "restore", "data", "one"),
            ("volume", "restore", "data", "two"),
            ("volume", "import", "data", str(tmp_path / "two.tar")),
            ("volume", "clone", "data@one", f"clone{number}"),
            ("volume", "snapshot", "data", f"taken{number}"),
            ("volume", "rename", "data", "data"),
            ("volume", "rm", f"clone{number - 1}"),
            ("volume", "export", "-o", str(tmp_path / "new.tar"), "data"),
        ])  # fmt: skip
        kill(cais, chance, words)
        if number % 10 == 0:
            assert state(place(cais, "data")) in ({"one"}, {"two"}), words
        if time.monotonic() > end:
            break
    assert number > KILLS // 2
    snapshots = cais("volume", "ls", "--snapshots", "-q").stdout.split()
    for name in snapshots:
        assert state(place(cais, name)) in ({"one"}, {"two"})
    volumes = cais("volume", "ls", "-q").stdout.split()
    for name in volumes:
        assert state(place(cais, name)) in ({"one"}, {"two"})
    assert (
        not (tmp_path / "new.tar").exists()
        or (tmp_path / "new.tar").stat().st_size == (tmp_path / "two.tar").stat().st_size
    )
    assert cais("system", "check", "--repair").returncode == 0
    directories = os.listdir(cais.root / "volumes")
    for path in cais.root.joinpath("volumes").iterdir():
        os.utime(path, (0, 0))  # one that was just made might still be filled by somebody
    volumes.append(cais("volume", "create").stdout)  # the next command takes away what was left
    left = len(os.listdir(cais.root / "volumes"))
    assert left == len(snapshots) + len(volumes), directories


def test_a_first_use_killed_at_random_moments(cais_with_base, tmp_path):
    """The volume ends with all files of the image, whatever happened to the first containers."""
    cais = cais_with_base
    chance = random.Random(20261125)
    context = cais.context("many", "FROM base\nCOPY many /many\n", [(f"many/{n}", b"one") for n in range(FILES)])
    cais("build", "-q", "-t", "many", str(context))
    for number in range(7):
        use = ("run", "--rm", "--network", "none", "-v", f"first{number}:/many", "many", "true")
        for _ in range(chance.randrange(1, 4)):
            kill(cais, chance, use)
        cais(*use)
        path = place(cais, f"first{number}")
        assert state(path) == {"one"}
        assert sorted(os.listdir(path.parent)) == ["data", "fill.lock", "lock"]


def test_what_was_paused_for_a_snapshot_goes_on_when_that_is_killed(cais_with_base):
    cais = cais_with_base
    cais("run", "-d", "--name", "busy", "--network", "none", "-v", "data:/d", "base", "sh", "-c",
         "i=0; while :; do i=$((i+1)); echo $i > /d/new; mv /d/new /d/count; done")  # fmt: skip
    try:
        count = place(cais, "data") / "count"
        files = place(cais, "data") / "files"
        files.mkdir()
        fill(files, "one")
        chance = random.Random(20261126)
        for number in range(8):
            kill(cais, chance, ("volume", "snapshot", "data", f"taken{number}"))
            before = count.read_text()
            end = time.monotonic() + 20
            while count.read_text() == before:
                assert time.monotonic() < end, "it stands still"
                time.sleep(0.005)
    finally:
        cais("rm", "-f", "busy")


def test_a_volume_is_not_removed_from_under_a_container_that_is_made(cais_with_base):
    cais = cais_with_base
    creating = [cais.start("create", "--network", "none", "-v", f"d{number}:/d", "base", "true") for number in range(4)]
    while any(process.poll() is None for process in creating):
        cais("volume", "prune", "-af")
    names = set(cais("volume", "ls", "-q").stdout.split())
    for id in cais("ps", "-aq").stdout.split():
        mounts = json.loads(cais("inspect", id).stdout)[0]["Mounts"]
        assert {mount["Name"] for mount in mounts} <= names
