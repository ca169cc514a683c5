"""Settings: the first place that names one wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from cais import settings
from cais.errors import Invalid


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(settings, "SYSTEM_FILE", str(tmp_path / "system.toml"))
    return tmp_path


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"HOME": str(home), **more}


def test_flag_before_environment_before_files(home: Path) -> None:
    (home / ".config/cais").mkdir(parents=True)
    (home / ".config/cais/config.toml").write_text('root = "/user"\ndriver = "copies"\n')
    (home / "system.toml").write_text('root = "/system"\ndriver = "overlay"\nruntime = "/usr/bin/runc"\n')
    assert settings.load(environment(home, CAIS_ROOT="/env"), root="/flag").root == "/flag"
    assert settings.load(environment(home, CAIS_ROOT="/env")).root == "/env"
    found = settings.load(environment(home))
    assert found[:3] == ("/user", "copies", "/usr/bin/runc")
    assert settings.load(environment(home, CAIS_DRIVER="overlay")).driver == "overlay"


def test_defaults(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert settings.load(environment(home)).root == "/var/lib/cais"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert settings.load(environment(home)).root == f"{home}/.local/share/cais"
    assert settings.load(environment(home, XDG_DATA_HOME="/data")).root == "/data/cais"
    # A relative one is to be ignored (XDG base directory specification).
    assert settings.load(environment(home, XDG_DATA_HOME="data")).root == f"{home}/.local/share/cais"


def test_a_relative_root_is_made_absolute(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert settings.load(environment(home), root="here").root == f"{home}/here"


@pytest.mark.parametrize("text", ["root = 5", "nope = 'x'", "root = ", "\x00"])
def test_a_file_that_cannot_be_understood_is_named(home: Path, text: str) -> None:
    (home / "system.toml").write_text(text)
    with pytest.raises(Invalid, match=r"system\.toml"):
        settings.load(environment(home))
