"""The rules, sentence by sentence, and against a model that tries every way of reading them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cais.catalog import rules
from cais.catalog.rules import ACTIONS, EVERYONE, Grant, Rights, Subject, anonymous, decide, matches, seen
from cais.errors import Invalid

ALICE = Subject("account", "alice")
ROBOT = Subject("robot", "ci")
ALL = frozenset(ACTIONS)


def grant(pattern: str, *actions: str, subject: Subject = ALICE) -> Grant:
    return Grant(subject, pattern, frozenset(actions))


def test_nothing_is_allowed_by_default() -> None:
    for public in (False, True):
        assert decide(rules.NO_RIGHTS, "app", public=public) == frozenset()
        assert decide(Rights(ALICE), "alice", public=public) == frozenset()


def test_a_grant_allows_its_actions_where_its_pattern_matches() -> None:
    rights = Rights(ALICE, grants=(grant("team/*", "pull"), grant("team/app", "push")))
    assert decide(rights, "team/app", public=False) == {"pull", "push"}
    assert decide(rights, "team/other/deep", public=False) == {"pull"}
    assert decide(rights, "team", public=False) == frozenset()
    assert decide(rights, "teams/app", public=False) == frozenset()


def test_admin_is_every_action() -> None:
    assert decide(Rights(ALICE, grants=(grant("alice/*", "admin"),)), "alice/x", public=False) == ALL
    assert decide(Rights(ALICE, everything=True), "whatever", public=False) == ALL


def test_a_public_repository_may_be_pulled_and_no_more() -> None:
    assert decide(Rights(ALICE, reads_public=True), "app", public=True) == {"pull"}
    assert decide(Rights(ALICE, reads_public=True), "app", public=False) == frozenset()


def test_who_did_not_sign_in_reads_at_most_unless_all_is_open() -> None:
    everyone = grant("base/*", "push", "pull", subject=Subject(EVERYONE))
    assert decide(anonymous("read", [everyone]), "base/x", public=False) == {"pull"}
    assert decide(anonymous("read", []), "x", public=True) == {"pull"}
    assert decide(anonymous("read", [grant("base/*", "push")]), "base/x", public=False) == frozenset()
    assert decide(anonymous("none", [everyone]), "base/x", public=True) == frozenset()
    assert decide(anonymous("write", []), "x", public=False) == ALL


def test_a_robot_may_not_do_more_than_whom_it_belongs_to() -> None:
    owner = Rights(ALICE, grants=(grant("team/app", "pull", "push"),))
    robot = Rights(ROBOT, grants=(grant("*", "pull", "delete", subject=ROBOT),), within=owner)
    assert decide(robot, "team/app", public=False) == {"pull"}
    assert decide(robot, "other", public=False) == frozenset()
    assert decide(robot._replace(within=Rights(ALICE, everything=True)), "other", public=False) == {"pull", "delete"}


@pytest.mark.parametrize(
    ("pattern", "name", "is_so"),
    [
        ("*", "a/b", True), ("a/*", "a/b/c", True), ("a/*", "a/", True), ("a/*", "ab", False), ("a*a", "a", False),
        ("a*a", "aa", True), ("*-base", "x/y-base", True), ("*b*b*", "ab", False), ("*b*b*", "abcb", True),
        ("a.b", "aXb", False), ("a_b", "aXb", False), ("ab*bc", "abc", False), ("", "", True), ("", "a", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, name: str, is_so: bool) -> None:
    assert matches(pattern, name) is is_so


@given(st.text("ab/*", max_size=8), st.text("ab/", max_size=8))
def test_a_pattern_is_what_a_regular_expression_makes_of_it(pattern: str, name: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, name) == (re.fullmatch(expression, name) is not None)


NAMES = ("a", "a/b", "b", "b/a")
GRANTS = st.builds(
    Grant,
    st.sampled_from([ALICE, ROBOT, Subject(EVERYONE)]),
    st.sampled_from(["a", "a/*", "*", "b*", "*a"]),
    st.sets(st.sampled_from(ACTIONS), min_size=1).map(frozenset),
)
RIGHTS = st.recursive(
    st.builds(Rights, st.just(ALICE), st.booleans(), st.booleans(), st.lists(GRANTS, max_size=4).map(tuple)),
    lambda within: st.builds(
        Rights, st.just(ROBOT), st.booleans(), st.booleans(), st.lists(GRANTS, max_size=4).map(tuple), within
    ),
    max_leaves=3,
)


def may(rights: Rights, name: str, action: str, public: bool) -> bool:
    """The sentences of the module, read one action at a time."""
    reasons = [rights.everything, public and rights.reads_public and action == "pull"]
    reasons += [
        {action, "admin"} & item.actions != set() and re.fullmatch(item.pattern.replace("*", ".*"), name) is not None
        for item in rights.grants
    ]
    return any(reasons) and (rights.within is None or may(rights.within, name, action, public))


@given(RIGHTS, st.sampled_from(NAMES), st.booleans())
def test_the_decision_is_that_of_the_sentences(rights: Rights, name: str, public: bool) -> None:
    assert decide(rights, name, public=public) == {action for action in ACTIONS if may(rights, name, action, public)}


@given(RIGHTS, st.sampled_from(NAMES), st.booleans())
def test_a_list_shows_what_may_be_pulled(rights: Rights, name: str, public: bool) -> None:
    shown = all(
        rule.everything or (rule.public and public) or any(matches(pattern, name) for pattern in rule.patterns)
        for rule in seen(rights)
    )
    assert shown == ("pull" in decide(rights, name, public=public))


@given(RIGHTS, GRANTS, st.sampled_from(NAMES), st.booleans())
def test_a_grant_more_never_takes_anything_away(rights: Rights, more: Grant, name: str, public: bool) -> None:
    with_more = rights._replace(grants=(*rights.grants, more))
    assert decide(rights, name, public=public) <= decide(with_more, name, public=public)
    assert decide(rights, name, public=False) <= decide(rights, name, public=True)


@pytest.mark.parametrize("text", ["alice", "robot:ci", "organisation:acme", "everyone"])
def test_subjects_are_written_as_they_are_read(text: str) -> None:
    assert str(Subject.parse(text)) == text


@pytest.mark.parametrize("text", ["", "robot:", "team:x", ":x", "anonymous:x"])
def test_what_is_no_subject(text: str) -> None:
    with pytest.raises(Invalid):
        Subject.parse(text)


def test_patterns_and_actions_are_checked() -> None:
    assert rules.check_pattern("team/*-base") == "team/*-base"
    assert rules.check_actions(["pull", "push", "pull"]) == {"pull", "push"}
    for pattern in ("", "Team/*", "a b", "a%", "x" * 256, "a?"):
        with pytest.raises(Invalid, match="invalid pattern"):
            rules.check_pattern(pattern)
    for actions in ([], ["*"], ["pull", "write"]):
        with pytest.raises(Invalid, match="invalid actions"):
            rules.check_actions(actions)
