"""Submodules of a commit: where they stand, which commits they are, and where those are to be had."""

from __future__ import annotations

from cais.errors import CaisError, Denied, Failed, Invalid
from cais.sources.command import Git, GitFailed
from cais.sources.git_urls import parse_git_url
from cais.sources.urls import redacted
from cais.spec.named import NamedTuple

_LIMIT = 1000


class Module(NamedTuple):
    """``path`` is relative to the tree; ``url`` is absolute."""

    path: str
    commit: str
    url: str


def modules_of(git: Git, repository: str, commit: str, listed: bytes, url: str) -> list[Module]:
    """Those among ``listed`` (``git ls-tree -r -z``) of ``commit`` from ``url``. Raises Failed, Invalid."""
    found = [
        (fields.split(b" ")[2].decode(), path.decode("utf-8", "surrogateescape"))
        for fields, tab, path in (entry.partition(b"\t") for entry in listed.split(b"\0"))
        if fields.startswith(b"160000 ")
    ]
    if not found:
        return []
    if len(found) > _LIMIT:
        raise Invalid(f"{redacted(url)} has more than {_LIMIT} submodules")
    urls = _urls(git, repository, commit)
    modules = []
    for number, path in found:
        if path not in urls:
            raise Failed(f"No url found for submodule path {path!r} in .gitmodules of {redacted(url)}")
        modules.append(Module(path, number, _absolute(urls[path], url)))
    return modules


def _urls(git: Git, repository: str, commit: str) -> dict[str, str]:
    try:
        text = git.run("config", "--blob", f"{commit}:.gitmodules", "--list", "-z", directory=repository)
    except GitFailed:
        return {}
    values: dict[str, dict[str, str]] = {}
    for item in text.decode("utf-8", "surrogateescape").split("\0"):
        key, _, value = item.partition("\n")
        section, _, rest = key.partition(".")
        name, _, field = rest.rpartition(".")
        if section == "submodule" and field in ("path", "url"):
            values.setdefault(name, {})[field] = value
    return {value["path"]: value["url"] for value in values.values() if len(value) == 2}


def _absolute(url: str, parent: str) -> str:
    """``../other.git`` is beside the parent, as git has it (gitsubmodules(7)). Raises Invalid for what is none."""
    if url.startswith(("./", "../")):
        base = parent.rstrip("/")
        while url.startswith(("./", "../")):
            if url.startswith("../"):
                cut = max(base.rfind("/"), base.rfind(":"))
                if cut < 0 or base[:cut].endswith((":/", "//")):
                    raise Invalid(f"the submodule {redacted(url)!r} of {redacted(parent)} leads above its host")
                separator = base[cut]
                base = base[:cut] if separator == "/" else base[: cut + 1]
            url = url.partition("/")[2]
        url = f"{base}{url}" if base.endswith(":") else f"{base}/{url}"
    try:
        # Without .git it is one as well, here where nothing else can be meant.
        known = url.startswith(("http://", "https://")) or parse_git_url(url, short=False) is not None
    except CaisError:
        known = False
    if not known or any(not character.isprintable() for character in url) or "://-" in url:
        raise Denied(
            f"the submodule {redacted(url)[:500]!r} of {redacted(parent)} is none that is fetched",
            hint="Submodules are fetched over http, https, git and ssh.",
        )
    return url


def check_reach(parent: str, module: Module) -> None:
    """A public repository shall not choose what is read from this machine's own network. Raises Denied."""
    if _is_inner(_host(module.url)) and not _is_inner(_host(parent)):
        raise Denied(
            f"the submodule {module.path!r} of {redacted(parent)} is at {_host(module.url)}, which is of this machine "
            "or its network"
        )


def _host(url: str) -> str:
    if "://" in url:
        from urllib.parse import urlsplit

        try:
            return urlsplit(url).hostname or ""
        except ValueError:
            return ""
    return url.partition(":")[0].rpartition("@")[2]


def _is_inner(host: str) -> bool:
    import socket

    from cais.sources.addresses import is_inner, is_inner_name

    if is_inner_name(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False  # git will say that it is not to be found
    return any(is_inner(str(item[4][0])) for item in found)
