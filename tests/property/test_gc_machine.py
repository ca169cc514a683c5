"""The collector against a model: any order of pushes, mounts, tags, deletes, waiting and collecting.

The model is a few dictionaries. After every step a repository has exactly what the model says; what it has can be read
and is the right bytes; and in the end nothing is left over on the disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from aged_catalog import CONFIG, HOUR, AgedCatalog, image, index
from cais.catalog.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown
from cais.catalog.settings import Policy
from cais.spec.digest import Digest

GRACE, UNTAGGED = 10.5, 20.5  # hours; what happens, happens at full ones
REPOSITORIES = st.sampled_from(["a", "b"])
DATA = [CONFIG, b"one", b"two", b"three"]
BLOBS = st.sampled_from(DATA)
LAYERS = st.sets(st.sampled_from(DATA[1:]), max_size=2).map(sorted)
TAGS = st.sampled_from(["1", "2"])
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # nobody cuts the power here
LONG = bool(os.environ.get("CAIS_LONG_TESTS"))
EXAMPLES = 300 if LONG else 10


class Kept:
    """What the model knows of a manifest in a repository; times are hours of the model's clock."""

    def __init__(self, now: float, blobs: set[str], children: set[str], subject: str) -> None:
        self.pushed = self.linked = now
        self.orphaned: float | None = None
        self.blobs, self.children, self.subject = blobs, children, subject


class Repository:
    def __init__(self) -> None:
        self.blobs: dict[str, float] = {}
        self.manifests: dict[str, Kept] = {}
        self.tags: dict[str, str] = {}

    def remove(self, digest: str, now: float) -> None:
        del self.manifests[digest]
        self.tags = {tag: named for tag, named in self.tags.items() if named != digest}
        for kept in self.manifests.values():
            if kept.subject == digest:
                kept.orphaned = now

    def is_kept(self, digest: str, now: float, untagged: float) -> bool:
        """Whether the collector leaves the manifest where it is."""
        kept = self.manifests[digest]
        return (
            kept.linked >= now - GRACE
            or digest in self.tags.values()
            or any(digest in other.children for other in self.manifests.values())
            or kept.subject in self.manifests
            or not (
                (untagged and kept.pushed < now - untagged)
                or (kept.orphaned is not None and kept.orphaned < now - GRACE)
            )
        )

    def collect(self, now: float, untagged: float) -> None:
        while gone := [digest for digest in self.manifests if not self.is_kept(digest, now, untagged)]:
            for digest in gone:
                self.remove(digest, now)
        needed = {blob for kept in self.manifests.values() for blob in kept.blobs}
        self.blobs = {d: linked for d, linked in self.blobs.items() if d in needed or linked >= now - GRACE}


class Collecting(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.model = {"a": Repository(), "b": Repository()}
        self.directory = Path(tempfile.mkdtemp(prefix="cais-gc-", dir=_MEMORY))
        self.contents: dict[str, bytes] = {}

    @initialize(untagged=st.sampled_from([0.0, UNTAGGED]), batch=st.sampled_from([1, 2, 500]))
    def begin(self, untagged: float, batch: int) -> None:
        self.untagged = untagged
        policy = Policy(GRACE * HOUR, untagged * HOUR, 1000 * HOUR, batch)
        self.real = AgedCatalog(self.directory, policy)

    def teardown(self) -> None:
        if hasattr(self, "real"):
            self.real.close()
        shutil.rmtree(self.directory)

    def fresh(self, linked: float) -> float:
        """The time of a link that somebody was told of."""
        return self.now if linked < self.now - GRACE / 4 else linked

    @rule(name=REPOSITORIES, data=BLOBS)
    def push_blob(self, name: str, data: bytes) -> None:
        self.model[name].blobs[self.real.push_blob(name, data)] = self.now

    @rule(name=REPOSITORIES, data=BLOBS)
    def ask_for_blob(self, name: str, data: bytes) -> None:
        digest, links = Digest.of(data), self.model[name].blobs
        if digest in links:
            assert self.real.catalog.blobs.size(name, digest) == len(data)
            links[digest] = self.fresh(links[digest])
        else:
            with pytest.raises(BlobUnknown):
                self.real.catalog.blobs.size(name, digest)

    @rule(source=REPOSITORIES, name=REPOSITORIES, data=BLOBS)
    def mount(self, source: str, name: str, data: bytes) -> None:
        digest = Digest.of(data)
        mounted = self.real.catalog.blobs.mount(source, name, digest)
        assert mounted == (digest in self.model[source].blobs)
        if mounted:
            self.model[source].blobs[digest] = self.model[name].blobs[digest] = self.now

    @rule(name=REPOSITORIES, data=BLOBS)
    def delete_blob(self, name: str, data: bytes) -> None:
        digest = Digest.of(data)
        needed = any(digest in kept.blobs for kept in self.model[name].manifests.values())
        if digest in self.model[name].blobs and not needed:  # who deletes what is needed has what he wanted
            self.real.catalog.blobs.delete(name, digest)
            del self.model[name].blobs[digest]

    def put(self, name: str, tag: str, content: bytes, blobs: set[str], children: set[str], subject: str) -> None:
        digest, repository = Digest.of(content), self.model[name]
        self.contents[digest] = content
        if not blobs <= repository.blobs.keys() or not children <= repository.manifests.keys():
            with pytest.raises(ManifestBlobUnknown):
                self.real.push(name, tag, content)
            return
        assert self.real.push(name, tag, content) == digest
        for blob in blobs:
            repository.blobs[blob] = self.now
        for child in children:
            repository.manifests[child].linked = self.now
        kept = repository.manifests.setdefault(digest, Kept(self.now, blobs, children, subject))
        kept.linked, kept.orphaned = self.now, None
        if tag:
            repository.tags[tag] = digest

    @rule(name=REPOSITORIES, tag=st.one_of(st.just(""), TAGS), layers=LAYERS)
    def push_image(self, name: str, tag: str, layers: list[bytes]) -> None:
        blobs = {str(Digest.of(data)) for data in (CONFIG, *layers)}
        self.put(name, tag, image(*layers), blobs, set(), "")

    @rule(name=REPOSITORIES, tag=TAGS, layers=LAYERS)
    def push_whole_image(self, name: str, tag: str, layers: list[bytes]) -> None:
        for data in (CONFIG, *layers):
            self.push_blob(name, data)
        self.push_image(name, tag, layers)

    @precondition(lambda self: any(one.manifests for one in self.model.values()))
    @rule(data=st.data(), tag=st.one_of(st.just(""), TAGS))
    def push_index(self, data: Any, tag: str) -> None:
        name, children = self.some(data, 2)
        self.put(name, tag, index(*map(Digest, children)), set(), set(children), "")

    @precondition(lambda self: any(one.manifests for one in self.model.values()))
    @rule(data=st.data(), layers=LAYERS)
    def push_referrer(self, data: Any, layers: list[bytes]) -> None:
        name, (subject,) = self.some(data, 1)
        blobs = {str(Digest.of(one)) for one in (CONFIG, *layers)}
        self.put(name, "", image(*layers, subject=subject), blobs, set(), subject)

    @precondition(lambda self: any(one.manifests for one in self.model.values()))
    @rule(data=st.data())
    def delete_manifest(self, data: Any) -> None:
        name, (digest,) = self.some(data, 1)
        self.real.catalog.manifests.delete(name, Digest(digest))
        self.model[name].remove(digest, self.now)

    @precondition(lambda self: any(one.manifests for one in self.model.values()))
    @rule(data=st.data())
    def ask_for_manifest(self, data: Any) -> None:
        name, (digest,) = self.some(data, 1)
        assert self.real.catalog.manifests.find(name, digest).digest == digest
        kept = self.model[name].manifests[digest]
        kept.linked = self.fresh(kept.linked)

    def some(self, data: Any, most: int) -> tuple[str, list[str]]:
        """A repository that has manifests, and one or up to ``most`` of them."""
        name = data.draw(st.sampled_from(sorted(name for name, one in self.model.items() if one.manifests)))
        known = st.sampled_from(sorted(self.model[name].manifests))
        return name, data.draw(st.lists(known, min_size=1, max_size=most, unique=True))

    @rule(name=REPOSITORIES, tag=TAGS)
    def delete_tag(self, name: str, tag: str) -> None:
        try:
            self.real.catalog.tags.delete(name, tag)
            assert self.model[name].tags.pop(tag)
        except ManifestUnknown:
            assert tag not in self.model[name].tags

    @rule(hours=st.sampled_from([1, 2, 5, 11, 25]))
    def wait(self, hours: int) -> None:
        self.real.grow_older(hours * HOUR)
        self.now += hours

    @rule()
    def collect(self) -> None:
        foreseen = self.real.foresee()
        report = self.real.collect()
        assert (foreseen.manifests, foreseen.links, foreseen.blobs) == (report.manifests, report.links, report.blobs)
        assert foreseen.freed_bytes == report.freed_bytes
        for repository in self.model.values():
            repository.collect(self.now, self.untagged)
        self.everything_can_be_read()

    @rule()
    def collect_after_a_long_time(self) -> None:
        for _ in range(4):
            self.wait(100)
            self.collect()
        self.wait(1)
        self.collect()
        assert self.real.files() == {blob for one in self.model.values() for blob in one.blobs}, (
            "bytes that nobody needs"
        )

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if hasattr(self, "real"):
            blobs, manifests = self.real.links()
            assert blobs == {(name, digest) for name, one in self.model.items() for digest in one.blobs}
            assert manifests == {(name, digest) for name, one in self.model.items() for digest in one.manifests}

    def everything_can_be_read(self) -> None:
        for name, repository in self.model.items():
            for digest in repository.blobs:
                assert Digest.of(self.real.read_blob(name, Digest(digest))) == digest
            for digest in repository.manifests:
                assert self.real.catalog.manifests.get(name, digest)[1] == self.contents[digest]
            for tag, digest in repository.tags.items():
                assert self.real.catalog.manifests.get(name, tag)[0].digest == digest


Collecting.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate] + [Phase.shrink] * LONG,
    suppress_health_check=list(HealthCheck),
)
TestCollecting = Collecting.TestCase
