"""HCL: what expressions give (as the real buildx gives it), and how bad texts are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cais.build.hcl.evaluate import Scope, Unknown, value_of
from cais.build.hcl.functions import function
from cais.build.hcl.json_body import parse_json
from cais.build.hcl.parser import parse
from cais.build.hcl.values import text
from cais.errors import Invalid


def value(expression: str, variables: Mapping[str, Any] = {}) -> Any:
    def variable(name: str) -> Any:
        if name not in variables:
            raise Unknown(name)
        return variables[name]

    attribute = parse("f.hcl", f"x = {expression}\n").attributes["x"]
    return value_of(attribute.expression, Scope(variable, function), attribute.source)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        # The right column is what `docker buildx bake --print` (0.13) has for each as an argument.
        ('format("%s-%d %5.2f|%-5s|%05d %q %v", "x", 3, 1.5, "l", 42, "q", [1,"a"])', 'x-3  1.50|l    |00042 "q" [1,"a"]'),  # noqa: E501
        ('join(",", sort(["c","a"]))', "a,c"),
        ('regex_replace("abc-def", "([a-z]+)-([a-z]+)", "$2_$1")', "abc"),
        ('substr("hello", 1, 3)', "ell"),
        ('title("hello world")', "Hello World"),
        ('jsonencode({b=[1,2.5,true,null], a="<x>"})', '{"a":"\\u003cx\\u003e","b":[1,2.5,true,null]}'),
        ('formatdate("YYYY-MM-DD\'T\'hh:mm:ssZ EEE MMM D HH aa", "2024-02-03T15:04:05Z")', "2024-02-03T15:04:05Z Sat Feb 3 03 pm"),  # noqa: E501
        ('timeadd("2024-02-03T15:04:05Z", "1h30m")', "2024-02-03T16:34:05Z"),
        ('"${length([1,2])} ${index(["a","b"],1)} ${element(["a","b"],3)}"', "2 b b"),
        ('coalesce(null, "", "z")', ""),
        ('lookup({a="1"}, "b", "dflt")', "dflt"),
        ('"${min(3,1,2)} ${max(3,1,2)} ${ceil(1.2)} ${floor(1.8)} ${pow(2,10)} ${log(100,10)} ${signum(-3)}"', "1 3 2 1 1024 2 -1"),  # noqa: E501
        ('"${parseint("ff",16)} ${modulo(10,3)} ${int(3.9)} ${absolute(-2)} ${negate(3)}"', "255 1 3 2 -3"),
        ('join("|", split(",", "a,b,c"))', "a|b|c"),
        ('"${indent(2, "a\\nb")}|${chomp("x\\n")}|${trimspace("  y ")}|${reverse("abc")}"', "a\n  b|x|y|cba"),
        ('join(",", flatten([["a"],["b",["c"]]]))', "a,b,c"),
        ('join(",", [for p in chunklist(["a","b","c"],2): join("+",p)])', "a+b,c"),
        ('join(",", [for p in setproduct(["a","b"],["c","d"]): join("+",p)])', "a+c,a+d,b+c,b+d"),
        ('join(",", concat(keys({z=1,a=2}), values({z="1",a="2"})))', "a,z,2,1"),
        ('"${cidrhost("10.0.0.0/8", 5)} ${cidrsubnet("10.0.0.0/8", 8, 2)}"', "10.0.0.5 10.2.0.0/16"),
        ('join(" ", cidrsubnets("10.1.0.0/16", 4, 4, 8))', "10.1.0.0/20 10.1.16.0/20 10.1.32.0/24"),
        ('urlencode("a b&c/d")', "a+b%26c%2Fd"),
        ('join(",", formatlist("%s!", ["a","b"]))', "a!,b!"),
        ('join(",", concat(range(3), range(1,8,3)))', "0,1,2,1,4,7"),
        ('join(",", setunion(["b","a"],["c"]))', "a,b,c"),
        ('"${strlen("é")} ${contains(["a"],"a")} ${and(true,false)} ${equal("a","a")} ${hasindex([1],0)}"', "1 true false true true"),  # noqa: E501
        ('csvdecode("a,b\\n1,2")[0].b', "2"),
        ('join(",", regexall("[a-z]", "a1b"))', "a,b"),
        ('regex("([a-z])([0-9])", "xa1")[1]', "1"),
        ('[{a="1"},{a="2"}].*.a[0]', "1"),
        ('uuidv5("dns", "example.com")', "cfbff0d1-9375-5685-968c-48ce8b15ae17"),
        ('"x%{ if 1 == 1 }A%{ else }B%{ endif }y"', "xAy"),
        ('"${~ " k " ~}z"', " k z"),
        ("!false && 1 < 2 || false ? \"yes\" : \"no\"", "yes"),
        ("2 + 3 * 4 - 1", "13"),
        ("-3 % 2", "-1"),
        ("1e3", "1000"),
        ("0.1 + 0.2", "0.3"),
        ("7 / 2", "3.5"),
        ('jsondecode("{\\"a\\":[1,2]}").a[1]', "2"),
        ('try(foo.bar, "fallback")', "fallback"),
        ("can(1 + 2)", "true"),
        ('sanitize("a/b.c")', "a_b_c"),
        ("{for k, v in {a=1}: k => v...}.a[0]", "1"),
        ('[for k, v in {b=2, a=1}: "${k}${v}"][0]', "a1"),
        ('"$${x} %%{y} \\u00e9"', "${x} %{y} é"),
        ('convert("2", number) + 1', "3"),
        ("max([1,2]...)", "2"),
    ],
)  # fmt: skip
def test_values(expression, found):
    assert text(value(expression)) == found


def test_a_heredoc_loses_its_margin():
    body = "<<-EOT\n    FROM x\n\n    RUN %{ if N > 2 }yes%{ else }no%{ endif ~}\n      in\n    %{ for q in [1,2] ~}\n    - ${q}\n    %{ endfor ~}\n    end\n  EOT"  # noqa: E501
    # What buildx prints for it: a strip mark joins a line without its margin.
    assert value(body, {"N": 3}) == "FROM x\n\nRUN yes      in\n    - 1\n    - 2\n    end\n"
    assert value('<<EOT\n  FROM x\n${~ "a" ~}\n  b ${ "c" ~}   d\n  e   ${~ "f" }\nEOT') == "  FROM xa  b cd\n  ef\n"


def test_blocks_labels_and_comments():
    body = parse("f", '# one\n// two\n/* three\n*/ a "x" y {\n  b = 1 # four\n  c {}\n}\nd { e = 2 }\n')
    assert [(block.kind, list(block.labels)) for block in body.blocks] == [("a", ["x", "y"]), ("d", [])]
    assert [block.kind for block in body.blocks[0].body.blocks] == ["c"]
    assert list(body.blocks[1].body.attributes) == ["e"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("a = ", "f:1,5: Missing expression"),
        ('a = "x', "Unterminated template string"),
        ('a = "x\ny"', "Invalid multi-line string"),
        ("a = [1 2]", "Missing item separator"),
        ("a = <<X\nb\n", "Unterminated heredoc"),
        ("a {\n", "Unclosed configuration block"),
        ("a = 1\na = 2\n", 'The argument "a" was already set'),
        ("a = 1 b = 2\n", "Missing newline"),
        ('a = "${x"', "a closing brace is required"),
        ('a = "%{ if x }y"', "there is no endif"),
        ('a = "\\q"', "Invalid escape sequence"),
        ("a { b = 1\n c = 2 }", "Invalid single-argument block definition"),
        ("a = " + "(" * 5000, "nested too deeply"),
        ("a = " + "-" * 5000 + "1", "nested too deeply"),
        ("a = " + '"${' * 500, "nested too deeply"),
    ],
)
def test_what_is_no_hcl_is_refused_with_its_line(written, message):
    with pytest.raises(Invalid) as caught:
        parse("f", written)
    assert message in caught.value.message and ">>>" in str(caught.value.lines)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("nope", "Undefined variable 'nope'"),
        ("nope()", "there is no function named 'nope'"),
        ("1 / 0", "Division by zero"),
        ("pow(10, 10000)", "math range error"),
        ("range(0, 100000)", "more than 1024 values"),
        ("[1][3]", "this list has 1 elements"),
        ("{a=1}.b", "this object has no 'b'"),
        ('"a${[1]}"', "Cannot include list in a string template"),
        ('"a" + 1', "a number is required"),
        ("upper()", "it takes 1 arguments, not 0"),
        ('regex("(", "x")', "invalid regexp pattern"),
        ("null ? 1 : 2", "The condition is null"),
        ("indent(1, [1])", "a string is required, not list"),
    ],
)
def test_what_has_no_value_says_why(expression, message):
    with pytest.raises(Invalid) as caught:
        value(expression)
    assert message.lower() in caught.value.message.lower() and ">>>" in str(caught.value.lines)


def test_the_form_in_json():
    body = parse_json(
        "f.json", '{"target": {"w": {"tags": ["a:${T}", 1], "args": {"x${T}": "$${T}"}}}, "g": "${T}!"}', ("target",)
    )
    scope = Scope({"T": "v"}.__getitem__, function)
    target = body.blocks[0]
    found = {name: value_of(item.expression, scope, item.source) for name, item in target.body.attributes.items()}
    assert (target.kind, list(target.labels), found) == ("target", ["w"], {"tags": ["a:v", 1], "args": {"xv": "${T}"}})
    assert value_of(body.attributes["g"].expression, scope, body.attributes["g"].source) == "v!"
    for broken in ("{", "[]", '{"target": []x}', '{"target": {"w": 1}}', '{"a": "${"}'):
        with pytest.raises(Invalid):
            parse_json("f.json", broken, ("target",))
