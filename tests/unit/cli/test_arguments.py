"""The parser follows pflag; the messages are those of Docker's client."""

from __future__ import annotations

import pytest

from cais.cli.arguments import HelpAsked, check_count, parse
from cais.cli.declare import Command, Flag, UsageError

FLAGS = (
    Flag("all", "a"),
    Flag("quiet", "q"),
    Flag("proxy", default=True),
    Flag("name", "n", "string", default="x"),
    Flag("env", "e", "list"),
    Flag("opt", "o", "strings"),
    Flag("count", "c", "int"),
    Flag("memory", "m", "bytes"),
    Flag("cpus", "", "decimal"),
    Flag("wait", "", "duration"),
    Flag("filter", "f", "filter"),
    Flag("weight", "", "uint16"),
)


def values(*arguments: str) -> dict[str, object]:
    return parse(FLAGS, arguments).values


def test_nothing_given_leaves_the_defaults() -> None:
    given = parse(FLAGS, [])
    assert given.values["all"] is False
    assert given.values["proxy"] is True
    assert given.values["name"] == "x"
    assert given.values["env"] == []
    assert given.values["count"] is None
    assert given.said == set()


@pytest.mark.parametrize(
    "arguments",
    [("--name", "v"), ("--name=v",), ("-n", "v"), ("-nv",), ("-n=v",), ("-an", "v"), ("-anv",), ("-an=v",)],
)
def test_every_way_to_give_a_value(arguments: tuple[str, ...]) -> None:
    assert values(*arguments)["name"] == "v"


def test_bundles_and_switches() -> None:
    assert values("-aq")["quiet"] is True
    assert values("--all=false")["all"] is False
    assert values("-a=false")["all"] is False
    assert values("--proxy=0")["proxy"] is False
    assert parse(FLAGS, ["--all", "false"]).positional == ["false"]


def test_values_may_look_like_flags_or_be_empty() -> None:
    assert values("--name", "--all")["name"] == "--all"
    assert values("--name=")["name"] == ""
    assert values("-n", "")["name"] == ""
    # One character behind an equals sign belongs to it; a lone equals sign is the value, as in pflag.
    assert values("-n=")["name"] == "="


def test_lists_add_up_and_strings_replace() -> None:
    assert values("-e", "A=1", "--env=B=2,C")["env"] == ["A=1", "B=2,C"]
    assert values("-o", "a,b", "-oc")["opt"] == ["a", "b", "c"]
    assert values("-o", 'a,"b,c"')["opt"] == ["a", "b,c"]
    assert values("-n1", "-n2")["name"] == "2"


def test_positional_arguments_and_the_end_of_flags() -> None:
    assert parse(FLAGS, ["x", "-a", "y"]).positional == ["x", "y"]
    assert parse(FLAGS, ["x", "--", "-a"]).positional == ["x", "-a"]
    assert parse(FLAGS, ["-", "-a"]).positional == ["-"]
    given = parse(FLAGS, ["-a", "image", "-q", "--nope"], interspersed=False)
    assert given.positional == ["image", "-q", "--nope"]
    assert given.values["quiet"] is False


def test_typed_values() -> None:
    assert values("-c", "-12")["count"] == -12
    assert values("-c", "0x1f")["count"] == 31
    assert values("-m", "1.5g")["memory"] == 3 << 29
    assert values("--cpus", "1.5")["cpus"] == 1_500_000_000
    assert values("--cpus", ".25")["cpus"] == 250_000_000
    assert values("--wait", "1m30.5s")["wait"] == 90_500_000_000
    assert values("--wait", "0")["wait"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--nope=1"], "unknown flag: --nope"),
        # A prefix of a flag is not that flag.
        (["--nam", "x"], "unknown flag: --nam"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-aqx"], "unknown shorthand flag: 'x' in -x"),
        (["-axq"], "unknown shorthand flag: 'x' in -xq"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["-ae"], "flag needs an argument: 'e' in -e"),
        (["--=x"], "bad flag syntax: --=x"),
        (["---"], "bad flag syntax: ---"),
        (["-c", "x"], 'invalid argument "x" for "-c, --count" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (
            ["-c", "99999999999999999999"],
            'invalid argument "99999999999999999999" for "-c, --count" flag: '
            'strconv.ParseInt: parsing "99999999999999999999": value out of range',
        ),
        (
            ["--weight", "-1"],
            'invalid argument "-1" for "--weight" flag: strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            ["--all=foo"],
            'invalid argument "foo" for "-a, --all" flag: strconv.ParseBool: parsing "foo": invalid syntax',
        ),
        (["-m", "xx"], 'invalid argument "xx" for "-m, --memory" flag: invalid size: \'xx\''),
        (["-m", "1kk"], 'invalid argument "1kk" for "-m, --memory" flag: invalid suffix: \'kk\''),
        (["-m", "1bb"], 'invalid argument "1bb" for "-m, --memory" flag: invalid suffix: \'bb\''),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (["--wait", "x"], 'invalid argument "x" for "--wait" flag: time: invalid duration "x"'),
        (["--wait", "5"], 'invalid argument "5" for "--wait" flag: time: missing unit in duration "5"'),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
    ],
)
def test_messages(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(FLAGS, arguments)
    assert raised.value.message == message
    assert raised.value.exit_code == 125


def test_a_flag_of_docker_that_is_not_built_is_named() -> None:
    with pytest.raises(UsageError, match=r"^--pull is not supported by this version of cais$"):
        parse(FLAGS, ["--pull", "x"], words="builder bake")
    with pytest.raises(UsageError, match=r"^-t \(--tag\) is not supported by this version of cais$"):
        parse(FLAGS, ["-t", "x"], words="builder imagetools create")
    with pytest.raises(UsageError, match=r"^unknown flag: --publish$"):
        parse(FLAGS, ["--publish", "80:80"], words="images")


def test_help_wins_where_it_stands() -> None:
    for words in (["--help"], ["-h"], ["x", "--help"]):
        with pytest.raises(HelpAsked):
            parse(FLAGS, words)
    with pytest.raises(UsageError):
        parse(FLAGS, ["--nope", "--help"])
    assert parse(FLAGS, ["--", "--help"]).positional == ["--help"]


@pytest.mark.parametrize(
    ("arguments", "count", "rule"),
    [
        ((0, 0), 1, "accepts no arguments"),
        ((1, 1), 0, "requires 1 argument"),
        ((2, 2), 1, "requires 2 arguments"),
        ((0, 1), 2, "requires at most 1 argument"),
        ((1, 2), 3, "requires at least 1 and at most 2 arguments"),
        ((1, None), 0, "requires at least 1 argument"),
    ],
)
def test_counts(arguments: tuple[int, int | None], count: int, rule: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_count(Command("", "", arguments=arguments), "image tag", count)
    assert raised.value.message == f"cais: 'cais image tag' {rule}"
    assert raised.value.exit_code == 1
    check_count(Command("", "", arguments=arguments), "image tag", arguments[0])
