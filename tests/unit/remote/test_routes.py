"""registries.toml: mirrors, other places, what is blocked and what is insecure."""

from __future__ import annotations

from pathlib import Path

import pytest

from cais.errors import Denied, Invalid
from cais.remote.routes import Route, read_rules, routes
from cais.spec.digest import Digest
from cais.spec.reference import Reference

EXAMPLE = """
[[registry]]
prefix = "docker.io"
[[registry.mirror]]
location = "mirror.test"
[[registry.mirror]]
location = "localhost:5000/hub"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "docker.io/library"
location = "air.test:5000/official"

[[registry]]
prefix = "evil.test"
blocked = true

[[registry]]
prefix = "plain.test:5000"
insecure = true

[[registry]]
prefix = "*.corp.test"
fallback = false
[[registry.mirror]]
location = "plain.test:5000/corp"
"""


def asked(tmp_path: Path, name: str, text: str = EXAMPLE, *, pushing: bool = False) -> list[Route]:
    (tmp_path / "registries.toml").write_text(text)
    rules = read_rules([str(tmp_path / "registries.toml"), str(tmp_path / "none")])
    return routes(rules, Reference.parse(name), pushing=pushing)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quay.test/a/b", [Route("quay.test", "a/b")]),
        ("ada/app", [Route("mirror.test", "ada/app"), Route("docker.io", "ada/app")]),
        (
            f"ada/app@{Digest.of(b'')}",
            [Route("mirror.test", "ada/app"), Route("localhost:5000", "hub/ada/app"), Route("docker.io", "ada/app")],
        ),
        ("debian:13", [Route("air.test:5000", "official/debian")]),
        ("plain.test:5000/x", [Route("plain.test:5000", "x", insecure=True)]),
        ("a.corp.test/x/y", [Route("plain.test:5000", "corp/x/y", insecure=True)]),
        ("corp.test/x", [Route("corp.test", "x")]),
        ("plain.test/x", [Route("plain.test", "x")]),
    ],
)
def test_where_a_name_is_asked_for(tmp_path: Path, name: str, expected: list[Route]) -> None:
    assert asked(tmp_path, name) == expected


def test_a_push_goes_to_the_origin(tmp_path: Path) -> None:
    assert asked(tmp_path, "ada/app", pushing=True) == [Route("docker.io", "ada/app")]
    assert asked(tmp_path, "debian", pushing=True) == [Route("air.test:5000", "official/debian")]


def test_blocked(tmp_path: Path) -> None:
    for pushing in (False, True):
        with pytest.raises(Denied, match=r"evil\.test/x is blocked by .*registries\.toml"):
            asked(tmp_path, "evil.test/x", pushing=pushing)


def test_a_prefix_ends_at_a_component(tmp_path: Path) -> None:
    text = '[[registry]]\nprefix = "reg.test/a"\nblocked = true\n'
    assert asked(tmp_path, "reg.test/ab", text) == [Route("reg.test", "ab")]
    for name in ("reg.test/a", "reg.test/a/b", "reg.test/a:tag"):
        with pytest.raises(Denied):
            asked(tmp_path, name, text)


def test_the_users_rule_comes_before_the_systems(tmp_path: Path) -> None:
    own, system = tmp_path / "own", tmp_path / "system"
    own.write_text('[[registry]]\nprefix = "reg.test"\nlocation = "own.test"\n')
    system.write_text(
        '[[registry]]\nprefix = "reg.test"\nblocked = true\n[[registry]]\nprefix = "b.test"\nblocked = true'
    )
    rules = read_rules([str(own), str(system)])
    assert routes(rules, Reference.parse("reg.test/x")) == [Route("own.test", "x")]
    with pytest.raises(Denied):
        routes(rules, Reference.parse("b.test/x"))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[[registry]\n", "registries.toml"),
        ("x = 1", "unknown table 'x'"),
        ("registry = 1", "no list of tables"),
        ("[registry]\nprefix='a.test'", "no list of tables"),
        ("[[registry]]\n", "no prefix"),
        ("[[registry]]\nprefix='a.test'\nmirrors=[]", "unknown setting 'mirrors'"),
        ("[[registry]]\nprefix=7", "prefix is not a text"),
        ("[[registry]]\nprefix='a.test'\nblocked='yes'", "blocked is neither true nor false"),
        ("[[registry]]\nprefix='https://a.test'", "is a URL"),
        ("[[registry]]\nprefix='library'", "does not begin with a registry's host"),
        ("[[registry]]\nprefix='a.test/UP'", "lowercase"),
        ("[[registry]]\nprefix='a.test/'", "a.test/"),
        ("[[registry]]\nprefix='*.a.test'\nlocation='b.test'", "wildcard"),
        ("[[registry]]\nprefix='a.test'\n[[registry]]\nprefix='a.test'", "two rules are for a.test"),
        ("[[registry]]\nprefix='a.test'\n[[registry.mirror]]\ninsecure=true", "has no location"),
        ("[[registry]]\nprefix='a.test'\n[[registry.mirror]]\nlocation='b.test'\npull-from-mirror='x'", "pull-from"),
        ("a" * (1 << 21), "larger than"),
        ("[[registry]]\nprefix='a.test'\nlocation='a.test/../b'", "a.test/../b"),
        ("x = " + "[" * 5000, "registries.toml"),
    ],
)
def test_what_cannot_be_understood_is_said(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(Invalid) as raised:
        asked(tmp_path, "a.test/x", text)
    assert word in raised.value.message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "registries.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid):
        read_rules([str(tmp_path / "registries.toml")])
