"""Whatever stands in a Dockerfile: it formats back, or it is a CaisError; nothing else is ever raised."""

from __future__ import annotations

import fnmatch

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cais.build.dockerfile.expand import ExpansionError, expand
from cais.build.dockerfile.parser import format, parse
from cais.build.ignore import Ignore
from cais.build.lower import lower
from cais.build.patterns import BadPattern, match
from cais.errors import CaisError
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

AMD64 = Platform("linux", "amd64")

_words = st.sampled_from(
    ["FROM", "scratch", "a", "AS", "b", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "CMD", "ONBUILD", "EXPOSE",
     "WORKDIR", "HEALTHCHECK", "SHELL", "STOPSIGNAL", "VOLUME", "USER", "ENTRYPOINT", "MAINTAINER", "--from=b",
     "--from=0", "--chown=$x", "--chmod=755", "--mount=type=cache,target=/x", "--network=none", "--interval=5s",
     "--", "<<EOF", "<<-'E'", "EOF", "E", "x=1", "$x", "${x:-y}", "${x#*}", "${", "'", '"', '\\', "`", "#",
     "# escape=`", "# syntax=a", '["a", "b"]', "[", "[]", "NONE", "80-82/udp", "/a/b", "../..", '\ufeff', '\xff',
     "9", '\u2028', "\x1c"]
)  # fmt: skip
_separators = st.sampled_from([" ", " ", " ", "\n", "\n", "\r\n", " \\\n", "\t", "", "\\\n\n", "`\n"])
_texts = st.lists(st.tuples(_words, _separators), max_size=40).map(lambda parts: "".join(map("".join, parts)))
_dockerfiles = st.one_of(
    _texts.map(lambda text: ("FROM a AS b\n" + text).encode()), _texts.map(str.encode), st.binary()
)


def base(reference: str, platform: Platform) -> ImageConfig:
    run = {"Env": ["PATH=/bin"], "OnBuild": ["RUN x"]}
    layers = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}
    return ImageConfig({**platform.to_json(), "config": run, "rootfs": layers})


@settings(max_examples=400, deadline=None)
@given(_dockerfiles)
@example(b"\xef\xbb\xbfFROM a\r\nRUN x\\")
@example(b"FROM a\nCMD [" + b"[" * 5000)
@example(b"FROM a\nHEALTHCHECK --retries=\xd9\xa1 CMD a")
def test_a_dockerfile_formats_back_or_is_an_error(source: bytes) -> None:
    try:
        dockerfile = parse(source)
    except CaisError as error:
        assert error.message
        return
    assert format(dockerfile) == source
    try:
        lowered = lower(dockerfile, base=base, platform=AMD64, build_platform=AMD64, build_args={"x": "1"})
    except CaisError as error:
        assert error.message
        return
    assert len(lowered.layers) == sum(entry.vertex is not None for entry in lowered.history)
    # What comes out can be stored.
    ImageConfig({"config": lowered.run, "history": [entry.to_json() for entry in lowered.history]}).raw.decode("utf-8")


@given(st.text(st.characters(exclude_characters="$'\"\\", codec="utf-8")))
def test_text_without_variables_quotes_and_escapes_is_left_as_it_is(text: str) -> None:
    assert expand(text, {}).text == text


@settings(max_examples=300)
@given(
    st.text("$ab{}:-+?#%/*'\"\\ .", max_size=30), st.dictionaries(st.sampled_from("ab"), st.text("ab./*\n", max_size=8))
)
def test_expansion_gives_text_or_its_own_error(text: str, variables: dict[str, str]) -> None:
    try:
        result = expand(text, variables)
    except ExpansionError:
        return
    assert result.used <= set(variables)
    assert result.unset.isdisjoint(variables)


@given(st.text("ab", max_size=6), st.text("ab", max_size=6), st.booleans())
def test_prefix_and_suffix_are_each_others_mirror(value: str, pattern: str, longest: bool) -> None:
    mark = "##" if longest else "#"
    front = expand(f"${{v{mark}{pattern}*}}", {"v": value}).text
    back = expand(f"${{v{mark.replace('#', '%')}*{pattern[::-1]}}}", {"v": value[::-1]}).text
    assert front == back[::-1]


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_patterns_without_classes_agree_with_the_shell(pattern: str, name: str) -> None:
    assert match(pattern, name) is fnmatch.fnmatchcase(name, pattern)


@given(st.text("ab*?[]^-\\/", max_size=10), st.text("ab/-]^", max_size=6))
def test_any_pattern_matches_or_is_malformed_for_every_name(pattern: str, name: str) -> None:
    try:
        match(pattern, name)
    except BadPattern:
        try:
            match(pattern, "other")
        except BadPattern:
            return
        raise AssertionError("a pattern is malformed for one name only")


_rules = st.lists(st.text("ab/*?!.", max_size=6), max_size=5).map("\n".join)
_paths = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=4)


@settings(max_examples=300)
@given(_rules, _paths, _paths)
def test_a_directory_that_may_be_skipped_has_nothing_taken_in_below(
    rules: str, parts: list[str], below: list[str]
) -> None:
    try:
        ignore = Ignore.parse(rules)
    except CaisError:
        return
    directory, path = "/".join(parts), "/".join(parts + below)
    if ignore.ignores(directory) and not ignore.may_include_below(directory):
        assert ignore.ignores(path)
    rule = ignore.rule(path)
    assert (rule is not None) is ignore.ignores(path)
    assert rule is None or not rule.again
    # The order of the questions does not matter.
    assert Ignore.parse(rules).ignores(path) is ignore.ignores(path)
