"""Directives, continuations, comments, heredocs: facts of Docker's reference, "Parsing" and "Heredoc"."""

from __future__ import annotations

import pytest

from cais.build.dockerfile.errors import ParseError, Span
from cais.build.dockerfile.lexer import SIZE_LIMIT_BYTES, Statement, decode, heredoc_of, lex
from cais.errors import Invalid


def statements(text: str) -> list[Statement]:
    return lex(text).statements


def test_directives_count_only_above_everything_else() -> None:
    assert lex("# syntax=docker/dockerfile:1\n# escape=`\nFROM a\n").directives == {
        "syntax": "docker/dockerfile:1",
        "escape": "`",
    }
    assert lex("\n# escape=`\nFROM a\n").escape == "\\"
    assert lex("# a comment\n# escape=`\nFROM a\n").escape == "\\"
    assert lex("FROM a\n# escape=`\n").escape == "\\"


def test_an_unknown_directive_is_a_comment_and_ends_them() -> None:
    assert lex("# unknown=1\n# escape=`\nFROM a\n").directives == {}


def test_directive_names_are_case_insensitive_and_blanks_around_equals_allowed() -> None:
    assert lex("#   EsCaPe  =  `  \nFROM a\n").escape == "`"


def test_a_directive_given_twice_is_an_error_with_its_line() -> None:
    with pytest.raises(ParseError, match="line 2: only one escape parser directive can be used"):
        lex("# escape=`\n# escape=`\nFROM a\n")


def test_a_bad_escape_token_is_an_error() -> None:
    with pytest.raises(ParseError, match="invalid escape token 'x'"):
        lex("# escape=x\nFROM a\n")


def test_continuations_join_lines_as_they_are() -> None:
    (statement,) = statements("RUN a \\\n  b\\\nc\n")
    assert statement.line == "RUN a   bc"
    assert statement.span == Span(1, 3)


def test_a_backtick_continues_where_it_is_the_escape() -> None:
    _, run = statements("# escape=`\nFROM a\nRUN a `\n  b \\\n")
    assert run.line == "RUN a   b \\"


def test_two_escapes_at_the_end_do_not_continue() -> None:
    first, second = statements("RUN a \\\\\nRUN b\n")
    assert (first.rest, second.rest) == ("a \\\\", "b")


def test_blanks_after_the_escape_still_continue() -> None:
    (statement,) = statements("RUN a \\ \t \n b\n")
    assert statement.rest == "a  b"


def test_comments_inside_a_continuation_are_dropped() -> None:
    (statement,) = statements("RUN a \\\n# one\n   # two\n && b\n")
    assert statement.rest == "a  && b"
    assert not statement.empty_continuation


def test_empty_lines_inside_a_continuation_are_dropped_and_marked() -> None:
    (statement,) = statements("RUN a \\\n\n\n && b\n")
    assert statement.rest == "a  && b"
    assert statement.empty_continuation


def test_a_continuation_at_the_end_of_the_file_ends_there() -> None:
    (statement,) = statements("RUN a \\\n")
    assert statement.rest == "a"
    assert statements("\\\n") == []


def test_bom_is_ignored() -> None:
    (statement,) = statements("\ufeffFROM a\n")
    assert statement.keyword == "FROM"


def test_a_directive_after_a_bom_counts() -> None:
    assert lex("\ufeff# escape=`\nFROM a\n").escape == "`"


def test_crlf_files_are_read_alike() -> None:
    first, second = statements("FROM a\r\nRUN b \\\r\n  c\r\n")
    assert (first.rest, second.rest) == ("a", "b   c")


def test_nul_bytes_are_an_error_with_the_line() -> None:
    with pytest.raises(ParseError, match="line 2: NUL byte"):
        decode(b"FROM a\nRUN \0\n")


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(Invalid, match="more than the limit"):
        decode(b" " * (SIZE_LIMIT_BYTES + 1))


def test_too_many_instructions_are_refused() -> None:
    with pytest.raises(Invalid, match="more than 20000 instructions"):
        lex("ARG a\n" * 20_001)


@pytest.mark.parametrize("text", ["RUN " + "x " * (1 << 15), "FROM a\nRUN <<E\n" + "x" * 65536 + "\nE"])
def test_an_endless_line_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="dockerfile line greater than max allowed size of 65535"):
        lex(text)


def test_the_longest_line() -> None:
    (statement,) = statements("RUN " + "x" * 65531 + "\n")
    assert len(statement.rest) == 65531


def test_an_endless_instruction_is_refused() -> None:
    with pytest.raises(ParseError, match="line 1: the instruction is longer than"):
        lex("RUN a" + "\\\n b" * (1 << 19))


def test_lines_are_counted_behind_many_empty_ones() -> None:
    (statement,) = statements("\n" * 10_000 + "FROM a\n")
    assert statement.span.first_line == 10_001


def test_ten_megabytes_of_heredoc() -> None:
    text = "FROM a\nRUN <<EOF\n" + "echo a line of a rather long script\n" * 290_000 + "EOF\n"
    assert len(text) > 10_000_000
    _, second = statements(text)
    assert second.span.last_line == 290_003


def test_flags_are_taken_off_the_front() -> None:
    (statement,) = statements("COPY --from=x --chown='a b' --link src --not /d\n")
    assert statement.flags == ("--from=x", "--chown=a b", "--link")
    assert statement.rest == "src --not /d"


def test_a_lone_double_dash_ends_the_flags() -> None:
    (statement,) = statements("CMD -- --x\n")
    assert (statement.flags, statement.rest) == ((), "--x")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("<<EOF", ("EOF", True, False, 0)),
        ("<<-EOF", ("EOF", True, True, 0)),
        ("<<'EOF'", ("EOF", False, False, 0)),
        ('<<"EOF"', ("EOF", False, False, 0)),
        ("<<-'E O'", None),
        ("3<<IN", ("IN", True, False, 3)),
        ("<<", None),
        ("<<<word", None),
        ("$((1<<3))", None),
        ("a<<b", None),
    ],
)
def test_what_is_a_heredoc(word: str, expected: tuple[object, ...] | None) -> None:
    doc = heredoc_of(word)
    if word == "<<-'E O'":
        assert doc is not None and doc.name == "E O"  # quoted: one word
        return
    assert (None if doc is None else (doc.name, doc.expand, doc.strip_tabs, doc.descriptor)) == expected


def test_a_heredoc_goes_to_its_name_alone_on_a_line() -> None:
    run, after = statements("RUN <<EOF\n EOF\nEOFX\n# no comment\n\\\nEOF\nRUN b\n")
    assert run.heredocs[0].content == " EOF\nEOFX\n# no comment\n\\\n"
    assert run.span == Span(1, 6)
    assert after.rest == "b"


def test_dash_strips_leading_tabs_only() -> None:
    (run,) = statements("RUN <<-EOF\n\t\ta\n  \tb\n\tEOF\n")
    assert run.heredocs[0].body == "a\n  \tb\n"


def test_without_dash_tabs_stay() -> None:
    (run,) = statements("RUN <<EOF\n\ta\nEOF\n")
    assert run.heredocs[0].body == "\ta\n"


def test_several_heredocs_follow_each_other() -> None:
    (run,) = statements("RUN cat <<A | tr a b; cat 3<<B\na\nA\nb\nB\n")
    assert [(doc.name, doc.content, doc.descriptor) for doc in run.heredocs] == [("A", "a\n", 0), ("B", "b\n", 3)]


def test_a_heredoc_that_does_not_end_is_an_error() -> None:
    with pytest.raises(ParseError, match="line 2: unterminated heredoc") as caught:
        lex("FROM a\nRUN <<EOF\nx\n")
    assert "<<EOF" in caught.value.hint


def test_no_heredoc_in_json_nor_in_other_instructions() -> None:
    assert [item.heredocs for item in statements('RUN ["cat", "<<EOF"]\nENV a=<<EOF\nCMD <<EOF\n')] == [()] * 3


def test_shift_operators_are_no_heredocs() -> None:
    assert statements("RUN echo $((1 << 3)) $((1<<3)) && cat <<<word\n")[0].heredocs == ()


def test_a_heredoc_behind_onbuild() -> None:
    (statement,) = statements("ONBUILD COPY <<EOF /x\na\nEOF\n")
    assert statement.heredocs[0].content == "a\n"


def test_bytes_that_are_not_utf8_are_kept() -> None:
    assert statements(decode(b"COPY \xff /x\n"))[0].rest.encode("utf-8", "surrogateescape") == b"\xff /x"
