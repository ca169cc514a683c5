"""What the tests of builds share: an engine with the image `base`, contexts, and the events of a build."""

from __future__ import annotations

import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cais
from cais.engine import Engine, Settings
from cais.engine.build import BuildOptions, BuildResult, PlannedStep
from image_hosts import Host
from registry_servers import Server


def in_thread(action: Callable[[], Any]) -> Any:
    """What ``action`` returns or raises, in a thread of its own: the mounts that a build makes are that thread's."""
    done: list[Any] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            done.append(action())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return done[0]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Each test in a thread of its own: a build enters a mount namespace, and other tests want to be outside."""
    from _pytest.runner import runtestprotocol

    if Path(__file__).parent not in item.path.parents:
        return None  # it is asked for all tests

    def run() -> None:
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        runtestprotocol(item, nextitem=nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    in_thread(run)
    return True


class Work:
    """An engine, a context directory, and the events of the last build."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        self.stores = engine._stores
        self.context = directory / "context"
        self.context.mkdir(exist_ok=True)
        self.events: list[dict[str, Any]] = []

    in_thread = staticmethod(in_thread)

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, data in files.items():
            path = self.context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)

    def options(self, text: str | None = None, /, **options: Any) -> BuildOptions:
        if text is not None:
            self.write({"Dockerfile": text})
        options.setdefault("context", str(self.context))
        # What these tests are about needs no network, and some have their steps meet on the host's loopback.
        options.setdefault("network", "host")
        return BuildOptions(**options)

    def build(self, text: str | None = None, /, **options: Any) -> BuildResult:
        given = self.options(text, **options)
        self.events = []
        return in_thread(lambda: self.engine.builder.build(given, self.events.append))

    def plan(self, text: str | None = None, /, **options: Any) -> list[PlannedStep]:
        given = self.options(text, **options)
        return in_thread(lambda: self.engine.builder.plan(given))

    def files(self, text: str | None = None, /, **options: Any) -> dict[str, str]:
        """The regular files of what is built, by path."""
        out = self.directory / "files.tar"
        self.build(text, outputs=[f"type=tar,dest={out}"], **options)
        with tarfile.open(out) as archive:
            found = {
                member.name: archive.extractfile(member).read().decode("utf-8", "replace")
                for member in archive
                if member.isreg() and member.size < 1 << 20
            }
        out.unlink()
        return found

    def names(self) -> dict[int, str]:
        """The instruction of each step by its number in the events."""
        return {event["id"]: event["name"].partition("] ")[2] for event in self.events if event["event"] == "start"}

    def of_kind(self, kind: str) -> list[str]:
        """The instructions that had such an event, in order."""
        names = self.names()
        return [names[event["id"]] for event in self.events if event["event"] == kind]

    @property
    def ran(self) -> list[str]:
        return self.of_kind("done")

    @property
    def cached(self) -> list[str]:
        return [name for name in self.of_kind("cached") if not name.startswith("FROM ")]

    @property
    def reasons(self) -> dict[str, str]:
        names = self.names()
        return {names[event["id"]]: event["reason"] for event in self.events if event["event"] == "miss"}

    def output(self) -> bytes:
        return b"".join(event["data"] for event in self.events if event["event"] == "output")

    def count(self, table: str) -> int:
        return int(self.stores.database.row(f"SELECT count(*) FROM {table}")[0])

    def leftovers(self) -> list[str]:
        """What is on disk, or in the database, and should not be when no command runs."""
        root = Path(self.stores.root)
        known = {row[0] for row in self.stores.database.rows("SELECT coalesce(files, id) FROM snapshots")}
        rows = self.stores.database.rows("SELECT id FROM snapshots WHERE chain_id IS NULL")
        found = [f"prepared {row[0]}" for row in rows]
        found += [f"bundle {path.name}" for path in root.glob("run/*") if not path.name.startswith(".")]
        found += [
            f"in builds: {path.name}" for path in root.glob("builds/*/*") if path.name not in ("log", "record.json")
        ]
        found += [f"build {path.name}" for path in root.glob("builds/*") if "." in path.name]
        found += [f"snapshot {path.name}" for path in root.glob("snapshots/*") if path.name not in known]
        found += [f"ingest {path.name}" for path in root.glob("content/ingest/*")]
        with open("/proc/self/mounts") as mounts:
            found += [line for line in mounts if line.split()[1].startswith(str(root))]
        return found


@pytest.fixture
def work(tmp_path):
    with cais.Engine(Settings(str(tmp_path / "root"))) as engine:
        yield Work(tmp_path, engine)


@pytest.fixture
def based(work, busybox_tar):
    """``work`` with the image `base`, and a runtime to run things in it."""
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root and an OCI runtime")
    with open(busybox_tar, "rb") as file:
        work.engine.images.import_(file, "base", changes=["CMD sh"])
    return work


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "here")
    yield made
    made.engine.close()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "there")
    yield made
    made.engine.close()


@pytest.fixture
def repository(open_registry: Server, request: pytest.FixtureRequest) -> str:
    """One of this test's own."""
    return f"{open_registry.address}/{request.node.originalname}-{os.urandom(4).hex()}"
