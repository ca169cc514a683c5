"""Networks that tests have left on the host: a test that is killed half-way takes nothing away.

What is on the host is compared with the root directories below a directory of this run, so that nobody else's goes.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cais.engine.settings import Settings
from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.network import leftovers
from cais.network.store import Networks


def take_away(top: Path) -> list[str]:
    """Ends all networks of the root directories below ``top``; what was still there, a line each."""
    if os.geteuid() != 0 or not shutil.which("nft"):
        return []
    there = _bridges() | _tables()
    if not there:
        return []
    said = []
    for root in _roots(top):
        if there.isdisjoint(_names(root)):
            continue
        stores = Stores(Settings(str(root)))
        try:
            for item in leftovers.find(Networks(str(root), stores.database), lambda id: False):
                item.remove()
                said.append(f"{root}: {item.subject} {item.problem}")
        except (CaisError, OSError) as error:
            said.append(f"{root}: {error}")
        finally:
            stores.close()
    return said


def _bridges() -> set[str]:
    """By their addresses, which are made of their networks' ids."""
    return {
        address
        for path in Path("/sys/class/net").glob("*/address")
        if (address := path.read_text().strip()).startswith("02:ca:15:")
    }


def _tables() -> set[str]:
    """The nftables tables of root directories other than the system's."""
    listed = subprocess.run(["nft", "list", "tables", "inet"], capture_output=True, text=True, check=False).stdout
    return {line.split()[-1] for line in listed.splitlines() if line.split()[-1].startswith("cais_")}


def _roots(top: Path) -> Iterator[Path]:
    for directory, below, files in os.walk(top):
        if "cais.db" in files:
            below.clear()
            yield Path(directory)


def _names(root: Path) -> set[str]:
    """What a root directory's networks are called on the host."""
    try:
        with closing(sqlite3.connect(f"file:{root / 'cais.db'}?mode=ro", uri=True)) as database:
            ids = [row[0] for row in database.execute("SELECT id FROM networks WHERE driver = 'bridge'")]
    except sqlite3.Error:
        return set()  # a test has damaged it
    return {f"02:ca:15:{id[:2]}:{id[2:4]}:{id[4:6]}" for id in ids} | {f"cais_{id[:8]}" for id in ids}
