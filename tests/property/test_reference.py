"""Parsing and formatting references are each other's inverse, and no text makes the parser fail otherwise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cais.errors import Invalid
from cais.spec.digest import Digest
from cais.spec.reference import Reference

LETTERS = "abcxyz019"
words = st.text(LETTERS, min_size=1, max_size=6)
components = st.builds(
    lambda head, rest: head + "".join(separator + word for separator, word in rest),
    words,
    st.lists(st.tuples(st.sampled_from([".", "_", "__", "-", "---"]), words), max_size=2),
)
registries = st.one_of(
    st.just("docker.io"),
    st.just("localhost"),
    st.builds("{}.{}:{}".format, words, words, st.integers(1, 65535)),
    st.just("[2001:db8::1]:5000"),
    st.builds("{}:{}".format, words, st.integers(1, 65535)),
)
repositories = st.lists(components, min_size=1, max_size=4).map("/".join)
tags = st.text("abcXYZ019_.-", max_size=20).filter(lambda tag: not tag.startswith((".", "-")))
digests = st.one_of(st.none(), st.binary(max_size=4).map(Digest.of))


@given(registries, repositories, tags, digests)
def test_format_then_parse_gives_the_reference_back(
    registry: str, repository: str, tag: str, digest: Digest | None
) -> None:
    if registry == "docker.io" and "/" not in repository:
        repository = "library/" + repository
    reference = Reference(registry, repository, tag, digest)
    again = Reference.parse(str(reference), default_tag="")
    assert again == reference
    assert str(again) == str(reference)


@given(repositories, tags, digests)
def test_the_familiar_form_means_the_same(repository: str, tag: str, digest: Digest | None) -> None:
    text = repository + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    try:
        reference = Reference.parse(text)
    except Invalid:
        return  # 64 hexadecimal digits, or a first component that is a host
    assert Reference.parse(reference.familiar) == reference
    assert Reference.parse(str(reference)) == reference


@given(st.text(st.sampled_from("aA0./:@-_[] \n\0é" + "sha256"), max_size=60) | st.text(max_size=40))
def test_any_text_is_a_reference_or_invalid(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except Invalid as error:
        assert "invalid reference format" in error.message
        return
    assert Reference.parse(str(reference), default_tag="") == reference
    assert "\n" not in str(reference) and " " not in str(reference)
