"""`build --check`, `--call=outline` and `--call=targets`: what they print, in text and JSON, and their exit codes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cais.cli import build_call
from cais.cli.declare import BadValue
from cais.engine import Engine, Settings
from cais.engine.build_options import BuildOptions
from cais.errors import Invalid


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with Engine(Settings(str(tmp_path / "root"))) as engine:
        yield engine


class Call:
    """Runs a method on a Dockerfile in a directory of its own, and keeps what it printed."""

    def __init__(self, engine: Engine, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.engine = engine
        self.directory = directory
        self.capsys = capsys

    def options(self, dockerfile: str, **options: Any) -> BuildOptions:
        (self.directory / "Dockerfile").write_text(dockerfile)
        return BuildOptions(str(self.directory), **options)

    def __call__(self, method: str, dockerfile: str, **options: Any) -> tuple[int, str, str]:
        name, format = build_call.call_method(method)
        code = build_call.run_call(self.engine, self.options(dockerfile, **options), name, format)
        return code, *self.capsys.readouterr()

    def document(self, method: str, dockerfile: str, **options: Any) -> Any:
        return json.loads(self(f"{method},format=json", dockerfile, **options)[1])


@pytest.fixture
def call(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    directory = tmp_path / "context"
    directory.mkdir()
    return Call(engine, directory, capsys)


CHECKED = "FROM not-here AS a\nENV x $y\n\nFROM scratch as b\n"


class TestCheck:
    def test_text(self, call: Call) -> None:
        code, out, err = call("check", CHECKED)
        assert (code, err) == (1, "")
        assert out == (
            "Check complete, 2 warnings have been found!\n"
            "\n"
            "WARNING: LegacyKeyValueFormat - docs/checks/LegacyKeyValueFormat.md\n"
            '"ENV key=value" should be used instead of legacy "ENV key value" format\n'
            "Dockerfile:2\n"
            "--------------------\n"
            "   1 |     FROM not-here AS a\n"
            "   2 | >>> ENV x $y\n"
            "   3 |     \n"
            "   4 |     FROM scratch as b\n"
            "--------------------\n"
            "\n"
            "WARNING: FromAsCasing - docs/checks/FromAsCasing.md\n"
            "'as' and 'FROM' keywords' casing do not match\n"
            "Dockerfile:4\n"
            "--------------------\n"
            "   2 |     ENV x $y\n"
            "   3 |     \n"
            "   4 | >>> FROM scratch as b\n"
            "   5 |     \n"
            "--------------------\n"
        )

    def test_nothing_and_one(self, call: Call) -> None:
        assert call("check", "FROM scratch\n") == (0, "Check complete, no warnings found.\n", "")
        code, out, _ = call("check", "FROM scratch\nCMD a\n")
        assert code == 1
        assert out.startswith("Check complete, 1 warning has been found!\n")

    def test_json(self, call: Call) -> None:
        found = call.document("check", CHECKED)
        assert [warning["ruleName"] for warning in found["warnings"]] == ["LegacyKeyValueFormat", "FromAsCasing"]
        assert found["warnings"][1] == {
            "ruleName": "FromAsCasing",
            "description": "The 'as' keyword should match the case of the 'from' keyword",
            "url": "docs/checks/FromAsCasing.md",
            "detail": "'as' and 'FROM' keywords' casing do not match",
            "location": {"ranges": [{"start": {"line": 4}, "end": {"line": 4}}]},
        }
        (source,) = found["sources"]
        assert (source["filename"], base64.b64decode(source["data"]).decode()) == ("Dockerfile", CHECKED)
        assert call.document("check", "FROM scratch\n")["warnings"] == []

    def test_a_target_is_checked_with_what_it_needs(self, call: Call) -> None:
        text = "FROM scratch AS a\nENV x y\nFROM scratch AS b\nENV x y\nFROM b AS c\n"
        assert [finding.first_line for finding in call.engine.builder.check(call.options(text))] == [2, 4]
        assert [finding.first_line for finding in call.engine.builder.check(call.options(text, target="c"))] == [4]

    def test_what_stands_before_an_error_is_found(self, call: Call) -> None:
        code, out, err = call("check", "FROM scratch AS Bad\nMAINTAINER me\nBADCMD\nFROM scratch as x\n")
        assert code == 1
        assert [line for line in out.splitlines() if line.startswith("WARNING")] == [
            "WARNING: StageNameCasing - docs/checks/StageNameCasing.md",
            "WARNING: MaintainerDeprecated - docs/checks/MaintainerDeprecated.md",
        ]
        assert "ERROR: dockerfile parse error on line 3: unknown instruction: BADCMD" in err
        assert "   3 | >>> BADCMD\n" in err

    def test_an_error_is_one_though_nothing_is_found(self, call: Call) -> None:
        code, out, err = call("check", "FROM scratch\nCOPY a\n")
        assert (code, out) == (1, "")
        assert "COPY requires at least two arguments" in err
        document = call.document("check", "FROM scratch\nCOPY a\n")
        assert document["buildError"]["location"] == {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]}

    def test_findings_as_errors(self, call: Call) -> None:
        code, out, err = call("check", "# check=error=true\n" + CHECKED)
        assert code == 1
        assert out.count("WARNING") == 2
        assert "ERROR: lint violation found for rules: FromAsCasing, LegacyKeyValueFormat" in err
        with pytest.raises(Invalid, match="lint violation"):
            call.engine.builder.check(call.options("# check=error=true\n" + CHECKED))

    def test_the_ignore_file_is_heeded(self, call: Call) -> None:
        (call.directory / ".dockerignore").write_text("out\n")
        text = "# check=experimental=CopyIgnoredFile\nFROM scratch\nCOPY ./out/x /\nCOPY in /\n"
        assert [finding.rule for finding in call.engine.builder.check(call.options(text))] == ["CopyIgnoredFile"]
        (call.directory / ".dockerignore").write_text("out\n!out/x\n")
        assert call.engine.builder.check(call.options(text)) == []

    def test_a_dockerfile_does_not_steer_the_terminal(self, call: Call) -> None:
        _, out, _ = call("check", "FROM scratch\nWORKDIR \x1b[2J\x9b\nEXPOSE 80/TCP\n")
        assert out.isascii()
        assert "\x1b" not in out


OUTLINED = """\
# DEBIAN is the release of the base
ARG RELEASE=13 SUFFIX=-slim
# BASE image
ARG BASE=debian:${RELEASE}
ARG UNUSED=1
FROM ${BASE} AS compiler
# OPTIMISE makes it fast
ARG OPTIMISE=yes TARGETARCH UNUSED
ARG LEVEL=${OPTIMISE:+2}
RUN --mount=type=secret,id=token,required --mount=type=ssh make
RUN --mount=type=secret,id=$OPTIMISE,target=/x --mount=type=secret,id=token make

FROM scratch AS unneeded
ARG NOTHING

# release holds the program
# and nothing else
FROM scratch AS release
ARG PLAIN
COPY --from=compiler /a /
"""


class TestOutline:
    def test_text(self, call: Call) -> None:
        code, out, _ = call("outline", OUTLINED, build_args={"LEVEL": "3"})
        assert code == 0
        assert [line.rstrip() for line in out.splitlines()] == [
            "TARGET:      release",
            "DESCRIPTION: holds the program",
            "",
            "BUILD ARG   VALUE       DESCRIPTION",
            "RELEASE     13",
            "BASE        debian:13   image",
            "UNUSED      1",
            "OPTIMISE    yes         makes it fast",
            "LEVEL       3",
            "PLAIN",
            "",
            "SECRET   REQUIRED",
            "token    true",
            "yes",
            "",
            "SSH       REQUIRED",
            "default",
        ]

    def test_json(self, call: Call) -> None:
        document = call.document("outline", OUTLINED, target="compiler")
        assert document["name"] == "compiler"
        assert [argument["name"] for argument in document["args"]] == ["RELEASE", "BASE", "UNUSED", "OPTIMISE", "LEVEL"]
        assert document["args"][3]["location"] == {"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]}
        assert [(secret["name"], secret.get("required")) for secret in document["secrets"]] == [
            ("token", True), ("yes", None),
        ]  # fmt: skip
        assert document["ssh"][0]["location"] == {"ranges": [{"start": {"line": 10}, "end": {"line": 10}}]}


class TestTargets:
    TEXT = "FROM a\n# b is the second\nFROM --platform=$BUILDPLATFORM a AS b\nFROM b\n"

    def test_text(self, call: Call) -> None:
        assert call("targets", self.TEXT) == (
            0,
            "TARGET    DESCRIPTION\n\nb         is the second\n(default)\n",
            "",
        )

    def test_json(self, call: Call) -> None:
        first, second, third = call.document("targets", self.TEXT)["targets"]
        assert first == {"base": "a", "location": {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]}}
        assert (second["name"], second["platform"], second["description"]) == ("b", "$BUILDPLATFORM", "is the second")
        assert third["default"] is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ("build", "")), ("check", ("check", "")), ("lint,format=text", ("check", "")),
     ("outline,format=json", ("outline", "json"))],
)  # fmt: skip
def test_methods(text: str, expected: tuple[str, str]) -> None:
    assert build_call.call_method(text) == expected


@pytest.mark.parametrize("text", ["nonsense", "check,format=xml", "check,color=red", "check,format"])
def test_what_is_no_method(text: str) -> None:
    with pytest.raises(BadValue):
        build_call.call_method(text)
