"""Collecting garbage: what is needed stays, what nobody needs goes, beside everything else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import cais
from cais.engine import Settings
from cais.engine.build import BuildOptions
from cais.engine.build_prune import PruneOptions
from cais.engine.collect import collect
from cais.engine.stores import Stores
from cais.spec.digest import Digest

pytestmark = pytest.mark.root

DOCKERFILE = "FROM scratch\nCOPY one /one\nCOPY two /two\n"


@pytest.fixture
def built(work):
    work.write({"one": "1", "two": "2"})
    work.result = work.build(DOCKERFILE, tags=["app"])
    return work


def snapshots(work) -> int:
    return work.count("snapshots")


def files_of(work, directory: str) -> list[Path]:
    return [path for path in Path(work.stores.root, directory).rglob("*") if path.is_file()]


class TestWhatStays:
    def test_an_image_stays(self, built):
        found = collect(built.stores)
        assert (found.blobs, found.layers, found.size_bytes) == ((), (), 0)
        assert built.engine.system.check() == []

    def test_what_the_cache_needs_stays_without_its_image(self, built):
        built.engine.images.remove("app")
        assert snapshots(built) == 2
        built.build(tags=["again"])
        assert built.ran == [] and built.engine.system.check() == []

    def test_it_goes_with_the_cache(self, built):
        built.engine.images.remove("app")
        freed = built.engine.builder.prune(PruneOptions(all=True)).reclaimed_bytes
        assert freed > 0 and snapshots(built) == 0 and built.count("blobs") == 0
        assert files_of(built, "content") == [] and files_of(built, "snapshots") == []
        assert built.engine.builder.prune(PruneOptions(all=True, filters=["type=regular"])).reclaimed_bytes == 0

    def test_an_image_s_layers_stay_without_the_cache(self, built):
        assert built.engine.builder.prune(PruneOptions(all=True, filters=["type=regular"])).reclaimed_bytes == 0
        assert snapshots(built) == 2 and built.engine.system.check() == []
        built.engine.images.remove("app")
        assert snapshots(built) == 0 and built.count("blobs") == 0

    def test_a_build_in_between_keeps_what_it_holds(self, built):
        built.engine.images.remove("app")
        other = Stores(built.engine.settings)
        chain = Digest(other.database.row("SELECT chain_id FROM snapshots ORDER BY parent NOTNULL DESC")[0])
        assert other.snapshots.hold(chain)
        assert built.engine.builder.prune(PruneOptions(all=True, filters=["type=regular"])).reclaimed_bytes == 0
        assert snapshots(built) == 2, "what is below it stays, too"
        other.close()
        assert built.engine.builder.prune(PruneOptions(all=True)).reclaimed_bytes > 0 and snapshots(built) == 0

    def test_a_lease_ends_with_its_process(self, built):
        built.engine.images.remove("app")
        built.stores.database.close()
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from cais.engine.stores import Stores; from cais.engine import Settings\n"
                "from cais.spec.digest import Digest\n"
                "stores = Stores(Settings(sys.argv[1]))\n"
                "rows = stores.database.rows('SELECT chain_id FROM snapshots')\n"
                "print(all(stores.snapshots.hold(Digest(row[0])) for row in rows), flush=True)\n"
                "sys.stdin.read()",
                built.stores.root,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])},
        )
        assert child.stdout.readline() == b"True\n"
        assert built.engine.builder.prune(PruneOptions(all=True, filters=["type=regular"])).reclaimed_bytes == 0
        child.kill()
        child.communicate()
        assert built.engine.builder.prune(PruneOptions(all=True)).reclaimed_bytes > 0
        assert os.listdir(Path(built.stores.root, "leases")) == [] or snapshots(built) == 0


class TestLeftovers:
    def test_files_without_rows(self, built):
        root = Path(built.stores.root)
        stray = root / "content" / "blobs" / "sha256" / ("0" * 64)
        stray.write_bytes(b"x")
        ingest = root / "content" / "ingest"
        ingest.mkdir(exist_ok=True)
        (ingest / "deadbeefdeadbeef.0").write_bytes(b"x")
        (ingest / f"{built.stores.leases.id}.1").write_bytes(b"being written")
        for name in ("nobodys", "gone.before", "probe.deadbeefdeadbeef", f"probe.{built.stores.leases.id}"):
            (root / "snapshots" / name / "fs").mkdir(parents=True)
        collect(built.stores)
        assert not stray.exists()
        assert os.listdir(ingest) == [f"{built.stores.leases.id}.1"]
        known = {row[0] for row in built.stores.database.rows("SELECT id FROM snapshots")}
        assert set(os.listdir(root / "snapshots")) - known == {f"probe.{built.stores.leases.id}"}

    def test_rows_of_dead_processes(self, built):
        with built.stores.database.transaction() as change:
            change.execute("INSERT INTO snapshots (id, lease) VALUES ('dead', 'deadbeefdeadbeef')")
            change.execute("INSERT INTO snapshots (id, lease) VALUES ('mine', ?)", (built.stores.leases.id,))
        collect(built.stores)
        rows = built.stores.database.rows("SELECT id FROM snapshots WHERE chain_id IS NULL")
        assert rows == [("mine",)]

    def test_directories_of_builds(self, built):
        builds = Path(built.stores.root, "builds")
        (builds / "0123456789ab").mkdir()
        (builds / "0123456789ab" / "log").touch()
        (builds / "aa.deadbeefdeadbeef" / "x").mkdir(parents=True)
        mine = builds / f"aa.{built.stores.leases.id}"
        mine.mkdir()
        (kept,) = [row.id for row in built.engine.builder.list()]
        (builds / kept / "context").mkdir()
        collect(built.stores)
        assert sorted(os.listdir(builds)) == sorted([kept, mine.name])
        assert sorted(os.listdir(builds / kept)) == ["log", "record.json"]

    def test_bundles_of_dead_processes(self, built):
        run = Path(built.stores.root, "run")
        from cais.host.processes import boot_id, start_ticks

        owners = {
            "dead": f"{os.getpid()} 1 {boot_id()}\n",
            "alive": f"{os.getpid()} {start_ticks(os.getpid())} {boot_id()}\n",
            "before": f"{os.getpid()} {start_ticks(os.getpid())} another-boot\n",
        }
        for name, owner in owners.items():
            (run / name / "rootfs").mkdir(parents=True)
            (run / name / "owner").write_text(owner)
        (run / "new" / "rootfs").mkdir(parents=True)
        collect(built.stores)
        assert sorted(os.listdir(run)) == ["alive", "new"]

    def test_listings_without_records(self, built):
        with built.stores.database.transaction() as change:
            change.execute("INSERT INTO build_listings VALUES ('sha256:none', x'00')")
        assert built.count("build_listings") == 3
        collect(built.stores)
        assert built.count("build_listings") == 2

    def test_listings_of_a_step_s_earlier_results(self, work):
        for number in range(12):
            work.write({"one": str(number), "two": "2"})
            work.build(DOCKERFILE)
        assert work.count("build_records") == 24
        assert work.count("build_listings") <= 5
        work.write({"one": "new"})
        work.build()
        assert work.reasons["COPY one /one"].startswith('the file "one": content ')


def test_a_hit_that_is_collected_before_it_is_used_is_built_again(work):
    """The record is found, and the collector comes before it is held."""
    work.write({"one": "1", "two": "2"})
    work.build(DOCKERFILE)
    given = work.options()

    from cais.build.records import Records

    found = Records.find
    pruned = []

    def find_and_prune(self, key):
        record = found(self, key)
        if record is not None and not pruned:
            pruned.append(record)
            other = cais.Engine(work.engine.settings)
            other.images.remove(other.images.list(all=True)[0].id, force=True)
            other.builder.prune(PruneOptions(all=True))
            other.close()
        return record

    Records.find = find_and_prune
    try:
        result = work.engine.builder.build(given, work.events.append)
    finally:
        Records.find = found
    assert pruned
    assert work.engine.images.get(result.image_id).id == result.image_id
    assert work.engine.system.check() == []


def test_collectors_beside_builds_lose_nothing(work):
    """In threads and processes of their own; every image that was built is whole."""
    work.engine.close()
    root = work.stores.root
    collector = (
        "import sys, cais\nfrom cais.engine import Settings\nfrom cais.engine.build_prune import PruneOptions\n"
        "with cais.Engine(Settings(sys.argv[1])) as engine:\n"
        "    while True:\n        engine.builder.prune(PruneOptions(all=True))\n"
        "        engine.system.usage()\n"  # only reads: SQLite is not fair, and builds would mostly wait
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", collector, root], env=environment, stderr=subprocess.PIPE)
    failures: list[BaseException] = []
    ids: list[str] = []

    def build(number: int) -> None:
        context = work.directory / f"context{number}"
        context.mkdir()
        try:
            with cais.Engine(Settings(root)) as engine:
                for turn in range(4):
                    (context / "Dockerfile").write_text(
                        "FROM scratch AS a\nCOPY shared /shared\n"
                        "FROM scratch\nCOPY --from=a /shared /x\nCOPY own /own\n"
                    )
                    (context / "shared").write_text(str(turn))
                    (context / "own").write_text(str(number))
                    options = BuildOptions(context=str(context), tags=[f"i{number}:{turn}"])
                    ids.append(engine.builder.build(options).image_id)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=build, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert process.poll() is None, process.stderr.read().decode()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if failures:
        raise failures[0]  # with where it came from
    assert work.engine.system.check() == []
    assert {work.engine.images.get(id).id for id in ids} == set(ids)
    collect(work.stores)
    assert work.leftovers() == []
