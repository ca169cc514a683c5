"""The ways to write a repository that BuildKit has. Pure.

    https://host/path/name.git            http too; only with .git at the path's end
    git://host/path  ssh://user@host/path
    git@host:path                         any user
    github.com/user/name                  only as a context

each followed by ``#reference:subdirectory``, or by a query: ``?ref=&branch=&tag=&subdir=&checksum=&submodules=&
keep-git-dir=``.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.host.files import cleaned
from cais.sources.urls import is_http, redacted
from cais.spec.named import NamedTuple

_USER = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_TRUE = ("", "1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


class GitUrl(NamedTuple):
    """``url`` is the remote, as git takes it. ``reference`` is "" for the remote's default branch, a full name of a ref
    where the query says its kind, or as it was written. ``subdirectory`` is clean and relative, "" for all."""

    url: str
    reference: str = ""
    subdirectory: str = ""
    checksum: str = ""
    submodules: bool = True
    keep_git_directory: bool = False


def parse_git_url(text: str, *, short: bool = True) -> GitUrl | None:
    """None where ``text`` is no repository. ``short``: ``github.com/...`` is one. Raises Invalid for a wrong one."""
    remote, hash, fragment = text.partition("#")
    remote, mark, query = remote.partition("?")
    url = _remote(remote, short)
    if url is None:
        return None
    if any(not character.isprintable() or character == " " for character in url):
        raise Invalid(f"invalid git URL {redacted(text)[:500]!r}: it has blanks or control characters")
    found = GitUrl(url)
    if mark:
        found = _queried(found, query, text)
    if hash:
        reference, _, subdirectory = fragment.partition(":")
        if reference and found.reference:
            raise Invalid(f"invalid git URL {redacted(text)!r}: the fragment and the query both say a ref")
        if subdirectory and found.subdirectory:
            raise Invalid(f"invalid git URL {redacted(text)!r}: the fragment and the query both say a subdirectory")
        found = found._replace(
            reference=reference or found.reference, subdirectory=cleaned(subdirectory) or found.subdirectory
        )
    if found.reference.startswith("-") or any(ord(character) <= 32 for character in found.reference):
        raise Invalid(f"invalid git ref {found.reference!r}")
    return found


def _remote(text: str, short: bool) -> str | None:
    if is_http(text):
        path = text.partition("://")[2].partition("/")[2]
        return text if path.rstrip("/").endswith(".git") else None
    if text.startswith(("git://", "ssh://")):
        # What begins with a dash would be read as an option.
        host = text.partition("://")[2].rpartition("@")[2]
        if not host.partition("/")[0] or text.partition("://")[2].startswith("-") or host.startswith("-"):
            raise Invalid(f"invalid git URL {redacted(text)!r}: it has no host")
        return text
    if short and text.startswith("github.com/"):
        return f"https://{text}"
    if "://" in text:
        return None
    user, at, rest = text.partition("@")
    host, colon, path = rest.partition(":")
    if at and colon and user and _USER.issuperset(user) and host and "/" not in host and not path.startswith("//"):
        return None if user.startswith("-") or host.startswith("-") else text
    return None


def _queried(found: GitUrl, query: str, text: str) -> GitUrl:
    from urllib.parse import parse_qsl

    shown = redacted(text)
    kinds: set[str] = set()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in ("ref", "branch", "tag"):
            if kinds or not value:
                raise Invalid(f"invalid git URL {shown!r}: ref, branch and tag are one of each other, with a value")
            kinds.add(name)
            prefix = {"ref": "", "branch": "refs/heads/", "tag": "refs/tags/"}[name]
            found = found._replace(reference=value if value.startswith("refs/") else prefix + value)
        elif name == "subdir":
            found = found._replace(subdirectory=cleaned(value))
        elif name in ("checksum", "commit"):
            if found.checksum and found.checksum != value:
                raise Invalid(f"invalid git URL {shown!r}: checksum and commit are different")
            found = found._replace(checksum=value)
        elif name == "submodules":
            found = found._replace(submodules=_switch(value, name, shown))
        elif name == "keep-git-dir":
            found = found._replace(keep_git_directory=_switch(value, name, shown))
        else:
            raise Invalid(
                f'unexpected query "{name}" in {shown!r}',
                hint="Known are ref, branch, tag, subdir, checksum (or commit), submodules and keep-git-dir.",
            )
    return found


def _switch(value: str, name: str, shown: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise Invalid(f"invalid value {value!r} of {name} in {shown!r}: it is true or false")
