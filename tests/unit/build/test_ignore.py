"""``.dockerignore``: facts 73 to 77 and moby/patternmatcher's rules."""

from __future__ import annotations

import pytest

from cais.build.ignore import Ignore
from cais.errors import Invalid


def ignored(rules: str, *paths: str) -> list[bool]:
    ignore = Ignore.parse(rules)
    return [ignore.ignores(path) for path in paths]


def test_a_directory_takes_all_below_it_along() -> None:
    assert ignored("dir", "dir", "dir/a", "dir/a/b", "dirx", "x/dir") == [True, True, True, False, False]


def test_a_star_does_not_cross_directories() -> None:
    assert ignored("*.log\n*/temp*", "a.log", "b/a.log", "b/temp1", "b/c/temp1") == [True, False, True, False]


def test_a_question_mark_is_one_character() -> None:
    assert ignored("temp?", "tempa", "temp", "tempab") == [True, False, False]


def test_two_stars_cross_directories() -> None:
    assert ignored("**/*.go", "a.go", "b/c/a.go", "a.gox") == [True, True, False]
    assert ignored("a/**/b", "a/b", "a/x/y/b", "ab") == [True, True, False]
    assert ignored("a/**", "a", "a/b", "a/b/c") == [False, True, True]
    assert ignored("**/x", "x", "a/x", "a/x/b", "ax") == [True, True, True, False]
    assert ignored("**", "x", "a/b") == [True, True]


def test_the_last_match_wins() -> None:
    assert ignored("*.md\n!README*.md\nREADME-secret.md", "a.md", "README.md", "README-secret.md") == [
        True,
        False,
        True,
    ]
    assert ignored("*.md\nREADME-secret.md\n!README*.md", "README-secret.md") == [False]


def test_what_is_below_an_excluded_directory_can_be_taken_back_in() -> None:
    assert ignored("dir\n!dir/keep", "dir", "dir/a", "dir/keep", "dir/keep/x") == [True, True, False, False]
    assert ignored("*\n!x", "x", "x/y", "z") == [False, False, True]


def test_comments_blank_lines_spaces_and_slashes() -> None:
    rules = "# no\n\n   spaced   \n/rooted/\n./dotted\na/../b\n  # a name\n"
    assert ignored(rules, "no", "spaced", "rooted", "dotted", "b", "# a name") == [False, True, True, True, True, True]


def test_crlf_and_bom() -> None:
    assert ignored("\ufeffa\r\nb\r\n", "a", "b") == [True, True]


def test_a_dot_or_a_slash_alone_ignores_nothing() -> None:
    assert ignored(".\n/\n", "a", "", ".x") == [False, False, False]


def test_a_bare_exclamation_mark_is_an_error_with_its_line() -> None:
    with pytest.raises(Invalid, match='line 2: illegal exclusion pattern: "!"'):
        Ignore.parse("a\n!\n")


def test_a_malformed_pattern_is_an_error_with_its_line() -> None:
    with pytest.raises(Invalid, match=r"x\.dockerignore line 1: syntax error in pattern"):
        Ignore.parse("a[", "x.dockerignore")


def test_it_says_which_rule_ignored_a_path() -> None:
    ignore = Ignore.parse("# c\n*.md\n!a.md\ndocs\n")
    rule = ignore.rule("docs/x/y")
    assert rule is not None and (rule.line, rule.text) == (4, "docs")
    found = ignore.rule("b.md")
    assert found is not None and found.line == 2
    assert ignore.rule("a.md") is None


def test_directories_can_be_skipped_when_nothing_below_can_come_back() -> None:
    ignore = Ignore.parse("*\n!src/keep\n!lib/*/x\n!**/deep\n")
    assert ignore.may_include_below("anything")  # because of **
    ignore = Ignore.parse("*\n!src/keep\n!lib/*/x\n!top\n")
    assert ignore.may_include_below("src")
    assert ignore.may_include_below("lib/a")
    assert not ignore.may_include_below("lib/a/x")
    assert not ignore.may_include_below("other")
    assert not ignore.may_include_below("top")
    assert not Ignore.parse("a\nb").may_include_below("a")


def test_names_that_are_not_utf8_match() -> None:
    assert Ignore.parse(b"\xff*").ignores(b"\xffabc".decode("utf-8", "surrogateescape"))


def test_a_path_two_thousand_directories_deep() -> None:
    assert ignored("a\n", "/".join("b" * 2000), "/".join("a" * 2000)) == [False, True]


def test_a_rule_that_could_change_nothing_is_not_tried_as_in_buildkit() -> None:
    # !dir finds dir not ignored, so it says nothing about what is in it.
    assert ignored("dir/a\n!dir", "dir", "dir/a") == [False, True]
