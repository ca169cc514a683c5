from __future__ import annotations

from collections.abc import Callable

import pytest

from cais.engine import Engine
from cais.errors import Invalid
from cais.image.records import ImageRecord

Make = Callable[..., ImageRecord]


def rows(engine: Engine, **options: object) -> list[str]:
    return [f"{row.repository}:{row.tag}" for row in engine.images.list(**options)]  # type: ignore[arg-type]


def test_one_row_for_each_name_the_newest_image_first(engine: Engine, make_image: Make) -> None:
    old = make_image("old", "zebra:1", created="2020-01-01T00:00:00Z", layers=({"a": b"1"},))
    new = make_image("new", created="2024-01-01T00:00:00Z", run={"Labels": {"k": "v"}})
    assert rows(engine) == ["new:latest", "old:latest", "zebra:1"]
    first = engine.images.list()[0]
    assert (first.id, first.digest) == (new.id, new.target.digest)
    assert first.labels == {"k": "v"}
    assert first.created == "2024-01-01T00:00:00Z"
    assert first.created_unix == 1704067200.0
    assert first.size_bytes == 10240
    assert engine.images.list()[1].id == old.id


def test_an_image_that_lost_its_name_is_shown_as_none(engine: Engine, make_image: Make) -> None:
    first = make_image("app", layers=({"a": b"1"},))
    second = make_image("app", layers=({"a": b"2"},))
    listed = {(row.id, row.repository, row.tag) for row in engine.images.list()}
    assert listed == {(second.id, "app", "latest"), (first.id, "<none>", "<none>")}
    assert rows(engine, filters={"dangling": ["true"]}) == ["<none>:<none>"]
    assert rows(engine, filters={"dangling": ["false"]}) == ["app:latest"]


def test_filters(engine: Engine, make_image: Make) -> None:
    make_image("debian:11", created="2021-01-01T00:00:00Z", layers=({"a": b"11"},), run={"Labels": {"v": "11"}})
    make_image("debian:12", created="2022-01-01T00:00:00Z", layers=({"a": b"12"},), run={"Labels": {"v": "12"}})
    make_image("me/app", created="2023-01-01T00:00:00Z")
    assert rows(engine, reference="debian") == ["debian:12", "debian:11"]
    assert rows(engine, reference="debian:11") == ["debian:11"]
    assert rows(engine, reference="docker.io/library/debian:11") == ["debian:11"]
    assert rows(engine, reference="none-such") == []
    assert rows(engine, filters={"reference": ["*/a*", "debian:12"]}) == ["me/app:latest", "debian:12"]
    assert rows(engine, filters={"label": ["v"]}) == ["debian:12", "debian:11"]
    assert rows(engine, filters={"label": ["v=11"]}) == ["debian:11"]
    assert rows(engine, filters={"before": ["debian:12"]}) == ["debian:11"]
    assert rows(engine, filters={"since": ["debian:11"]}) == ["me/app:latest", "debian:12"]
    assert rows(engine, filters={"since": ["debian:11"], "before": ["me/app"]}) == ["debian:12"]
    assert rows(engine, filters={"until": ["2021-06-01"]}) == ["debian:11"]
    with pytest.raises(Invalid, match="invalid filter 'colour'"):
        rows(engine, filters={"colour": ["red"]})


def test_an_empty_root_directory_has_no_images(engine: Engine) -> None:
    assert engine.images.list() == []
