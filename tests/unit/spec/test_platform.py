from __future__ import annotations

import re

import pytest

from cais.errors import Invalid
from cais.spec.platform import Platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("LINUX/AMD64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64")),
        ("linux/arm64/v9", Platform("linux", "arm64", "v9")),
        ("linux/arm", Platform("linux", "arm", "v7")),
        ("linux/arm/6", Platform("linux", "arm", "v6")),
        ("linux/armhf", Platform("linux", "arm", "v7")),
        ("linux/armel", Platform("linux", "arm", "v6")),
        ("linux/amd64/v1", Platform("linux", "amd64")),
        ("linux/amd64/v3", Platform("linux", "amd64", "v3")),
        ("linux/i386", Platform("linux", "386")),
        ("macos/arm64", Platform("darwin", "arm64")),
        ("arm64", Platform("linux", "arm64")),
        ("windows", Platform("windows", "amd64")),
    ],
)
def test_platforms_are_normalised(text: str, expected: Platform) -> None:
    assert Platform.parse(text) == expected


def test_a_lone_system_takes_the_architecture_of_the_default() -> None:
    assert Platform.parse("linux", Platform("linux", "arm", "v6")) == Platform("linux", "arm", "v6")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"" is an invalid OS component of "": OSAndVersion specifier component must match '),
        ("/", '"" is an invalid OS component of "/": '),
        ("linux/", '"" is an invalid component of "linux/": platform specifier component must match '),
        ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier: invalid argument'),
        ("linux/am d64", '"am d64" is an invalid component of "linux/am d64": '),
        ("linux//v7", '"" is an invalid component of "linux//v7": '),
        ("$X", '"$X" is an invalid OS component of "$X": '),
    ],
)
def test_what_is_no_platform_is_refused(text: str, message: str) -> None:
    with pytest.raises(Invalid, match="^" + re.escape(message)):
        Platform.parse(text)


def test_json_keeps_what_is_set_and_nothing_else() -> None:
    assert Platform("linux", "amd64").to_json() == {"architecture": "amd64", "os": "linux"}
    full = Platform("windows", "amd64", "", "10.0.1")
    assert Platform.from_json(full.to_json()) == full
    assert str(Platform("linux", "arm", "v7")) == "linux/arm/v7"


def test_an_absent_variant_asks_for_any() -> None:
    assert Platform("linux", "arm").matches(Platform("linux", "arm", "v6"))
    assert not Platform("linux", "arm", "v7").matches(Platform("linux", "arm", "v6"))
    assert not Platform("linux", "arm").matches(Platform("linux", "arm64"))


def test_a_lone_word_is_a_known_system_or_architecture() -> None:
    with pytest.raises(Invalid, match='"foo": unknown operating system or architecture: invalid argument'):
        Platform.parse("foo")
    assert str(Platform.parse("riscv64")) == "linux/riscv64"
    assert str(Platform.parse("aarch64")) == "linux/arm64"
    assert str(Platform.parse("linux/foo")) == "linux/foo"
