from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cais.engine import Engine
from cais.errors import Conflict, Invalid, NotFound
from cais.image.records import ImageRecord
from cais.image.removal import User, prune, remove
from cais.spec.digest import Digest

Make = Callable[..., ImageRecord]
NOBODY: Callable[[Digest], list[User]] = lambda id: []  # noqa: E731
C = "c0ffee" * 10 + "1234"


def used_by(*users: User) -> Callable[[Digest], list[User]]:
    return lambda id: list(users)


def names(engine: Engine) -> list[str]:
    return [f"{row.repository}:{row.tag}" for row in engine.images.list()]


def blobs(engine: Engine) -> int:
    return int(engine._stores.database.row("SELECT count(*) FROM blobs")[0])


def test_the_last_name_takes_the_image_with_it(engine: Engine, make_image: Make) -> None:
    record = make_image("app:1", "app:2", layers=({"a": b"1"}, {"b": b"2"}))
    store = engine._stores.images
    chain = engine.images.get("app:1").chain
    diff_id = engine.images.get("app:1").config.diff_ids[0]
    assert remove(store, "app:1", NOBODY) == [("Untagged", "app:1")]
    assert remove(store, "app:2", NOBODY) == [
        ("Untagged", "app:2"), ("Deleted", record.id), ("Deleted", chain), ("Deleted", diff_id)
    ]  # fmt: skip
    assert engine.images.list() == []


def test_layers_that_another_image_has_are_not_said_to_be_deleted(engine: Engine, make_image: Make) -> None:
    make_image("base", layers=({"a": b"1"},))
    record = make_image("app", layers=({"a": b"1"}, {"b": b"2"}))
    chain = engine.images.get("app").chain
    assert engine.images.remove("app") == [("Untagged", "app:latest"), ("Deleted", record.id), ("Deleted", chain)]
    engine._stores.images.ensure_unpacked(engine.images.get("base"))


def test_by_id_all_names_go_when_forced(engine: Engine, make_image: Make) -> None:
    record = make_image("app:1", "other")
    short = record.id.short
    with pytest.raises(Conflict) as caught:
        engine.images.remove(short)
    assert caught.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is referenced in multiple repositories"
    )
    assert engine.images.remove(short, force=True)[:3] == [
        ("Untagged", "app:1"), ("Untagged", "other:latest"), ("Deleted", record.id)
    ]  # fmt: skip


def test_by_id_one_name_needs_no_force(engine: Engine, make_image: Make) -> None:
    record = make_image("app:1")
    assert engine.images.remove(record.id)[:2] == [("Untagged", "app:1"), ("Deleted", record.id)]


def test_an_image_without_a_name(engine: Engine, make_image: Make) -> None:
    record = make_image()
    assert engine.images.remove(record.id.hex[:5])[0] == ("Deleted", record.id)


def test_by_digest_the_names_of_that_repository_go(engine: Engine, make_image: Make) -> None:
    record = make_image("app:1", "app:2", "other")
    assert engine.images.remove(f"app@{record.target.digest}") == [("Untagged", "app:1"), ("Untagged", "app:2")]
    assert names(engine) == ["other:latest"]


def test_what_is_not_there(engine: Engine) -> None:
    with pytest.raises(NotFound, match="No such image: app:latest"):
        engine.images.remove("app")


def test_a_name_that_a_container_uses(engine: Engine, make_image: Make) -> None:
    record = make_image("app")
    store = engine._stores.images
    stopped, running = used_by(User(C, False)), used_by(User(C, True))
    for users in (stopped, running):
        with pytest.raises(Conflict) as caught:
            remove(store, "app", users)
        assert caught.value.message == (
            f'conflict: unable to remove repository reference "app" (must force) - container {C[:12]} is using its '
            f"referenced image {record.id.short}"
        )
    assert remove(store, "app", running, force=True) == [("Untagged", "app:latest")]
    assert names(engine) == ["<none>:<none>"]


def test_a_stopped_container_s_image_can_be_forced_away(engine: Engine, make_image: Make) -> None:
    record = make_image("app")
    assert ("Deleted", record.id) in remove(engine._stores.images, "app", used_by(User(C, False)), force=True)


def test_an_id_that_a_container_uses(engine: Engine, make_image: Make) -> None:
    record = make_image("app")
    store, short = engine._stores.images, record.id.short
    with pytest.raises(Conflict) as caught:
        remove(store, short, used_by(User(C, True)), force=True)
    assert caught.value.message == (
        f"conflict: unable to delete {short} (cannot be forced) - image is being used by running container {C[:12]}"
    )
    with pytest.raises(Conflict) as caught:
        remove(store, short, used_by(User(C, False)))
    assert caught.value.message == (
        f"conflict: unable to delete {short} (must be forced) - image is being used by stopped container {C[:12]}"
    )
    assert names(engine) == ["app:latest"]


def test_what_nothing_needs_is_gone_from_the_disk_once_its_process_is(engine: Engine, make_image: Make) -> None:
    make_image("keep", layers=({"a": b"1"},))
    make_image("app", layers=({"a": b"1"}, {"b": b"2"}))
    engine._stores.leases.release()
    before = blobs(engine)
    engine.images.remove("app")
    assert blobs(engine) == before - 3  # config, manifest, one layer
    engine._stores.images.ensure_unpacked(engine.images.get("keep"))


def test_prune_takes_what_has_no_name(engine: Engine, make_image: Make) -> None:
    old = make_image("app", layers=({"a": b"1"},))
    make_image("app", layers=({"a": b"2"},))
    engine._stores.leases.release()
    report = engine.images.prune()
    assert ("Deleted", old.id) in report.removed
    assert report.reclaimed_bytes > 10240
    assert names(engine) == ["app:latest"]
    assert engine.images.prune().removed == []


def test_prune_all_takes_what_no_container_uses(engine: Engine, make_image: Make) -> None:
    used = make_image("used", layers=({"a": b"1"},))
    make_image("unused", layers=({"a": b"2"},))
    removed = prune(
        engine._stores.images, lambda id: [User(C, False)] if id == used.id else [], all=True, now=time.time()
    )
    assert ("Untagged", "unused:latest") in removed
    assert names(engine) == ["used:latest"]


def test_prune_filters(engine: Engine, make_image: Make) -> None:
    make_image("old", created="2020-01-01T00:00:00Z", layers=({"a": b"1"},), run={"Labels": {"keep": "yes"}})
    make_image("older", created="2019-01-01T00:00:00Z", layers=({"a": b"2"},))
    make_image("new", created="2024-01-01T00:00:00Z", layers=({"a": b"3"},))
    engine.images.prune(all=True, filters={"until": ["2021-01-01"], "label!": ["keep"]})
    assert names(engine) == ["new:latest", "old:latest"]
    engine.images.prune(filters={"dangling": ["false"], "label": ["keep=yes"]})
    assert names(engine) == ["new:latest"]
    with pytest.raises(Invalid, match="invalid filter 'before'"):
        engine.images.prune(filters={"before": ["x"]})
