"""The settings of a registry: where each comes from, how it is read, and that each is documented."""

from __future__ import annotations

from pathlib import Path

import pytest

from cais.errors import Invalid, NotFound
from cais.registry.settings import PREFIX, SETTINGS, Setting, Settings, load
from cais.registry.values import format_value, read_value

PROJECT = Path(__file__).parents[3]


def test_every_setting_is_a_field_and_every_field_a_setting() -> None:
    assert [row.field for row in SETTINGS] == list(Settings._fields)


def test_every_setting_is_in_the_reference() -> None:
    page = (PROJECT / "docs" / "reference" / "registry-settings.md").read_text()
    for row in SETTINGS:
        default = format_value(row, getattr(Settings(), row.field))
        assert f"| `{row.name}` | `{default}` | {row.text} |\n" in page, f"{row.name} stands otherwise in the reference"
    assert page.count("\n| `") == len(SETTINGS), "the reference has a row for what is no setting"


def test_the_defaults_are_read_as_they_are_written() -> None:
    for row in SETTINGS:
        default = getattr(Settings(), row.field)
        if row.kind not in ("secret", "networks"):
            written = format_value(row, default).strip('"')
            assert read_value(row, written, "test") == default


def test_a_flag_before_a_pair_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "registry.toml"
    file.write_text('root = "/file"\nlisten = "file:1"\nworkers = 2\n[gc]\ngrace = "2h"\ninterval = 60\n')
    environment = {PREFIX + "ROOT": "/environment", PREFIX + "LISTEN": "environment:1", PREFIX + "WORKERS": "3"}
    settings = load(
        environment, config=str(file), flags={"root": "/flag", "listen": ""}, pairs=["root=/pair", "workers=4"]
    )
    assert settings.root == "/flag"
    assert settings.workers == 4
    assert settings.listen == "environment:1"
    assert (settings.gc_grace, settings.gc_interval) == (7200.0, 60.0)
    assert settings.limits_manifest == 4 << 20
    assert load({PREFIX + "CONFIG": str(file)}).root == "/file"


def test_a_secret_comes_from_a_file_and_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://cais:geheim@db/cais\n")
    settings = load({PREFIX + "DATABASE_URL_FILE": str(tmp_path / "url")})
    assert settings.database_url == "postgresql://cais:geheim@db/cais"
    assert "geheim" not in repr(settings)
    with pytest.raises(NotFound, match="DATABASE_URL_FILE"):
        load({PREFIX + "DATABASE_URL_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers = -1", "value -1 of workers is not a number"),
        ("workers = true", "value True of workers is not a number"),
        ('[gc]\ngrace = "soon"', "value 'soon' of gc.grace is not a duration"),
        ("[gc]\ngrace = -5", "gc.grace is not a duration"),
        ('[limits]\nmanifest = "4 lots"', "limits.manifest is not a size"),
        ("[gc]\ngrcae = 1", "unknown setting 'gc.grcae'"),
        ('gc = "often"', "unknown setting 'gc'"),
        ("root = [1]", "value .* of root is not a text"),
        ("root = ", "Invalid value"),
    ],
)
def test_what_cannot_be_understood_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "registry.toml"
    file.write_text(text)
    with pytest.raises(Invalid, match=said) as caught:
        load({}, config=str(file))
    assert str(file) in caught.value.message


def test_a_name_that_is_nearly_right_is_proposed() -> None:
    with pytest.raises(Invalid) as caught:
        load({}, pairs=["gc.grase=1h"])
    assert caught.value.hint == "Did you mean gc.grace?"
    with pytest.raises(Invalid) as caught:
        load({PREFIX + "GC_GRASE": "1h"})
    assert PREFIX + "GC_GRACE" in caught.value.hint
    with pytest.raises(Invalid, match="no value"):
        load({}, pairs=["gc.grace"])


def test_what_kubernetes_says_of_a_service_of_this_name_is_no_setting() -> None:
    of_kubernetes = {
        PREFIX + "PORT": "tcp://10.0.0.1:5000", PREFIX + "PORT_5000_TCP": "x", PREFIX + "SERVICE_HOST": "10.0.0.1"
    }  # fmt: skip
    assert load(of_kubernetes) == Settings()


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"registry\.toml"):
        load({}, config=str(tmp_path / "registry.toml"))


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        ("size", "10GB", 10**10), ("size", "1.5KiB", 1536), ("size", 5, 5), ("size", "7", 7),
        ("duration", "1h30m", 5400.0), ("duration", 2.5, 2.5), ("duration", "0", 0.0),
        ("switch", "yes", True), ("switch", False, False), ("switch", "0", False),
        ("networks", "::1, 10.0.0.0/8", ("::1", "10.0.0.0/8")), ("networks", ["*"], ("*",)), ("networks", "", ()),
        ("one|two", "two", "two"),
    ],
)  # fmt: skip
def test_kinds(kind: str, value: object, read: object) -> None:
    assert read_value(Setting("name", kind, ""), value, "test") == read


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("switch", "maybe"),
        ("size", "GB"),
        ("size", "-5MB"),
        ("size", "1e999"),
        ("duration", float("inf")),
        ("duration", float("nan")),
        ("networks", [1]),
        ("networks", "balancer.test"),
        ("networks", "10.0.0.5/8"),
        ("networks", ["10.0.0.1", ""]),
        ("one|two", "three"),
    ],
)
def test_kinds_refuse(kind: str, value: object) -> None:
    with pytest.raises(Invalid, match=r"test: .*name"):
        read_value(Setting("name", kind, ""), value, "test")
