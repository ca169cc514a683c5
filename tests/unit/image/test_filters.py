from __future__ import annotations

import pytest

from cais.errors import Invalid
from cais.image import filters


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("deb*", "debian", True),
        ("deb*", "debian:12", True),
        ("deb*", "me/debian", False),
        ("*/deb*", "me/debian", True),
        ("*", "a/b", False),
        ("d?bian", "debian", True),
        ("d?bian", "d/bian", False),
        ("[a-d]ebian", "debian", True),
        ("[^a-c]ebian", "debian", True),
        ("[^d]ebian", "debian", False),
        ("a[^x]b", "a/b", False),
        ("[]a]", "a", False),
        (r"a\*b", "a*b", True),
        (r"a\*b", "axb", False),
        ("a.c", "abc", False),
        ("", "", True),
        ("", "x", False),
    ],
)
def test_patterns_match_as_in_go(pattern: str, text: str, matches: bool) -> None:
    try:
        assert filters.glob(pattern)(text) is matches
    except Invalid:
        assert not matches


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[a-]", "[-a]", "a\\", "[z-a]"])
def test_a_pattern_that_is_not_complete_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match="pattern"):
        filters.glob(pattern)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1706702400", 1706702400.0),
        ("2024-01-31T12:00:00Z", 1706702400.0),
        ("2024-01-31", 1706659200.0),
        ("1h30m", 1_000_000 - 5400.0),
        ("10s", 1_000_000 - 10.0),
        ("1.5h", 1_000_000 - 5400.0),
        ("100ms", 1_000_000 - 0.1),
        ("1970-01-01", 0.0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert filters.moment(text, 1_000_000.0) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "h", "10", "x10s", "10s5", "tomorrow", "1h-3m"])
def test_what_is_no_time(text: str) -> None:
    if text == "10":
        assert filters.moment(text, 0.0) == 10.0
        return
    with pytest.raises(Invalid, match="invalid time"):
        filters.moment(text, 1_000_000.0)


def test_labels_all_have_to_hold() -> None:
    labels = {"a": "1", "b": ""}
    assert filters.labels_hold(labels, ["a", "b"])
    assert filters.labels_hold(labels, ["a=1", "b="])
    assert not filters.labels_hold(labels, ["a=2"])
    assert not filters.labels_hold(labels, ["a", "c"])


def test_a_boolean_filter() -> None:
    assert filters.truth({}, "dangling") is None
    assert filters.truth({"dangling": ["true"]}, "dangling") is True
    assert filters.truth({"dangling": ["0"]}, "dangling") is False
    for values in (["perhaps"], ["true", "false"]):
        with pytest.raises(Invalid, match="dangling"):
            filters.truth({"dangling": values}, "dangling")


def test_an_unknown_filter_is_named_with_those_that_there_are() -> None:
    with pytest.raises(Invalid, match="invalid filter 'colour'") as caught:
        filters.check_keys({"colour": ["red"]}, filters.LIST_KEYS)
    assert "dangling" in caught.value.hint
