"""Files from http(s) URLs, kept: asked for again only where they may have changed, and not at all with a checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping

from cais.errors import CaisError, Corrupt, Invalid
from cais.sources.store import Kept, SourceStore, key_of
from cais.sources.urls import file_name, redacted, without_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading

    from cais.sources.http import Answer, Limits

FILE_MODE = 0o600
# What a file is called whose URL says no name, and whose server neither; so does BuildKit.
UNNAMED = "__unnamed__"
_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


def check_checksum(text: str) -> tuple[str, str]:
    """``algorithm:hex`` as its two parts. Raises Invalid in the words of Docker."""
    algorithm, colon, value = text.partition(":")
    if not colon or not algorithm or not value:
        raise Invalid(f"invalid checksum digest format: {text!r}", hint="It is written as sha256:0123..., 64 digits.")
    if algorithm not in _LENGTHS:
        raise Invalid(f"unsupported digest algorithm: {text!r}", hint="Known are sha256, sha384 and sha512.")
    if len(value) != _LENGTHS[algorithm] or not frozenset("0123456789abcdef").issuperset(value):
        raise Invalid(
            f"invalid checksum digest length: {text!r}"
            if len(value) != _LENGTHS[algorithm]
            else f"invalid checksum digest format: {text!r}"
        )
    return algorithm, value


def tree_of(kept: Kept) -> str:
    """The directory that holds the file and nothing else."""
    return os.path.join(kept.path, "tree")


def file_of(kept: Kept) -> str:
    return os.path.join(tree_of(kept), str(kept.facts["name"]))


class Files:
    """``fetch`` is that of ``http``, of a limited size and with the user's proxies."""

    def __init__(
        self,
        store: SourceStore,
        proxies: Mapping[str, str],
        *,
        limits: Limits | None = None,
        is_inner: Callable[[str], bool] | None = None,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._proxies = proxies
        self._limits = limits
        self._is_inner = is_inner
        self._cancelled = cancelled

    def get(self, url: str, checksum: str = "", *, again: bool = False) -> tuple[Kept, bool]:
        """The file of ``url``, and whether it is what was kept already. ``again``: fetched whatever is kept.

        Raises what ``http.fetch`` does, and Corrupt where it is not what ``checksum`` says; nothing of it is kept then.
        """
        algorithm, wanted = check_checksum(checksum) if checksum else ("sha256", "")
        bare = without_credentials(url)[0].partition("#")[0]
        key = key_of("file", bare)
        if wanted and not again and (kept := self._kept_as(key, algorithm, wanted)) is not None:
            return kept, True
        with self._store.lock(key):
            kept = None if again else self._store.find(key)
            if kept is not None and wanted and _digest(kept, algorithm) == wanted:
                return kept, True
            return self._fetch(url, bare, key, kept, algorithm, wanted)

    def _kept_as(self, key: str, algorithm: str, wanted: str) -> Kept | None:
        kept = self._store.find(key)
        return kept if kept is not None and _digest(kept, algorithm) == wanted else None

    def _fetch(
        self, url: str, bare: str, key: str, kept: Kept | None, algorithm: str, wanted: str
    ) -> tuple[Kept, bool]:
        from cais.host.files import write_all
        from cais.sources import addresses
        from cais.sources.http import LIMITS, fetch

        conditions = {}
        if kept is not None and not wanted:
            if kept.facts.get("etag"):
                conditions["If-None-Match"] = str(kept.facts["etag"])
            elif kept.facts.get("last_modified"):
                conditions["If-Modified-Since"] = str(kept.facts["last_modified"])
        with self._store.ingest() as directory:
            tree = os.path.join(directory, "tree")
            os.mkdir(tree, 0o700)
            temporary = os.path.join(directory, "file")
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
            try:
                answer = fetch(
                    url.partition("#")[0],
                    lambda piece: write_all(descriptor, piece),
                    headers=conditions,
                    proxies=self._proxies,
                    algorithms=("sha256",) if algorithm == "sha256" else ("sha256", algorithm),
                    limits=self._limits or LIMITS,
                    is_inner=self._is_inner or addresses.is_inner,
                    cancelled=self._cancelled,
                )
                if answer.status == 304 and kept is not None:
                    return kept, True
                if wanted and answer.digests[algorithm] != wanted:
                    raise mismatch(url, f"{algorithm}:{answer.digests[algorithm]}", f"{algorithm}:{wanted}")
                os.fchmod(descriptor, FILE_MODE)
                os.utime(descriptor, (answer.modified, answer.modified))
            finally:
                os.close(descriptor)
            name = file_name(bare) or answer.name or UNNAMED
            os.rename(temporary, os.path.join(tree, name))
            same = kept is not None and kept.facts.get("sha256") == answer.digests["sha256"]
            return self._commit(directory, key, bare, name, answer), same

    def _commit(self, directory: str, key: str, bare: str, name: str, answer: Answer) -> Kept:
        facts = {
            "name": name,
            "sha256": answer.digests["sha256"],
            "etag": answer.etag,
            "last_modified": answer.last_modified,
        }
        return self._store.commit(directory, key, "file", bare, facts, answer.size_bytes)


def mismatch(url: str, got: str, wanted: str) -> CaisError:
    return Corrupt(
        f"failed to load {redacted(url)}: digest mismatch {got}: {wanted}",
        hint="The file is not the one that the checksum is of.",
    )


def _digest(kept: Kept, algorithm: str) -> str:
    if algorithm == "sha256":
        return str(kept.facts.get("sha256", ""))
    with open(file_of(kept), "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
