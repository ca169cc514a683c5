"""``ports.Tags``: what every implementation promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cais.engine import Settings
from cais.engine.stores import Stores
from cais.errors import NotFound
from cais.ports import Tags
from cais.spec import media_types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.reference import Reference

ONE = Descriptor(media_types.OCI_MANIFEST, Digest.of(b"one"), 3)
OTHER = Descriptor(media_types.OCI_INDEX, Digest.of(b"other"), 5)
NAME = Reference.parse("example.org:5000/team/app:v1")


def tag_store(directory: Path) -> tuple[Tags, Callable[[], None]]:
    stores = Stores(Settings(str(directory / "root")))
    return stores.tags, stores.close


@pytest.fixture(params=[tag_store])
def open_tags(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Tags]]:
    """Opens the same tags; each time as another user of them."""
    closers: list[Callable[[], None]] = []

    def make() -> Tags:
        tags, close = request.param(tmp_path)
        closers.append(close)
        return tags

    yield make
    for close in closers:
        close()


@pytest.fixture
def tags(open_tags: Callable[[], Tags]) -> Tags:
    return open_tags()


def test_nothing_is_not_found(tags: Tags) -> None:
    assert list(tags.list()) == []
    with pytest.raises(NotFound, match=r"example\.org:5000/team/app:v1"):
        tags.resolve(NAME)


def test_a_name_gives_the_whole_descriptor(tags: Tags) -> None:
    tags.tag(NAME, ONE)
    found = tags.resolve(NAME)
    assert (found.media_type, found.digest, found.size_bytes) == (ONE.media_type, ONE.digest, ONE.size_bytes)


def test_other_names_are_not_it(tags: Tags) -> None:
    tags.tag(NAME, ONE)
    for text in ("example.org:5000/team/app:v2", "example.org:5000/team/ap:v1", "example.org/team/app:v1", "app:v1"):
        with pytest.raises(NotFound):
            tags.resolve(Reference.parse(text))


def test_a_name_moves(tags: Tags) -> None:
    tags.tag(NAME, ONE)
    tags.tag(NAME, OTHER)
    assert tags.resolve(NAME).digest == OTHER.digest
    assert tags.resolve(NAME).media_type == OTHER.media_type
    assert len(tags.list()) == 1


def test_several_names_of_one(tags: Tags) -> None:
    names = [Reference.parse(text) for text in ("b:1", "b:2", "a", "example.org/a:1")]
    for name in names:
        tags.tag(name, ONE)
    assert {str(name) for name, _ in tags.list()} == {str(name) for name in names}
    assert {target.digest for _, target in tags.list()} == {ONE.digest}


def test_the_list_is_in_order(tags: Tags) -> None:
    for text in ("c:2", "a:1", "b", "c:10"):
        tags.tag(Reference.parse(text), ONE)
    listed = [(name.name, name.tag) for name, _ in tags.list()]
    assert listed == sorted(listed) and len(listed) == 4


def test_a_name_without_a_tag_is_latest(tags: Tags) -> None:
    tags.tag(Reference.parse("app"), ONE)
    assert tags.resolve(Reference.parse("app:latest")).digest == ONE.digest


def test_a_name_with_a_digest_is_that_digest(tags: Tags) -> None:
    tags.tag(NAME, ONE)
    assert tags.resolve(Reference.parse(f"example.org:5000/team/app@{ONE.digest}")).digest == ONE.digest
    with pytest.raises(NotFound):
        tags.resolve(Reference.parse(f"example.org:5000/team/app@{OTHER.digest}"))
    with pytest.raises(NotFound):
        tags.resolve(Reference.parse(f"example.org:5000/team/app:v1@{OTHER.digest}"))


def test_others_see_it(tags: Tags, open_tags: Callable[[], Tags]) -> None:
    other = open_tags()
    assert list(other.list()) == []
    tags.tag(NAME, ONE)
    assert other.resolve(NAME).digest == ONE.digest
    other.tag(NAME, OTHER)
    assert tags.resolve(NAME).digest == OTHER.digest


def test_other_processes_see_it(open_tags: Callable[[], Tags], in_child: Callable[[Callable[[], object]], str]) -> None:
    in_child(lambda: open_tags().tag(NAME, ONE))
    assert open_tags().resolve(NAME).digest == ONE.digest
    assert in_child(lambda: open_tags().resolve(NAME).digest) == ONE.digest
    assert in_child(os.getpid) != str(os.getpid())
