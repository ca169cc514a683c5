"""COPY --link: layers that do not depend on what is below them."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from cais.engine.check import check
from cais.snapshot.store import SnapshotStore

pytestmark = pytest.mark.root

DOCKERFILE = "FROM {base}\nCOPY --link src /app/\nCOPY --link <<E /etc/made\nmade\nE\n"


@pytest.fixture
def linked(based):
    based.write({"src/a": "a", "src/sub/b": "b"})
    return based


def other_base(work, name, text="other"):
    """Another image of the same system, with a file that says ``text``."""
    work.build(f"FROM base\nRUN echo {text} > /base-file\n", tags=(name,))


def layers(work, name):
    return work.engine.images.inspect(name)["RootFS"]["Layers"]


def saved(engine, name):
    written = io.BytesIO()
    engine.images.save([name], written)
    return written.getvalue()


class Counted:
    """How much of the snapshot store's work is done."""

    def __init__(self, monkeypatch):
        self.prepared = self.measured = self.packed = self.unpacked = 0
        for name in ("prepared", "measured", "packed", "unpacked"):
            self._count(monkeypatch, {"prepared": "prepare", "measured": "measure"}.get(name, name[:-2]), name)

    def _count(self, monkeypatch, method, name):
        original = getattr(SnapshotStore, method)

        def counted(*args, **options):
            setattr(self, name, getattr(self, name) + 1)
            return original(*args, **options)

        monkeypatch.setattr(SnapshotStore, method, counted)


def test_a_changed_base_makes_no_work(linked, monkeypatch):
    other_base(linked, "other")
    linked.build(DOCKERFILE.format(base="base"), tags=("one",))
    assert len(linked.ran) == 2
    counted = Counted(monkeypatch)
    linked.build(DOCKERFILE.format(base="other"), tags=("two",))
    assert (linked.ran, linked.cached) == ([], ["COPY --link src /app/", "COPY --link <<E /etc/made"])
    assert vars(counted) == {"prepared": 0, "measured": 0, "packed": 0, "unpacked": 0}
    assert layers(linked, "one")[-2:] == layers(linked, "two")[-2:]
    assert layers(linked, "one") != layers(linked, "two")
    assert {step.state for step in linked.plan()} == {"hit"}


def test_what_is_built_upon_it(linked):
    linked.build(DOCKERFILE.format(base="base"))
    other_base(linked, "other")
    text = DOCKERFILE.format(base="other") + "RUN cat /base-file /app/sub/b /etc/made > /all\nCOPY --link src/a /all2\n"
    found = linked.files(text + "FROM scratch\nCOPY --from=0 /all /all2 /\n")
    assert found == {"all": "other\nbmade\n", "all2": "a"}


def test_the_files_of_a_target_that_nothing_was_carried_out_on(linked):
    linked.build(DOCKERFILE.format(base="base"))
    other_base(linked, "other")
    found = linked.files(DOCKERFILE.format(base="other"))
    assert linked.ran == []
    assert (found["base-file"], found["app/a"], found["etc/made"]) == ("other\n", "a", "made\n")


def test_a_hit_though_the_step_before_is_not(linked):
    text = "FROM base\nRUN echo {0} > /x\nCOPY --link src /app/\nRUN cat /x /app/a\n"
    linked.build(text.format(1))
    linked.build(text.format(2))
    assert linked.cached == ["COPY --link src /app/"]
    assert len(linked.ran) == 2


def test_changed_files_are_copied_and_the_reason_is_the_file(linked):
    linked.build(DOCKERFILE.format(base="base"))
    other_base(linked, "other")
    linked.write({"src/a": "new"})
    linked.build(DOCKERFILE.format(base="other"))
    assert linked.ran == ["COPY --link src /app/"]
    assert "src/a" in linked.reasons["COPY --link src /app/"]
    assert "base" not in linked.reasons["COPY --link src /app/"]


def test_it_stays_when_the_cache_is_pruned(linked):
    """An image whose layer stands nowhere yet keeps it."""
    linked.build(DOCKERFILE.format(base="base"))
    other_base(linked, "other")
    linked.build(DOCKERFILE.format(base="other"), tags=("two",))
    linked.engine.builder.prune()
    assert check(linked.stores) == []
    archive = io.BytesIO(saved(linked.engine, "two"))
    with tarfile.open(fileobj=archive) as members:
        assert sum(member.isfile() for member in members) > 4
    found = linked.files("FROM two\nRUN cat /base-file /app/a > /all\nFROM scratch\nCOPY --from=0 /all /\n")
    assert found == {"all": "other\na"}
    assert check(linked.stores) == []


def test_nothing_stays_of_it(linked):
    other_base(linked, "other")
    for base in ("base", "other"):
        linked.files(DOCKERFILE.format(base=base))
        linked.build(tags=(f"on-{base}",))
    for name in ("on-base", "on-other", "other"):
        linked.engine.images.remove(name)
    linked.engine.builder.prune()
    assert linked.leftovers() == []
    kept = linked.stores.database.rows("SELECT files FROM snapshots WHERE files NOTNULL")
    assert kept == []


def test_saved_and_loaded_it_is_the_same(linked, tmp_path):
    linked.build(DOCKERFILE.format(base="base"), tags=("one",))
    other_base(linked, "other")
    linked.build(DOCKERFILE.format(base="other"), tags=("two",))
    data = saved(linked.engine, "two")
    again = saved(linked.engine, "two")
    assert data == again
    (tmp_path / "two.tar").write_bytes(data)
    linked.engine.images.remove("two")
    with open(tmp_path / "two.tar", "rb") as file:
        linked.engine.images.load(file)
    assert layers(linked, "two")[-2:] == layers(linked, "one")[-2:]
    assert linked.files("FROM two\n")["app/sub/b"] == "b"


def test_what_is_below_does_not_matter(linked):
    """Links are not followed, files and modes are covered."""
    linked.write({"f": "f"})
    text = (
        "FROM base\nRUN mkdir -p -m 700 /real /closed && ln -s /real /way && echo old > /file && ln -s /file /name\n"
        "COPY --link f /way/\nCOPY --link f /closed/f\nCOPY --link f /name\n"
        "RUN stat -c '%n %F %a' /way /closed /name /real > /all; ls /real >> /all; cat /file >> /all\n"
        "FROM scratch\nCOPY --from=0 /all /\n"
    )
    lines = linked.files(text)["all"].splitlines()
    mode = oct(os.stat(linked.context / "f").st_mode)[-3:]
    assert lines == [
        "/way directory 755", "/closed directory 755", f"/name regular file {mode}", "/real directory 700", "old",
    ]  # fmt: skip


def test_the_same_layer_twice(linked):
    text = "FROM base\nCOPY --link src /app/\nRUN rm /app/a\nCOPY --link src /app/\nRUN cat /app/a > /all\n"
    assert linked.files(text + "FROM scratch\nCOPY --from=0 /all /\n") == {"all": "a"}


def test_with_a_mode_it_is_an_ordinary_copy(linked):
    text = (
        "FROM base\nRUN mkdir -m 700 /closed\nCOPY --link --chmod=640 src/a /closed/\nRUN stat -c %a /closed > /all\n"
    )
    assert linked.files(text + "FROM scratch\nCOPY --from=0 /all /\n") == {"all": "700\n"}


def test_from_scratch_it_is_an_ordinary_copy(linked):
    linked.build("FROM scratch\nCOPY --link src /app/\n")
    linked.build("FROM scratch\nCOPY src /app/\n")
    assert len(linked.cached) == 1


def test_an_owner_by_name_is_looked_up_below(linked):
    text = "FROM base\nRUN echo me:x:7:8:::: > /etc/passwd\nCOPY --link --chown=me src /app/\n"
    text += "RUN stat -c %u:%g /app/a > /all\nFROM scratch\nCOPY --from=0 /all /\n"
    assert linked.files(text) == {"all": "7:8\n"}


def test_add_links_too(linked):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("in/archive")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    linked.write({"a.tar": archive.getvalue()})
    text = "FROM base\nRUN ln -s /tmp /x\nADD --link a.tar /x/\nRUN cat /x/in/archive > /all\n"
    assert linked.files(text + "FROM scratch\nCOPY --from=0 /all /\n") == {"all": "x"}


def test_parents_exclude_and_a_stage(linked):
    text = (
        "FROM base AS a\nRUN mkdir -p /d/e && touch /d/e/one /d/e/two\n"
        "FROM base\nCOPY --link --from=a --parents --exclude=**/two /d/./e /x/\nRUN find /x > /all\n"
        "FROM scratch\nCOPY --from=1 /all /\n"
    )
    assert sorted(linked.files(text)["all"].split()) == ["/x", "/x/e", "/x/e/one"]


def test_with_copies_of_trees(work, busybox_tar):
    """The driver that keeps no layers apart unpacks it upon what is below."""
    import cais
    from cais.engine import Settings

    with cais.Engine(Settings(str(work.directory / "copies"), driver="copies")) as engine:
        other = type(work)(work.directory, engine)
        with open(busybox_tar, "rb") as file:
            engine.images.import_(file, "base")
        other.write({"src/a": "a"})
        other.build("FROM base\nRUN mkdir /app && touch /app/old\n", tags=("other",))
        text = "FROM {}\nCOPY --link src /app/\nRUN ls /app > /all\n"
        other.build(text.format("base"))
        found = other.files(text.format("other") + "FROM scratch\nCOPY --from=0 /all /\n")
        assert found == {"all": "a\nold\n"}
        other.build(text.format("other"), tags=("two",))
        assert check(engine._stores) == []
        assert saved(engine, "two")
