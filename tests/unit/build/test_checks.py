"""The build checks: each rule where it finds something and where it does not, and what `# check=` says of it.

The cases follow BuildKit's documentation of the rules.
"""

from __future__ import annotations

import pytest

from cais.build.checks.report import EXPERIMENTAL, CheckOptions, Checks
from cais.build.checks.rules import RULES
from cais.build.dockerfile.errors import DockerfileError
from cais.build.dockerfile.parser import parse
from cais.build.lower import lower
from cais.build.lowering.result import Warned
from cais.errors import Invalid
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

AMD64 = Platform("linux", "amd64")


def base(reference: str, platform: Platform) -> ImageConfig:
    run = {"Env": ["PATH=/bin", "OF_BASE=1"]}
    if "with-shell" in reference:
        run["Shell"] = ["/bin/bash", "-c"]
    if "arm64" in reference:
        platform = Platform("linux", "arm64")
    return ImageConfig({**platform.to_json(), "config": run, "rootfs": {"type": "layers", "diff_ids": []}})


def found(
    text: str, *, build_args: dict[str, str] | None = None, ignored: str = "", every_stage: bool = True
) -> list[Warned]:
    dockerfile = parse(text)
    checks = Checks.of(dockerfile, build_args or {}, lambda path: path == ignored)
    lowered = lower(
        dockerfile, base=base, platform=AMD64, build_platform=AMD64, build_args=build_args, checks=checks,
        every_stage=every_stage,
    )  # fmt: skip
    assert lowered.warnings == checks.heeded
    return [warned for warned in lowered.warnings if warned.line]


def rules(text: str, **options: object) -> list[str]:
    return [f"{warned.code}:{warned.line}" for warned in found(text, **options)]  # type: ignore[arg-type]


def messages(text: str, **options: object) -> list[str]:
    return [warned.message for warned in found(text, **options)]  # type: ignore[arg-type]


EXPERIMENT = "# check=experimental=all\n"
# The Dockerfile, and what is found in it.
CASES = [
    ("FROM scratch AS Bad\n", ["StageNameCasing:1"]),
    ("FROM scratch AS good\n", []),
    ("FROM scratch as b\nFROM scratch AS c\n", ["FromAsCasing:1"]),
    ("from scratch AS b\nfrom scratch as c\n", ["FromAsCasing:1"]),
    # A FROM of mixed case is told once.
    ("From scratch as b\nFROM scratch AS c\n", ["ConsistentInstructionCasing:1"]),
    ("FROM scratch\nCOPY a \\\n\n/b\n", ["NoEmptyContinuation:4"]),
    ("FROM scratch\nCOPY a \\\n# comment\n/b\n", []),
    ("FROM scratch\ncopy a /\nCOPY b /\n", ["ConsistentInstructionCasing:2"]),
    ("from scratch\nCOPY a /\ncopy b /\n", ["ConsistentInstructionCasing:2"]),
    ("FROM scratch\ncopy a /\ncopy b /\n", ["ConsistentInstructionCasing:1"]),
    ("from scratch\ncopy a /\n", []),
    # As many of the one as of the other: upper case. ARGs above FROM are not looked at.
    ("FROM scratch\ncopy a /\n", ["ConsistentInstructionCasing:2"]),
    ("arg a\narg b\nFROM scratch\n", []),
    ("FROM scratch AS b\nFROM scratch AS b\n", ["DuplicateStageName:2"]),
    ("FROM scratch AS scratch\nFROM scratch AS context\n", ["ReservedStageName:1", "ReservedStageName:2"]),
    ("FROM scratch\nFROM scratch AS a\n", []),
    ("FROM scratch\nCMD a\n", ["JSONArgsRecommended:2"]),
    ("FROM scratch\nENTRYPOINT a\n", ["JSONArgsRecommended:2"]),
    ('FROM scratch\nSHELL ["/x"]\nCMD a\nENTRYPOINT b\n', []),
    ('FROM scratch AS a\nSHELL ["/x"]\nFROM a\nCMD a\n', []),
    ("FROM with-shell\nCMD a\n", []),
    ('FROM scratch\nCMD ["a"]\nHEALTHCHECK CMD a\n', []),
    ("FROM scratch\nMAINTAINER me\n", ["MaintainerDeprecated:2"]),
    ("FROM a:${nope}1\n", ["UndefinedArgInFrom:1"]),
    ("ARG DEBUG\nFROM scratch${DEBUG}\n", []),
    ("ARG DEBUG\nFROM scra${DEBUG:-tch}\n", []),
    ("FROM --platform=$BUILDPLATFORM scratch\n", []),
    ("FROM scratch\nWORKDIR a\nWORKDIR b\n", ["WorkdirRelativePath:2"]),
    ("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR b\n", []),
    ("FROM scratch\nARG foo\nCOPY a${foo} .\n", []),
    ("FROM scratch\nCOPY $foo .\nARG foo=b\n", ["UndefinedVar:2"]),
    ("FROM a AS b\nARG foo=x\nFROM b\nCOPY $foo $OF_BASE\n", []),
    ("FROM a\nRUN echo $foo\nCMD [\"$foo\"]\nENV a=${b:-c} d=${e+f}\n", []),
    (
        'FROM scratch\nENTRYPOINT ["a"]\nENTRYPOINT ["b"]\nCMD ["a"]\nCMD ["b"]\nHEALTHCHECK CMD a\nHEALTHCHECK NONE\n',
        ["MultipleInstructionsDisallowed:2", "MultipleInstructionsDisallowed:4", "MultipleInstructionsDisallowed:6"],
    ),
    ('FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]\n', []),
    ('FROM scratch AS a\nONBUILD CMD ["a"]\nFROM a\nCMD ["b"]\n', ["MultipleInstructionsDisallowed:3"]),
    ("FROM scratch\nENV a b\nLABEL c d\n", ["LegacyKeyValueFormat:2", "LegacyKeyValueFormat:3"]),
    ("FROM scratch\nENV a=b\nLABEL c=d\n", []),
    ("FROM --platform=$TARGETPLATFORM scratch\n", ["RedundantTargetPlatform:1"]),
    ("FROM --platform=${TARGETPLATFORM} scratch\n", ["RedundantTargetPlatform:1"]),
    ("FROM --platform=$TARGETOS/$TARGETARCH scratch\n", []),
    ("FROM --platform=linux/amd64 scratch\n", ["FromPlatformFlagConstDisallowed:1"]),
    ("FROM --platform=linux/amd64 scratch AS my_amd64\n", []),
    ("FROM --platform=linux/amd64 scratch AS linux\n", []),
    (
        "FROM scratch\nARG SECRET_PHRASE\nENV SUPER_Secret=foo\nENV apikey=a sunflower=b\nENV git_key=\nARG auth\n",
        [f"SecretsUsedInArgOrEnv:{line}" for line in (2, 3, 4, 5, 6)],
    ),
    ("ARG password\nFROM scratch\nENV PUBLIC_KEY= KEYS=a TOKEN_FILE=b KEY_VERSION=1 mykey=2\nARG public_token\n", []),
    ("ARG VERSION\nFROM a:$VERSION\n", ["InvalidDefaultArgInFrom:2"]),
    ("ARG IMAGE\nFROM $IMAGE\n", ["InvalidDefaultArgInFrom:2"]),
    ("ARG SFX=box:\nFROM busy${SFX}\n", ["InvalidDefaultArgInFrom:2"]),
    ("ARG VERSION=latest\nFROM a:${VERSION}\n", []),
    ("ARG VARIANT\nFROM a:stable${VARIANT}\n", []),
    ("FROM scratch\nEXPOSE 80/Tcp 53/udp\n", ["ExposeProtoCasing:2"]),
    ("FROM scratch\nEXPOSE 127.0.0.1:80:80 5000:5000/UDP\n",
     ["ExposeInvalidFormat:2", "ExposeProtoCasing:2", "ExposeInvalidFormat:2"]),
    ("FROM scratch\nEXPOSE 80-82/tcp\n", []),
    ("FROM arm64\n", ["InvalidBaseImagePlatform:1"]),
    ("FROM --platform=linux/arm64 arm64 AS arm64\n", []),
    (EXPERIMENT + "FROM scratch\nCOPY ./gone .\nADD gone/ /w\nCOPY here /\n",
     ["CopyIgnoredFile:3", "CopyIgnoredFile:4"]),
    (EXPERIMENT + "FROM scratch AS a\nFROM scratch\nCOPY --from=a gone /\n", []),
    ("FROM scratch\nCOPY gone /\n", []),
    (EXPERIMENT + "# bar is it\nARG foo=bar\n# BasE it is\nFROM scratch AS base\n# bad\nARG foo=b bar\n",
     ["InvalidDefinitionDescription:3", "InvalidDefinitionDescription:5", "InvalidDefinitionDescription:7"]),
    (EXPERIMENT + "# foo is it\nARG foo=bar\n\n# baz too\nARG foo baz\n# about\n#\nARG a\n# else\n\nFROM scratch AS b\n"
     "# for the copy\nCOPY a /\n# unnamed\nFROM scratch\n", []),
    ("# nothing\nARG foo\nFROM scratch\n", []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[0]))
def test_what_is_found(case: tuple[str, list[str]]) -> None:
    text, expected = case
    given = {"VERSION": "1", "IMAGE": "a", "SFX": "box:1", "VARIANT": "-musl"}
    declared = {name: value for name, value in given.items() if f"ARG {name}" in text}
    assert sorted(rules(text, ignored="gone", build_args=declared)) == sorted(expected)


def test_every_rule_has_a_case_that_triggers_it() -> None:
    assert {name.partition(":")[0] for _, expected in CASES for name in expected} == set(RULES)


def test_the_table_knows_what_is_experimental() -> None:
    assert {rule.name for rule in RULES.values() if rule.experimental} == EXPERIMENTAL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM scratch as b\n", "'as' and 'FROM' keywords' casing do not match"),
        ("FROM scratch AS B\n", "Stage name 'B' should be lowercase"),
        ("FROM scratch AS b\nFROM scratch AS b\n", 'Duplicate stage name "b", stage names should be unique'),
        ("FROM scratch\nRUN a\ncopy a /\n",
         "Command 'copy' should match the case of the command majority (uppercase)"),
        ("FROM scratch\nWORKDIR a/\n",
         'Relative workdir "a/" can have unexpected results if the base image changes'),
        ("FROM a\nENV PATH=$PAHT:/x\n", "Usage of undefined variable '$PAHT' (did you mean $PATH?)"),
        ("ARG tag=1\nFROM a:${tag}${version}\n", "FROM argument 'version' is not declared"),
        ("ARG MY_ARCH=amd64\nFROM a:${tag:-1}${MYARCH}\n",
         "FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)"),
        ("from scratch\nenv a b\n", '"env key=value" should be used instead of legacy "env key value" format'),
        ('from scratch\ncmd ["a"]\ncmd ["b"]\n',
         "Multiple cmd instructions should not be used in the same stage because only the last one will be used"),
        ("FROM arm64\n",
         'Base image arm64 was pulled with platform "linux/arm64", expected "linux/amd64" for current build'),
        ("FROM scratch\nARG a_token\n",
         'Do not use ARG or ENV instructions for sensitive data (ARG "a_token")'),
        (EXPERIMENT + "# x\nARG a b\nFROM scratch\n",
         "Comment for ARG should follow the format: `# <arg_key> <description>`"),
    ],
)  # fmt: skip
def test_messages(text: str, message: str) -> None:
    assert messages(text) == [message]


def test_what_needs_a_stage_is_found_in_those_that_are_lowered() -> None:
    text = "FROM scratch AS One\nCOPY $foo .\nFROM scratch AS two\nCOPY $bar .\n"
    assert rules(text) == ["StageNameCasing:1", "UndefinedVar:2", "UndefinedVar:4"]
    assert rules(text, every_stage=False) == ["StageNameCasing:1", "UndefinedVar:4"]


def test_nothing_is_said_about_the_variables_of_an_unknown_base() -> None:
    dockerfile = parse("FROM gone AS a\nENV x=$y\nFROM a\nENV z=$y\nFROM scratch\nENV x=$y\n")
    checks = Checks()
    checks.unknown.add("docker.io/library/gone:latest")
    lower(dockerfile, base=base, platform=AMD64, build_platform=AMD64, checks=checks, every_stage=True)
    assert [warned.line for warned in checks.heeded] == [6]


def test_a_finding_knows_all_its_lines() -> None:
    (warned,) = found("FROM scratch\nENV a \\\n  b\n")
    assert (warned.line, warned.last_line) == (2, 3)


class TestOptions:
    TEXT = "FROM scratch as base\ncopy a .\n"

    @pytest.mark.parametrize(
        ("option", "expected"),
        [
            ("skip=all", []),
            ("skip=all;error=true", []),
            ("skip=ConsistentInstructionCasing,FromAsCasing", []),
            ("skip=ConsistentInstructionCasing , FromAsCasing;error=1", []),
            ("skip=ConsistentInstructionCasing", ["FromAsCasing:2"]),
            ("error=false", ["FromAsCasing:2", "ConsistentInstructionCasing:3"]),
            # Names are as in the table, and others mean nothing.
            ("skip=fromascasing,Nonsense", ["FromAsCasing:2", "ConsistentInstructionCasing:3"]),
        ],
    )
    def test_skip(self, option: str, expected: list[str]) -> None:
        assert rules(f"# check={option}\n{self.TEXT}") == expected

    def test_error_names_the_rules(self) -> None:
        with pytest.raises(DockerfileError) as caught:
            found(f"# check=error=true\n{self.TEXT}")
        assert caught.value.message == "lint violation found for rules: ConsistentInstructionCasing, FromAsCasing"
        assert caught.value.span == (2, 2)

    def test_the_build_argument_stands_in_the_place_of_the_line(self) -> None:
        skip = {"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}
        assert rules(f"# check=error=true\n{self.TEXT}", build_args=skip) == []
        some = {"BUILDKIT_DOCKERFILE_CHECK": "skip=FromAsCasing"}
        assert rules(f"# check=skip=all\n{self.TEXT}", build_args=some) == ["ConsistentInstructionCasing:3"]

    def test_skipping_all_does_not_skip_experimental_ones(self) -> None:
        text = "# check=skip=all;experimental=CopyIgnoredFile\nFROM scratch as b\nCOPY gone /\n"
        assert rules(text, ignored="gone") == ["CopyIgnoredFile:3"]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("nonsense", 'invalid check option "nonsense"'),
            ("color=red", 'invalid check option "color"'),
            ("error=perhaps", 'failed to parse check option "error=perhaps": invalid syntax "perhaps"'),
        ],
    )
    def test_what_is_no_option(self, text: str, reason: str) -> None:
        with pytest.raises(Invalid) as caught:
            CheckOptions.parse(text)
        assert caught.value.message == f"failed to parse check options: {reason}"
