"""What URLs are, say and hide; which hosts are inner ones; which proxy is asked."""

from __future__ import annotations

import pytest

from cais.errors import Invalid
from cais.sources.addresses import is_inner, is_inner_name
from cais.sources.files import check_checksum
from cais.sources.git_urls import GitUrl, parse_git_url
from cais.sources.urls import disposition_name, file_name, redacted, without_credentials
from cais.spec.proxies import proxy_of, proxy_variables


def test_credentials_are_not_shown() -> None:
    assert redacted("https://user:pa:s@s@host/x@y") == "https://xxxxx:xxxxx@host/x@y"
    assert redacted("ssh://git@host/x") == "ssh://xxxxx@host/x"
    assert redacted("https://host/a@b") == "https://host/a@b"
    assert redacted("ADD http://u:p@a/1 https://v:q@b/2 /x") == (
        "ADD http://xxxxx:xxxxx@a/1 https://xxxxx:xxxxx@b/2 /x"
    )


def test_credentials_are_taken_out() -> None:
    assert without_credentials("https://me:p%40ss@host:1/x?y@z") == ("https://host:1/x?y@z", "me", "p@ss")
    assert without_credentials("https://host/x@y") == ("https://host/x@y", "", "")
    assert without_credentials("https://token@host") == ("https://host", "token", "")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.txt?c=/d#e", "b.txt"),
        ("http://h/a/b/", "b"),
        ("http://h", ""),
        ("http://h/", ""),
        ("http://h/a%20b", "a b"),
        ("http://h/%2e%2e", ""),
        ("http://h/a%2fb", ""),
        ("http://h/a%00b", ""),
        ("http://h/a%1b[2J", ""),
        ("http://h/" + "a" * 256, ""),
    ],
)
def test_names_of_files(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a.txt"', "a.txt"),
        ("attachment; filename*=UTF-8''a%20b", "a b"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="..\\\\x"', "x"),
        ('attachment; filename=".."', ""),
        ("attachment", ""),
        ("\udcff; =;;;", ""),
    ],
)
def test_names_that_servers_say(header: str, name: str) -> None:
    assert disposition_name(header) == name


@pytest.mark.parametrize(
    ("address", "inner"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("169.254.169.254", True), ("100.64.0.1", True), ("0.0.0.0", True),
        ("::1", True), ("fe80::1%eth0", True), ("::ffff:10.0.0.1", True), ("64:ff9b::7f00:1", True), ("fd00::1", True),
        ("2002:7f00:1::", True), ("224.0.0.1", True), ("what", True),
        ("8.8.8.8", False), ("2606:4700::1111", False), ("::ffff:8.8.8.8", False), ("64:ff9b::808:808", False),
    ],
)  # fmt: skip
def test_inner_addresses(address: str, inner: bool) -> None:
    assert is_inner(address) is inner


def test_inner_names() -> None:
    assert all(map(is_inner_name, ("localhost", "a.localhost.", "printer.local", "127.1.1.1", "[::1]")))
    assert not any(map(is_inner_name, ("example.com", "8.8.8.8", "localhost.com")))


def test_proxies() -> None:
    variables = proxy_variables({"HTTP_PROXY": "p1:80"}, {"http_proxy": "p2", "NO_PROXY": "a.com, 10.0.0.0/8,b.com:81"})
    assert proxy_of("http://x.com/", variables) == "http://p1:80"
    assert proxy_of("https://x.com/", variables) == ""
    for url in ("http://a.com", "http://c.a.com", "http://10.2.3.4", "http://b.com:81", "http://localhost"):
        assert proxy_of(url, variables) == "", url
    for url in ("http://aa.com", "http://b.com", "http://11.0.0.1"):
        assert proxy_of(url, variables) == "http://p1:80", url
    assert proxy_of("http://x/", {"all_proxy": "http://q", "no_proxy": "*"}) == ""


def test_checksums() -> None:
    assert check_checksum("sha256:" + "a" * 64) == ("sha256", "a" * 64)
    for text in ("a" * 64, "md5:" + "a" * 32, "sha256:abc", "sha256:" + "A" * 64, "sha256:"):
        with pytest.raises(Invalid, match="digest"):
            check_checksum(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://h/a.git", GitUrl("https://h/a.git")),
        ("https://h/a.git#", GitUrl("https://h/a.git")),
        ("https://h/a.git#main:sub/../x/", GitUrl("https://h/a.git", "main", "x")),
        ("https://h/a.git#:sub", GitUrl("https://h/a.git", "", "sub")),
        ("https://h/a.git#:../../etc", GitUrl("https://h/a.git", "", "etc")),
        ("https://h/a.git?branch=b&subdir=s", GitUrl("https://h/a.git", "refs/heads/b", "s")),
        ("https://h/a.git?tag=t&commit=abc", GitUrl("https://h/a.git", "refs/tags/t", "", "abc")),
        ("https://h/a.git?ref=pull/1/head", GitUrl("https://h/a.git", "pull/1/head")),
        ("https://h/a.git?submodules=false&keep-git-dir=1", GitUrl("https://h/a.git", "", "", "", False, True)),
        ("git://h/a", GitUrl("git://h/a")),
        ("ssh://git@h:22/a", GitUrl("ssh://git@h:22/a")),
        ("git@github.com:a/b", GitUrl("git@github.com:a/b")),
        ("git@github.com:a/b#v1", GitUrl("git@github.com:a/b", "v1")),
        ("github.com/a/b#v1:d", GitUrl("https://github.com/a/b", "v1", "d")),
        ("https://h/a", None),
        ("https://h/a.git/b", None),
        ("./git@x:y", None),
        ("a/b:c", None),
        ("file:///a.git", None),
        ("ext::sh -c x", None),
    ],
)
def test_repositories(text: str, found: GitUrl | None) -> None:
    assert parse_git_url(text) == found


def test_a_short_repository_is_a_path_to_add() -> None:
    assert parse_git_url("github.com/a/b", short=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://h/a.git?what=1",
        "https://h/a.git?ref=a&tag=b",
        "https://h/a.git?ref=a#b",
        "https://h/a.git?submodules=maybe",
        "https://h/a.git#--upload-pack=x",
        "https://h/a.git#a b",
        "ssh://-oProxyCommand=x/a",
        "git:///a",
        "https://h/a\x1b.git",
    ],
)
def test_wrong_repositories(text: str) -> None:
    with pytest.raises(Invalid):
        parse_git_url(text)
