"""Variables, quotes, escapes: the reference's "Environment replacement", facts 14 to 22."""

from __future__ import annotations

import pytest

from cais.build.dockerfile.expand import ExpansionError, expand

ENV = {"v": "value", "e": "", "p": "a/b/c.tar.gz", "s": "*x", "dots": "a.b.c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$v", "value"),
        ("${v}", "value"),
        ("a$v.b", "avalue.b"),
        ("$vx", ""),
        ("${v}x", "valuex"),
        ("$", "$"),
        ("a$ b", "a$ b"),
        ("$unset", ""),
        ("$1x", "x"),
        # -w, :-w
        ("${v:-w}", "value"),
        ("${u:-w}", "w"),
        ("${e:-w}", "w"),
        ("${e-w}", ""),
        ("${u-w}", "w"),
        ("${u:-${v}}", "value"),
        ("${u:-${u2:-$v}x}", "valuex"),
        ("${u:-'}'}", "}"),
        # +w, :+w
        ("${v:+w}", "w"),
        ("${e:+w}", ""),
        ("${e+w}", "w"),
        ("${u+w}", ""),
        # ?
        ("${v:?no}", "value"),
        ("${e?no}", ""),
        # prefixes and suffixes
        ("${p#*/}", "b/c.tar.gz"),
        ("${p##*/}", "c.tar.gz"),
        ("${p%.*}", "a/b/c.tar"),
        ("${p%%.*}", "a/b/c"),
        ("${p#x}", "a/b/c.tar.gz"),
        ("${p#a?b}", "/c.tar.gz"),
        ("${s#\\*}", "x"),
        ("${v%lue}", "va"),
        ("${u#x}", ""),
        # replacement
        ("${dots/./-}", "a-b.c"),
        ("${dots//./-}", "a-b-c"),
        ("${p/b*./X}", "a/Xgz"),
        ("${p//\\//-}", "a-b-c.tar.gz"),
        ("${dots//./}", "abc"),
        # quotes and escapes
        ("\\$v", "$v"),
        ("'$v'", "$v"),
        ('"$v"', "value"),
        ("\"'$v'\"", "'value'"),
        ('"\\$v\\"\\\\"', '$v"\\'),
        ('"\\n"', "\\n"),
        ("a\\ b", "a b"),
        ("foo%sbar %", "foo%sbar %"),
        ("a\\", "a"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, ENV).text == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('${u:?"u missing"}', "u: u missing"),
        ("${u?}", "u: is not allowed to be unset"),
        ("${e:?}", "e: is not allowed to be empty"),
        ("${v", "missing '}'"),
        ("${", "missing '}'"),
        ("${}", "bad substitution"),
        ("${{v}}", "bad substitution"),
        ("${:-x}", "bad substitution"),
        ("${v:x}", "unsupported modifier"),
        ("${v@Q}", "unsupported modifier"),
        ("${v:-x", "missing '}'"),
        ("${v/x", "missing '/' in"),
        ("${v/x/y", "missing '}'"),
        ("'a", "matching single-quote"),
        ('"a', "matching double-quote"),
        ("${p#\\a}", "invalid escape"),
        ("${a:-" * 60 + "}" * 60, "nested more than"),
    ],
)
def test_errors_quote_the_word(text: str, message: str) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(text, ENV)
    assert message in str(caught.value)
    assert str(caught.value).startswith('failed to process "')


def test_it_reports_what_was_used_and_what_was_not_set() -> None:
    result = expand("$v ${u} ${dflt:-$p} '$quoted'", ENV)
    assert result.used == {"v", "p"}
    assert result.unset == {"u"}  # a default says itself what to do


def test_words_end_at_blanks_that_are_neither_quoted_nor_escaped() -> None:
    ports = {"PORTS": "3000 4000/udp"}
    assert expand("$PORTS", ports).words == ("3000", "4000/udp")
    assert expand('"$PORTS" a\\ b', ports).words == ("3000 4000/udp", "a b")


def test_the_escape_character_can_be_a_backtick() -> None:
    assert expand("`$v \\$v", ENV, escape="`").text == "$v \\value"


def test_without_quotes_they_are_text() -> None:
    assert expand('it\'s "$v"', ENV, quotes=False).text == 'it\'s "value"'


def test_unset_variables_can_be_left_alone() -> None:
    text = "$u ${u} ${u:-x} ${u#y} ${u/a/b} $v"
    assert expand(text, ENV, keep_unset=True).text == "$u ${u} ${u:-x} ${u#y} ${u/a/b} value"


def test_a_value_cannot_grow_without_end() -> None:
    value = "x" * (1 << 20)
    with pytest.raises(ExpansionError, match="longer than"):
        expand("$a" * 20, {"a": value})
