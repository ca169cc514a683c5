from __future__ import annotations

import pytest

from cais.errors import Invalid
from cais.spec.digest import Digest
from cais.spec.reference import Reference

DIGEST = Digest.of(b"")
SHORT = "0123456789ab" * 5 + "0123"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("debian", "docker.io/library/debian:latest", "debian:latest"),
        ("debian:12", "docker.io/library/debian:12", "debian:12"),
        ("library/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
        ("docker.io/library/debian:x", "docker.io/library/debian:x", "debian:x"),
        ("me/app", "docker.io/me/app:latest", "me/app:latest"),
        ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("ghcr.io/a/b:v1", "ghcr.io/a/b:v1", "ghcr.io/a/b:v1"),
        ("Registry/app", "Registry/app:latest", "Registry/app:latest"),
        ("[::1]:5000/app:t", "[::1]:5000/app:t", "[::1]:5000/app:t"),
        ("a__b/c.d/e--f", "docker.io/a__b/c.d/e--f:latest", "a__b/c.d/e--f:latest"),
        ("xn--n3h.com/myimage", "xn--n3h.com/myimage:latest", "xn--n3h.com/myimage:latest"),
        ("debian:" + "t" * 128, "docker.io/library/debian:" + "t" * 128, "debian:" + "t" * 128),
        (f"debian@{DIGEST}", f"docker.io/library/debian@{DIGEST}", f"debian@{DIGEST}"),
        (f"debian:12@{DIGEST}", f"docker.io/library/debian:12@{DIGEST}", f"debian:12@{DIGEST}"),
        (SHORT + ":tag", f"docker.io/library/{SHORT}:tag", f"{SHORT}:tag"),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == familiar
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (SHORT, "cannot specify 64-byte hexadecimal strings"),
        ("Debian", r"^repository name \(library/Debian\) must be lowercase"),
        ("me/App", r"\(me/App\) must be lowercase"),
        ("-debian", "'-debian'"),
        ("debian-", "'debian-'"),
        ("a..b", "'a..b'"),
        ("a___b", "'a___b'"),
        ("a//b", "component"),
        ("/a", ""),
        ("a/", "component"),
        ("debian:", "tag"),
        ("debian:.x", "tag"),
        ("debian:-x", "tag"),
        ("debian:a b", "tag"),
        ("debian:" + "t" * 129, "tag"),
        ("debian:x\n", "tag"),
        ("debian\n", ""),
        ("debian@sha256:1", "digest"),
        ("debian@", "digest"),
        ("docker.io/", "repository|component"),
        ("-host.com/x", "host"),
        ("ho_st.com/x", "host"),
        ("host.com:port/x", "host"),
        ("[::g]/x", "host"),
        ("é", "lower-case"),
        ("a" * 300, "must not be more than 255"),
        ("http://example.org/x", ""),
        ("a:b:c", ""),
    ],
)
def test_what_the_grammar_refuses_says_why(text: str, reason: str) -> None:
    with pytest.raises(Invalid, match="invalid reference format") as caught:
        Reference.parse(text)
    import re

    said = caught.value.message.removeprefix("invalid reference format: ")
    assert re.search(reason, said.removeprefix(f"{text!r}: "))


def test_no_default_tag_when_none_is_wanted() -> None:
    assert Reference.parse("debian", default_tag="").tag == ""
    assert Reference.parse("debian:x", default_tag="").tag == "x"


def test_only_the_legacy_name_of_the_hub_is_another_name_of_it() -> None:
    """As the distribution project's parser: index.docker.io is docker.io, any other host is itself."""
    assert Reference.parse("registry-1.docker.io/a/b").registry == "registry-1.docker.io"
