"""Go's filepath.Match: the table of its own behaviour."""

from __future__ import annotations

import pytest

from cais.build.patterns import BadPattern, match


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "abc", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^b-d]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("a???b", "a☺b", False),
        ("[a-ζ]*", "α", True),
        ("*[a-ζ]", "A", False),
        ("a?b", "a/b", False),
        ("a*b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "x", True),
        ("[x\\-]", "z", False),
        ("[\\-x]", "x", True),
        ("*x", "xxx", True),
        ("a[[]0].txt", "a[0].txt", True),
        ("[!a]", "!", True),
        ("[!a]", "b", False),
        ("[z-a]", "b", False),
        ("[^z-a]", "b", True),
        ("[^a]", "/", True),
        ("a.b", "axb", False),
        ("(a|b)+$", "(a|b)+$", True),
        ("", "", True),
        ("", "a", False),
        ("**", "a", True),
        ("**", "a/b", False),
        ("a*", "a\nb", True),
    ],
)
def test_match(pattern: str, name: str, expected: bool) -> None:
    assert match(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "[]a]",
        "[-]",
        "[x-]",
        "[-x]",
        "[a-b-c]",
        "[",
        "[^",
        "[^bc",
        "a[",
        "a[\\",
        "[a",
        "[]",
        "[^]",
        "a\\",
        "[a-",
        "[a-]",
    ],
)
@pytest.mark.parametrize("name", ["a", "zzz", ""])
def test_a_malformed_pattern_is_an_error_whatever_the_name(pattern: str, name: str) -> None:
    with pytest.raises(BadPattern):
        match(pattern, name)
