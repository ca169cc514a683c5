from __future__ import annotations

from collections.abc import Callable

from cais.engine import Engine
from cais.image.assemble import NewLayer, assemble, store
from cais.image.records import ImageRecord
from cais.spec.reference import Reference

Make = Callable[..., ImageRecord]


def test_inspect_has_docker_s_keys(engine: Engine, make_image: Make) -> None:
    run = {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"k": "v"}, "ExposedPorts": {"80/tcp": {}}, "X-Own": 1}
    record = make_image("app:1", "ghcr.io/me/app", run=run)
    value = engine.images.inspect("app:1")
    assert value["Id"] == record.id
    assert value["RepoTags"] == ["app:1", "ghcr.io/me/app:latest"]
    assert value["RepoDigests"] == [f"app@{record.target.digest}", f"ghcr.io/me/app@{record.target.digest}"]
    assert value["Created"] == "2024-01-31T12:00:00Z"
    assert value["Size"] == 10240
    assert value["RootFS"] == {"Type": "layers", "Layers": list(engine.images.get("app:1").config.diff_ids)}
    assert value["GraphDriver"]["Name"] == engine._stores.snapshots.driver.name
    config = value["Config"]
    assert (config["Cmd"], config["Entrypoint"], config["User"], config["Tty"]) == (["sh"], None, "", False)
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["X-Own"] == 1
    assert "Healthcheck" not in config and "StopSignal" not in config
    assert {"Architecture", "Os", "Author", "Comment", "DockerVersion", "Metadata", "Parent"} <= value.keys()


def test_history_is_newest_first_and_knows_empty_layers(engine: Engine) -> None:
    stores = engine._stores
    first, second = stores.content.add(b"\0" * 1024), stores.content.add(b"\0" * 2048)
    made = assemble(
        None, [NewLayer(first, 1024), NewLayer(second, 2048)], {},
        [
            {"created": "2024-01-01T00:00:00Z", "created_by": "ADD rootfs", "comment": "base"},
            {"created_by": "ENV A=b", "empty_layer": True},
            {"created": "2024-01-02T00:00:00Z", "created_by": "COPY x"},
        ],
        created="2024-01-02T00:00:00Z",
    )  # fmt: skip
    stores.images.register(store(stores.content, made), [Reference.parse("app")])
    entries = engine.images.history("app")
    assert [entry.id for entry in entries] == [made.config.digest, "<missing>", "<missing>"]
    assert [entry.created_by for entry in entries] == ["COPY x", "ENV A=b", "ADD rootfs"]
    assert [entry.size_bytes for entry in entries] == [2048, 0, 1024]
    assert [entry.empty for entry in entries] == [False, True, False]
    assert entries[0].tags == ("app:latest",)
    assert entries[2].comment == "base"
    assert entries[2].created_unix == 1704067200.0


def test_layers_without_history_are_shown_all_the_same(engine: Engine, make_image: Make) -> None:
    make_image("app")
    stores = engine._stores
    config = engine.images.get("app").config.replace(history=None)
    stores.content.add(config.raw)
    from cais.spec.manifest import Manifest

    manifest = Manifest.encode(config.descriptor, engine.images.get("app").manifest.layers)
    stores.content.add(manifest.raw)
    stores.images.register(manifest.descriptor, [Reference.parse("bare")])
    (entry,) = engine.images.history("bare")
    assert (entry.id, entry.size_bytes, entry.created_by) == (config.digest, 10240, "")
