"""The build cache as its owner sees it: what `du` says is there, and what `prune` takes and leaves."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

import cais
from cais.engine.build_cache import totals
from cais.engine.build_prune import PruneOptions
from cais.errors import Invalid

pytestmark = pytest.mark.root

STAGES = (
    "FROM base AS builder\nRUN echo one > /one\nRUN echo two > /two\n"
    "FROM base\nCOPY --from=builder /two /three\nRUN echo four > /four\n"
)


@pytest.fixture
def cached(based):
    based.build(STAGES, tags=["app"])
    return based


def regular(work, *filters):
    return list(work.engine.builder.cache(["type=regular", *filters]))


def described(found):
    return {entry.description.partition("] ")[2] for entry in found}


def prune(work, **options):
    return work.engine.builder.prune(PruneOptions(**options))


def aged(work, hours, pattern):
    with work.stores.database.transaction() as change:
        change.execute(
            "UPDATE build_records SET used = used - ? WHERE json_extract(origin, '$.title') LIKE ?",
            (hours / 24, f"%{pattern}%"),
        )


class TestSeen:
    def test_each_result_once(self, cached):
        found = {entry.description.partition("] ")[2]: entry for entry in regular(cached)}
        assert set(found) == {
            "RUN echo one > /one", "RUN echo two > /two", "COPY --from=builder /two /three", "RUN echo four > /four",
        }  # fmt: skip
        two, four = found["RUN echo two > /two"], found["RUN echo four > /four"]
        assert two.parents == (found["RUN echo one > /one"].id,) and not two.shared and not two.in_use
        assert two.stages == ("builder",) and two.dockerfiles == (str(cached.context / "Dockerfile"),)
        assert four.shared and abs(four.created - time.time()) < 600 and four.uses == 1
        assert two.size_bytes == cached.stores.snapshots.layer(two.key).size_bytes

    def test_uses_are_counted(self, cached):
        cached.build(tags=["app"])
        cached.build(tags=["app"])
        assert {entry.uses for entry in regular(cached, "stage=builder")} == {3}

    def test_sums(self, cached):
        sums = totals(list(cached.engine.builder.cache()))
        assert sums.shared + sums.private == sums.total == sums.reclaimable
        assert sums.shared == sum(entry.size_bytes for entry in regular(cached, "shared"))

    def test_a_base_that_lost_its_image_belongs_to_the_cache(self, cached):
        cached.engine.images.remove("app")
        cached.engine.images.remove("base")
        assert "layer of a base image" in {entry.description for entry in regular(cached)}
        assert prune(cached).reclaimed_bytes > 0 and regular(cached) == []

    def test_what_is_known_of_a_context(self, based):
        based.write({"file": "x"})
        based.build("FROM scratch\nCOPY file /\n")
        (entry,) = based.engine.builder.cache(["type=source.local"])
        assert entry.mutable and entry.size_bytes > 0
        prune(based, filters=["type=source.local"])
        assert based.engine.builder.cache(["type=source.local"]) == []
        based.build("FROM scratch\nCOPY file /\n")
        assert based.ran == [], "the step is still known"


class TestFilters:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("description~=echo t", {"RUN echo two > /two"}),
            ("stage=builder", {"RUN echo one > /one", "RUN echo two > /two"}),
            ("name=builder", {"RUN echo one > /one", "RUN echo two > /two"}),
            ("stage!=builder", {"COPY --from=builder /two /three", "RUN echo four > /four"}),
            ("private", {"RUN echo one > /one", "RUN echo two > /two"}),
            ("shared=false", {"RUN echo one > /one", "RUN echo two > /two"}),
            ("mutable", set()),
            ("inuse", set()),
            ("type=exec.cachemount", set()),
            ("until=1h", set()),
        ],
    )
    def test_fits(self, cached, text, expected):
        assert described(regular(cached, text)) == expected

    def test_by_dockerfile_and_id(self, cached):
        assert len(regular(cached, "name=Dockerfile")) == len(regular(cached, "dockerfile=Dockerfile")) == 4
        entry = regular(cached)[0]
        assert regular(cached, f"id={entry.id}") == regular(cached, f"id={entry.id[:8]}") == [entry]
        (child,) = regular(cached, "description~=echo two")
        assert regular(cached, f"parents={child.parents[0]}") == [child]

    @pytest.mark.parametrize(
        "text", ["nothing", "nothing=1", "id", "until=soon", "until=-1h", "description~=(", "shared=maybe", "=", ""]
    )
    def test_refused(self, cached, text):
        with pytest.raises(Invalid):
            prune(cached, filters=[text])
        assert len(regular(cached)) == 4


class TestPruned:
    def test_what_images_have_stays_without_all(self, cached):
        report = prune(cached)
        assert described(entry for entry in report.entries if entry.type == "regular") == {
            "RUN echo one > /one", "RUN echo two > /two",
        }  # fmt: skip
        assert report.reclaimed_bytes > 0 and len(regular(cached)) == 2
        assert described(prune(cached, all=True).entries) == {
            "COPY --from=builder /two /three", "RUN echo four > /four",
        }  # fmt: skip
        assert cached.engine.system.check() == []
        cached.build(tags=["app"])
        assert len(cached.ran) == 4

    def test_dry_run_says_what_a_real_one_does(self, cached):
        said = prune(cached, all=True, dry_run=True)
        assert len(regular(cached)) == 4
        done = prune(cached, all=True)
        assert [entry.id for entry in said.entries] == [entry.id for entry in done.entries]
        assert said.reclaimed_bytes == done.reclaimed_bytes

    def test_what_something_that_stays_stands_on_stays(self, cached):
        aged(cached, 48, "echo one")
        assert prune(cached, filters=["until=24h"]).entries == ()
        aged(cached, 48, "echo two")
        assert described(prune(cached, filters=["until=24h"]).entries) == {"RUN echo one > /one", "RUN echo two > /two"}

    def test_the_longest_unused_first_until_it_fits(self, based):
        for number in range(4):
            based.build(
                f"FROM base\nRUN dd if=/dev/zero of=/{number} bs=1000 count={100 + number}\n",
                outputs=["type=tar,dest=/dev/null"],
            )
            aged(based, 10 - number, f"of=/{number} ")
        total = sum(entry.size_bytes for entry in regular(based))
        report = prune(based, all=True, filters=["type=regular"], max_used_bytes=total - 1)
        assert [entry.description.partition("of=")[2][:2] for entry in report.entries] == ["/0"]
        report = prune(based, all=True, filters=["type=regular"], reserved_bytes=150_000)
        assert [entry.description.partition("of=")[2][:2] for entry in report.entries] == ["/1", "/2"]
        free = os.statvfs(based.stores.root)
        enough = free.f_bavail * free.f_frsize // 2
        assert prune(based, all=True, min_free_bytes=enough).entries == ()

    def test_what_the_last_builds_used_stays(self, based):
        for number in range(3):
            based.build(f"FROM base\nRUN echo {number} > /n\n", outputs=["type=tar,dest=/dev/null"])
        prune(based, all=True, keep_builds=2)
        assert described(regular(based)) == {"RUN echo 1 > /n", "RUN echo 2 > /n"}
        prune(based, all=True, keep_builds=100)
        assert len(regular(based)) == 2

    def test_a_running_build_loses_nothing(self, based):
        """It waits in its second step until everything was pruned; then it is built again from its cache."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = (
            "FROM base\nRUN echo one > /one\n"
            f"RUN echo ready; until echo x | nc 127.0.0.1 {port}; do sleep 0.05; done; echo two > /two\n"
        )
        based.build("FROM base\nRUN echo one > /one\n", network="host")
        options = based.options(text, tags=["waiting"], network="host")
        ready = threading.Event()
        result = []

        def progress(event):
            if b"ready" in event.get("data", b""):
                ready.set()

        builder = cais.Engine(based.engine.settings)
        thread = threading.Thread(target=lambda: result.append(builder.builder.build(options, progress)), daemon=True)
        thread.start()
        assert ready.wait(60)
        (one,) = regular(based, "description~=echo one")
        assert one.in_use
        report = prune(based, all=True)
        assert "RUN echo one > /one" not in described(report.entries)
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", port))
            listening.listen(1)
            listening.accept()[0].close()
            thread.join(60)
        builder.close()
        assert result and based.engine.system.check() == []
        assert based.engine.images.get("waiting").id == result[0].image_id
