"""Instructions as values: facts "Parsing", "Config instructions" and the reference's grammar."""

from __future__ import annotations

from typing import Any

import pytest

from cais.build.dockerfile.errors import DockerfileError, ParseError, Span, marked_lines, nearest
from cais.build.dockerfile.instructions import (
    EXEC,
    SHELL,
    Add,
    Arg,
    Cmd,
    Command,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from cais.build.dockerfile.parser import format, parse, parse_trigger
from cais.spec.go_duration import format_duration, parse_duration


def one(text: str) -> Any:
    """The only instruction behind FROM."""
    (instruction,) = parse(f"FROM a\n{text}\n").stages[0].instructions
    return instruction


def error(text: str | bytes) -> str:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    return caught.value.message


def test_keywords_are_case_insensitive() -> None:
    dockerfile = parse("from a as B\nrUn x\n")
    assert dockerfile.stages[0].head.name == "b"
    assert isinstance(dockerfile.stages[0].instructions[0], Run)


def test_unknown_instruction_names_the_nearest() -> None:
    assert error("FOO\n") == "dockerfile parse error on line 1: unknown instruction: FOO (did you mean FROM?)"
    assert error("FROM a\n\nCOPPY a b\n") == (
        "dockerfile parse error on line 3: unknown instruction: COPPY (did you mean COPY?)"
    )
    assert error("FROM a\nbananas\n") == "dockerfile parse error on line 2: unknown instruction: bananas"


def test_unknown_flag_names_the_nearest() -> None:
    assert error("FROM a\nRUN --mont=x y\n").endswith("line 2: unknown flag: --mont (did you mean mount?)")
    assert error("FROM a\nCMD --x\n").endswith("unknown flag: --x")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("COPY --from=a --from=b x y", "duplicate flag specified: --from"),
        ("COPY --chmod x y", "missing a value on flag: --chmod"),
        ("COPY --exclude x y", "missing a value on flag: --exclude"),
        ("COPY --link=maybe x y", "expecting boolean value for flag --link, not: maybe"),
        ("COPY x", "COPY requires at least two arguments, but only one was provided"),
        (
            "COPY",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("COPY a <<EOF\nEOF", "COPY cannot accept a heredoc as a destination"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV a", "ENV must have two arguments"),
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("ENV =b", "ENV names can not be blank"),
        ("LABEL a", "LABEL must have two arguments"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =b", "ARG names can not be blank"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME []", "VOLUME requires at least one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
        ("SHELL /bin/sh", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK GET x", 'Unknown type "GET" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK CMD []", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK --interval=x CMD a", 'time: invalid duration "x" for --interval'),
        ("HEALTHCHECK --timeout=1us CMD a", 'Interval "timeout" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=x CMD a", '--retries "x" is not a number'),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
        ("ONBUILD maintainer a", "MAINTAINER isn't allowed as an ONBUILD trigger"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a b", "FROM requires either one or three arguments"),
        ("FROM a AS 1b", 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols'),
        ("FROM a AS b$c", "invalid name for build stage"),
        ("RUN --network=bridge x", 'invalid network mode "bridge"'),
        ("RUN --security=x y", 'security "x" is not valid'),
        ("RUN --mount=type=bind,from=$X,target=/x x", "'from' doesn't support variable expansion"),
        ('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
    ],
)
def test_errors_say_the_line(line: str, message: str) -> None:
    found = error(f"FROM a\n{line}\n")
    assert found.startswith("dockerfile parse error on line 2: ")
    assert message in found


def test_an_empty_file() -> None:
    assert error("") == "the Dockerfile cannot be empty"
    assert error("# only a comment\n\n") == "file with no instructions"


def test_no_from() -> None:
    assert error("ARG a\n") == "dockerfile contains no stages to build"
    assert "no build stage in current context" in error("RUN a\nFROM b\n")


def test_json_with_junk_is_the_shell_form() -> None:
    assert one('RUN ["echo","x"]junk').command == Command(SHELL, ('["echo","x"]junk',))
    assert one("RUN ['echo']").command.form == SHELL
    assert one('RUN [ "echo" , "x" ] ').command == Command(EXEC, ("echo", "x"))
    assert one("CMD [NaN]").command.form == SHELL
    assert one("CMD []").command == Command(EXEC, ())


def test_json_strings_with_escapes() -> None:
    assert one('CMD ["\\u00e9\\n", "\\ud800"]').command.args == ("é\n", "\ufffd")


def test_from() -> None:
    head = parse("FROM --platform=$BUILDPLATFORM golang:1 AS Build-1.x_y\n").stages[0].head
    assert (head.base, head.name, head.platform) == ("golang:1", "build-1.x_y", "$BUILDPLATFORM")


def test_arg_before_from_is_global() -> None:
    dockerfile = parse("ARG A=1 B\nFROM a\nARG A\n")
    assert [item.pairs for item in dockerfile.globals] == [(("A", "1"), ("B", None))]
    assert isinstance(dockerfile.stages[0].instructions[0], Arg)


def test_arg_without_value_differs_from_empty() -> None:
    assert one("ARG A B= C='x y'").pairs == (("A", None), ("B", ""), ("C", "'x y'"))


def test_env_and_label() -> None:
    assert one('ENV a=1 b="x y" c=x\\ y').pairs == (Pair("a", "1"), Pair("b", '"x y"'), Pair("c", "x\\ y"))
    assert one("ENV a  b c  d").pairs == (Pair("a", "b c  d", legacy=True),)
    assert isinstance(one("ENV a b"), Env)
    assert one('LABEL "a b"="c" d=\'"\'').pairs == (Pair('"a b"', '"c"'), Pair("d", "'\"'"))
    assert isinstance(one("LABEL a=b"), Label)


def test_run_with_every_flag() -> None:
    run = one(
        "RUN --mount=type=cache,target=/c,ro --mount=target=/t,source=s --network=none --security=insecure "
        "--device=d make all"
    )
    assert isinstance(run, Run)
    assert [mount.options for mount in run.mounts] == [
        (("type", "cache"), ("target", "/c"), ("ro", None)),
        (("target", "/t"), ("source", "s")),
    ]
    assert (run.network, run.security, run.devices) == ("none", "insecure", ("d",))
    assert run.command == Command(SHELL, ("make all",))


def test_mount_values_may_be_quoted_as_csv() -> None:
    run = one("""RUN --mount='type=bind,"source=a,b",target=/t' x""")
    assert run.mounts[0].options == (("type", "bind"), ("source", "a,b"), ("target", "/t"))


def test_copy_with_every_flag() -> None:
    copy = one("COPY --from=x --chown=a:b --chmod=755 --link --parents --exclude=*.a --exclude=b s1 s2 /d/")
    assert isinstance(copy, Copy)
    assert copy.sources == ("s1", "s2")
    assert copy.destination == "/d/"
    assert (copy.stage, copy.chown, copy.chmod, copy.link, copy.parents) == ("x", "a:b", "755", True, True)
    assert copy.exclude == ("*.a", "b")
    assert one('COPY ["a b", "c", "/d e/"]').sources == ("a b", "c")
    assert not one("COPY --link=false a b").link


def test_add_with_every_flag() -> None:
    add = one(
        "ADD --checksum=sha256:x --keep-git-dir --unpack=false --chown=1 --chmod=1 --link --exclude=x https://x /d"
    )
    assert isinstance(add, Add)
    assert (add.checksum, add.keep_git_dir, add.unpack, add.link) == ("sha256:x", True, False, True)
    assert one("ADD a b").unpack is None


def test_copy_heredocs_are_sources() -> None:
    copy = one("COPY <<A other <<'B' /d/\na\nA\nb\nB")
    assert copy.sources == ("other",)
    assert [(doc.name, doc.content, doc.expand) for doc in copy.heredocs] == [("A", "a\n", True), ("B", "b\n", False)]


def test_the_simple_ones() -> None:
    assert (one("WORKDIR /a b"), one("USER a:b")) == (
        Workdir(Span(2, 2), "WORKDIR /a b", "/a b"),
        User(Span(2, 2), "USER a:b", "a:b"),
    )
    assert one("MAINTAINER A B <c>") == Maintainer(Span(2, 2), "MAINTAINER A B <c>", "A B <c>")
    assert one("EXPOSE 80  $P/udp") == Expose(Span(2, 2), "EXPOSE 80  $P/udp", ("80", "$P/udp"))
    assert one('VOLUME ["/a b"]') == Volume(Span(2, 2), 'VOLUME ["/a b"]', ("/a b",))
    assert one("VOLUME /a /b").paths == ("/a", "/b")
    assert one('SHELL ["a", "b"]') == Shell(Span(2, 2), 'SHELL ["a", "b"]', ("a", "b"))
    assert one("STOPSIGNAL 9") == StopSignal(Span(2, 2), "STOPSIGNAL 9", "9")
    assert one("CMD a b") == Cmd(Span(2, 2), "CMD a b", Command(SHELL, ("a b",)))
    assert one('ENTRYPOINT ["a"]') == Entrypoint(Span(2, 2), 'ENTRYPOINT ["a"]', Command(EXEC, ("a",)))


def test_healthcheck() -> None:
    check = one("HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=2h --start-interval=5s --retries=3 cmd a b")
    assert isinstance(check, Healthcheck)
    assert check.test == ("CMD-SHELL", "a b")
    assert check[3:] == (90 * 10**9, 1_500_000_000, 7200 * 10**9, 5 * 10**9, 3)
    assert one('HEALTHCHECK CMD ["a"]').test == ("CMD", "a")
    assert one("HEALTHCHECK none").test == ("NONE",)


def test_onbuild_keeps_the_text_and_parses_it() -> None:
    item = one("ONBUILD  RUN --network=none cat <<A\nx\nA")
    assert isinstance(item, OnBuild)
    assert item.trigger == "RUN --network=none cat <<A\nx\nA"
    assert isinstance(item.instruction, Run)
    assert item.instruction.network == "none"
    assert parse_trigger(item.trigger, Span(7, 8)).span == Span(7, 8)


def test_a_trigger_is_one_instruction() -> None:
    with pytest.raises(ParseError, match="onbuild trigger should be a single expression"):
        parse_trigger("RUN a\nRUN b", Span(1, 1))


def test_format_gives_the_bytes_back() -> None:
    source = b"\xef\xbb\xbf# syntax=x\r\n\r\n# c\nARG a\nfrom  a  \n"
    source += b"RUN <<E\n\tx\nE\n\n# \xff\nRUN a \\\n\n # c\n b\n\n \t\n# end"
    assert format(parse(source)) == source


def test_durations_as_go_reads_and_prints_them() -> None:
    assert parse_duration("1h2m3.5s") == 3723_500_000_000
    assert parse_duration("0") == 0
    assert [parse_duration(text) for text in ("", "1", "x", "1s1", "1.s.", "-", "999999999h")] == [None] * 7
    values = (0, 5 * 10**9, 90 * 10**9, 3600 * 10**9, 1_500_000, 2, 1_500_000_000)
    assert [format_duration(value) for value in values] == [
        "0s", "5s", "1m30s", "1h0m0s", "1.5ms", "2ns", "1.5s",
    ]  # fmt: skip


def test_marked_lines_as_buildkit_prints_them() -> None:
    source = "FROM a\n\nRUN \x1b[31mfalse\nRUN b\nRUN c\nRUN d\n"
    assert marked_lines("Dockerfile", source, Span(3, 3)) == (
        "Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM a\n"
        "   2 |     \n"
        "   3 | >>> RUN ?[31mfalse\n"
        "   4 |     RUN b\n"
        "   5 |     RUN c\n"
        "--------------------\n"
    )


def test_marked_lines_of_a_span_outside_the_file() -> None:
    assert ">>> FROM a" in marked_lines("D", b"FROM a", Span(0, 99))


def test_marked_lines_show_the_start_of_a_long_line() -> None:
    shown = marked_lines("D", "FROM a\nENV b=" + "x" * 1_000_000, Span(2, 2))
    assert ">>> ENV b=xxx" in shown and "xxx...\n" in shown and len(shown) < 1000


def test_letters_in_the_wrong_order_are_one_error() -> None:
    assert nearest("RNU", ["ENV", "RUN"]) == "RUN"


def test_nothing_is_near_to_a_letter() -> None:
    assert nearest("b", ["a"]) == ""
    assert nearest("on", ["one", "an"]) == "one"


def test_nearest() -> None:
    assert nearest("bulid", ["build", "test"]) == "build"
    assert nearest("build", ["build"]) == ""
    assert nearest("entirely", ["build"]) == ""
