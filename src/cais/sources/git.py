"""Commits of repositories and their files, kept.

A repository is a bare one that grows: each commit that was asked for is a ref of it (``refs/cais/COMMIT``), fetched
without its history, so that the next fetch brings what is new. A commit that is there needs no network. Files have the
time of their commit, and the modes 0644 and 0755: the same on every day and for every user.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.errors import CaisError, Corrupt, Invalid, NotFound
from cais.host.files import remove_tree
from cais.sources.command import Git, GitFailed, size_of_files
from cais.sources.modules import Module, check_reach, modules_of
from cais.sources.store import Kept, SourceStore, key_of
from cais.sources.urls import redacted, without_credentials

_HEX = frozenset("0123456789abcdef")
_FULL = (40, 64)
_SHORTEST = 4
_DEPTH_LIMIT = 10


def is_commit(text: str) -> bool:
    """A full commit: SHA-1 or SHA-256."""
    return len(text) in _FULL and _HEX.issuperset(text)


class Repositories:
    """``get`` for a tree of files. Threads and processes may share it."""

    def __init__(self, store: SourceStore, git: Git) -> None:
        self._store = store
        self._git = git

    def get(
        self,
        url: str,
        reference: str = "",
        subdirectory: str = "",
        *,
        checksum: str = "",
        submodules: bool = True,
        keep_git_directory: bool = False,
    ) -> tuple[Kept, bool]:
        """The files of a commit in ``tree/``, and whether nothing new had to be fetched for them.

        ``reference`` is a branch, a tag, a ref's full name, a commit or the start of one; "": the default branch.
        ``checksum`` is the commit that it must be, or its start.

        Raises NotFound (no such ref, no such directory), Corrupt (another commit), Unavailable, Denied, GitFailed.
        """
        bare = _identity(url)
        commit = self._known(bare, reference, checksum) or self._resolve(url, reference)
        if checksum and not commit.startswith(checksum):
            raise Corrupt(
                f"expected checksum to match {checksum}, got {commit}",
                hint=f"It is of {redacted(url)} {reference}".rstrip(),
            )
        keep = keep_git_directory and not subdirectory
        key = key_of("tree", bare, commit, subdirectory, str(submodules), str(keep))
        if (kept := self._store.find(key)) is not None:
            return kept, True
        with self._store.ingest() as directory:
            tree = os.path.join(directory, "tree")
            os.mkdir(tree, 0o755)
            self._fill(url, commit, reference, tree, subdirectory, submodules, keep, f"{directory}/index", 0)
            shown = f"{bare}#{commit}" + (f":{subdirectory}" if subdirectory else "")
            facts = {"commit": commit}
            return self._store.commit(directory, key, "tree", shown, facts, size_of_files(tree)), False

    # Which commit.

    def _known(self, bare: str, reference: str, checksum: str) -> str:
        """A commit that nobody has to be asked about, or ""."""
        if is_commit(reference):
            return reference
        if not is_commit(checksum):
            return ""
        kept = self._store.find(_repository_key(bare, len(checksum)))
        return checksum if kept is not None and kept.facts.get("refs", {}).get(reference) == checksum else ""

    def _resolve(self, url: str, reference: str) -> str:
        """Asks the remote. A branch comes before a tag of the same name."""
        wanted = reference or "HEAD"
        asked = [wanted, f"{wanted}^{{}}"]
        lines = self._remote(url, "ls-remote", "--", _plain(url), *asked).decode("utf-8", "replace").splitlines()
        refs: dict[str, str] = {}
        for line in lines:
            commit, _, name = line.partition("\t")
            if is_commit(commit):
                refs[name] = commit
        for name in (wanted,) if wanted == "HEAD" else _names_of(wanted):
            found = refs.get(f"{name}^{{}}") or refs.get(name)
            if found:
                self._remember(url, reference, found)
                return found
        if len(reference) >= _SHORTEST and _HEX.issuperset(reference):
            return self._short(url, reference)
        if not reference:
            raise NotFound(f"repository {redacted(url)} has no default branch", hint="It is empty; or name a branch.")
        raise NotFound(f"repository does not contain ref {reference}", hint=f"It is {redacted(url)}.")

    def _short(self, url: str, start: str) -> str:
        """The start of a commit is known to nobody but who has all of them."""
        kept = self._repository(url, _FULL[0])
        with self._store.lock(kept.key):
            _unlock(kept.path)
            self._fetch_all(url, kept)
            try:
                found = self._git.run("rev-parse", "--verify", "--quiet", f"{start}^{{commit}}", directory=kept.path)
            except GitFailed:
                raise NotFound(f"repository does not contain ref {start}", hint=f"It is {redacted(url)}.")
            self._note(kept, start, found.decode().strip())
        return found.decode().strip()

    # What is stored.

    def _repository(self, url: str, length: int) -> Kept:
        bare = _identity(url)
        key = _repository_key(bare, length)
        with self._store.lock(key):
            kept = self._store.find(key)
            if kept is not None:
                return kept
            with self._store.ingest() as directory:
                kind = "sha256" if length == _FULL[1] else "sha1"
                self._git.run("init", "--quiet", "--bare", "--template=", f"--object-format={kind}", directory)
                return self._store.commit(directory, key, "repository", bare, {}, 0)

    def _remember(self, url: str, reference: str, commit: str) -> None:
        kept = self._repository(url, len(commit))
        with self._store.lock(kept.key):
            self._note(kept, reference, commit)

    def _note(self, kept: Kept, reference: str = "", commit: str = "") -> None:
        """What ``reference`` was the last time, and the size."""
        known = self._store.find(kept.key) or kept
        refs = dict(known.facts.get("refs", {}))
        if commit:
            refs[reference] = commit
        self._store.note(known, {"refs": dict(list(refs.items())[-100:])}, size_of_files(kept.path))

    def _has(self, kept: Kept, commit: str) -> bool:
        try:
            self._git.run("rev-parse", "--verify", "--quiet", f"refs/cais/{commit}^{{commit}}", directory=kept.path)
        except GitFailed:
            return False
        return True

    def _commit(self, url: str, commit: str, reference: str) -> Kept:
        """The repository, with ``commit`` in it."""
        kept = self._repository(url, len(commit))
        if self._has(kept, commit):
            return kept
        with self._store.lock(kept.key):
            if self._has(kept, commit):
                return kept
            _unlock(kept.path)
            target = f"refs/cais/{commit}"
            failure: CaisError | None = None
            # Not every server gives what no ref names, or a commit without its history.
            names = [commit, *([reference] if reference and not is_commit(reference) else [])]
            for name in names:
                try:
                    self._remote(
                        url, "fetch", "--quiet", "--no-tags", "--depth=1", "--no-write-fetch-head", "--force", "--",
                        _plain(url), name, repository=kept.path,
                    )  # fmt: skip
                    self._git.run("update-ref", target, commit, directory=kept.path)
                    failure = None
                    break
                except GitFailed as error:
                    failure = failure or error
            if failure is not None:
                try:
                    self._fetch_all(url, kept, reference)
                    self._git.run("update-ref", target, f"{commit}^{{commit}}", directory=kept.path)
                except GitFailed:
                    raise failure
            self._note(kept)
        return kept

    def _fetch_all(self, url: str, kept: Kept, reference: str = "") -> None:
        """Every branch and tag with its history, and ``reference``."""
        refs = ["+refs/heads/*:refs/all/heads/*", "+refs/tags/*:refs/all/tags/*"]
        if reference.startswith("refs/"):
            refs.append(f"+{reference}:refs/all/{reference[5:]}")
        whole = ["--unshallow"] if os.path.exists(os.path.join(kept.path, "shallow")) else []
        self._remote(
            url, "fetch", "--quiet", "--no-tags", *whole, "--no-write-fetch-head", "--", _plain(url), *refs,
            repository=kept.path,
        )  # fmt: skip

    def _remote(self, url: str, *words: str, repository: str = "") -> bytes:
        """A command that talks to the remote. A redirect of the repository as a whole is followed by our rules."""
        try:
            return self._git.run(*words, directory=repository, url=url, size_of=repository)
        except GitFailed as error:
            if "redirect" not in error.output and "returned error: 30" not in error.output:
                raise
            moved = _moved(url, self._git.proxies)
            if moved is None:
                raise
            plain = _plain(url)
            words = tuple(_plain(moved) if word == plain else word for word in words)
            return self._git.run(*words, directory=repository, url=moved, size_of=repository)

    # Its files.

    def _fill(
        self,
        url: str,
        commit: str,
        reference: str,
        tree: str,
        subdirectory: str,
        submodules: bool,
        keep: bool,
        index: str,
        depth: int,
    ) -> None:
        kept = self._commit(url, commit, reference)
        git = self._git
        if subdirectory:
            self._require_directory(kept, commit, subdirectory)
        paths = ("--", subdirectory or ".")
        listed = git.run("--literal-pathspecs", "ls-tree", "-r", "-z", commit, *paths, directory=kept.path)
        if listed:
            git.run(
                "--literal-pathspecs", f"--work-tree={tree}", "checkout", "--quiet", "--force", commit, *paths,
                directory=kept.path, environment={"GIT_INDEX_FILE": index},
            )  # fmt: skip
            remove_tree(index)
        if submodules:
            for module in modules_of(git, kept.path, commit, listed, url):
                self._fill_module(url, module, tree, index, depth + 1)
        if keep:
            self._keep(kept, url, commit, tree)
        if subdirectory:
            _move_up(tree, subdirectory)
        if depth == 0:
            time = git.run("show", "--no-patch", "--format=%ct", f"{commit}^{{commit}}", directory=kept.path)
            _set_times(tree, int(time.split()[0]))

    def _fill_module(self, parent: str, module: Module, tree: str, index: str, depth: int) -> None:
        if depth > _DEPTH_LIMIT:
            raise Invalid(f"failed to fetch remote {redacted(parent)}: its submodules are nested too deep")
        check_reach(parent, module)
        _refuse_links(tree, module.path)
        directory = os.path.join(tree, module.path)
        os.makedirs(directory, 0o755, exist_ok=True)
        self._fill(module.url, module.commit, "", directory, "", True, False, index, depth)

    def _require_directory(self, kept: Kept, commit: str, subdirectory: str) -> None:
        """Nothing on the way may be a link: that could lead out of the repository."""
        try:
            kind = self._git.run("cat-file", "-t", f"{commit}:{subdirectory}", directory=kept.path).strip()
        except GitFailed:
            raise NotFound(f"failed to find {subdirectory!r} in {redacted(kept.shown)} at {commit[:12]}")
        if kind != b"tree":
            raise Invalid(f"{subdirectory!r} in {redacted(kept.shown)} at {commit[:12]} is not a directory")

    def _keep(self, kept: Kept, url: str, commit: str, tree: str) -> None:
        """A ``.git`` of this one commit, which says the same whenever it is made."""
        own = os.path.join(tree, ".git")
        git = self._git
        kind = "sha256" if len(commit) == _FULL[1] else "sha1"
        git.run("init", "--quiet", "--template=", f"--object-format={kind}", tree)
        git.run(
            "fetch", "--quiet", "--no-tags", "--depth=1", "--no-write-fetch-head", "--", kept.path,
            f"refs/cais/{commit}", directory=own, environment={"GIT_ALLOW_PROTOCOL": "file"},
        )  # fmt: skip
        git.run("config", "remote.origin.url", _identity(url), directory=own)
        git.run("update-ref", "--no-deref", "HEAD", commit, directory=own)
        # Without the times and inodes that another index would have.
        git.run("read-tree", commit, directory=own)


def _identity(url: str) -> str:
    return without_credentials(url)[0] if url.startswith(("http://", "https://")) else url


def _plain(url: str) -> str:
    """As an argument: without a password that every user of this machine could see."""
    return _identity(url)


def _repository_key(bare: str, length: int) -> str:
    return key_of("repository", bare, "sha256" if length == _FULL[1] else "sha1")


def _names_of(reference: str) -> tuple[str, ...]:
    if reference.startswith("refs/"):
        return (reference,)
    return f"refs/heads/{reference}", f"refs/tags/{reference}", f"refs/{reference}"


def _unlock(repository: str) -> None:
    """Removes what a killed git left; whoever holds our lock is the only one who writes."""
    for path, _, names in os.walk(repository):
        for name in names:
            if name.endswith(".lock") or name.startswith("tmp_"):
                os.unlink(os.path.join(path, name))


def _moved(url: str, proxies: Mapping[str, str]) -> str | None:
    """Where an http repository has moved to, by the rules of ``http`` for redirects."""
    if not url.startswith(("http://", "https://")):
        return None
    from cais.sources.http import LIMITS, fetch

    suffix = "/info/refs?service=git-upload-pack"
    limits = LIMITS._replace(size_bytes=64 << 20)
    answer = fetch(url.rstrip("/") + suffix, lambda piece: None, proxies=proxies, limits=limits)
    return answer.url[: -len(suffix)] if answer.url.endswith(suffix) else None


def _move_up(tree: str, subdirectory: str) -> None:
    """Makes a directory of the tree the tree."""
    _refuse_links(tree, subdirectory)
    aside = f"{tree}.whole"
    os.rename(tree, aside)
    os.rename(os.path.join(aside, subdirectory), tree)
    remove_tree(aside)


def _refuse_links(tree: str, path: str) -> None:
    """A tree object made by hand may have a name twice, as a directory and as a link out of here. Raises Invalid."""
    directory = tree
    for name in path.split("/"):
        directory = os.path.join(directory, name)
        if name == ".." or os.path.islink(directory):
            raise Invalid(f"invalid path {path!r} in a repository: {name!r} is a link, and a directory at once")


def _set_times(tree: str, seconds: int) -> None:
    for path, directories, names in os.walk(tree, topdown=False):
        for name in (*names, *directories):
            os.utime(os.path.join(path, name), (seconds, seconds), follow_symlinks=False)
    os.utime(tree, (seconds, seconds))
