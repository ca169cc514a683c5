"""Cache mounts: volumes that RUN keeps between builds, found again by their id, with locks for those who share them.

The lock of a volume is an flock on the file ``lock`` beside its ``data``, held while a RUN uses it: exclusively where
the mount is locked or private, together where it is shared. It goes with the process that holds it, however that ends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from cais.errors import from_os_error
from cais.host.locks import FileLock
from cais.host.owners import give
from cais.spec.named import NamedTuple
from cais.volume.records import Volume
from cais.volume.store import VolumeStore

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_READABLE_CHARACTERS = 60


class Cache(NamedTuple):
    """What a mount asks for. ``origin`` is what a new one begins with, by any name; "": nothing.

    ``owner`` and ``mode`` are the root directory's where ``origin`` is "".
    """

    id: str
    origin: str = ""
    owner: tuple[int, int] = (0, 0)
    mode: int = 0o755


class Held:
    """A cache in use. ``path`` is its directory; ``release`` it."""

    def __init__(self, store: VolumeStore, volume: Volume, lock: FileLock) -> None:
        self.path = volume.path
        self.name = volume.name
        self._store = store
        self._lock = lock

    def release(self) -> None:
        """Notes the time of this use."""
        try:
            self._store.touch(self.name)
        finally:
            self._lock.release()


def cache_name(cache: Cache, instance: int = 0) -> str:
    """The name of its volume: readable, and the same on every machine.

    As in BuildKit, caches of one id that begin differently (from, owner, mode) are different caches.
    """
    variant = cache.origin or f"{cache.owner[0]}:{cache.owner[1]}:{cache.mode:o}"
    plain = "" if variant == "0:0:755" else variant
    digest = hashlib.sha256(f"{cache.id}\0{plain}\0{instance}".encode("utf-8", "surrogateescape")).hexdigest()
    readable = "".join(char if char in _NAME_CHARACTERS else "-" for char in cache.id).strip("-.")
    return f"cache-{readable[:_READABLE_CHARACTERS]}-{digest[:12]}"


def is_cache_name(name: str) -> bool:
    """Whether it is as ``cache_name`` makes them: what is imported under it is found by builds."""
    head, _, tail = name.rpartition("-")
    return head.startswith("cache-") and len(tail) == 12 and all(char in "0123456789abcdef" for char in tail)


def acquire(
    store: VolumeStore,
    cache: Cache,
    sharing: str,
    wait: Callable[[str], None],
    fill: Callable[[str], None] | None = None,
) -> Held:
    """Its volume, made where there is none: ``fill(directory)`` copies what it begins with. ``sharing`` is shared,
    private or locked. ``wait(name)`` is called again and again while others have it, and may raise.

    Raises Unavailable, Denied, what ``fill`` raises.
    """
    instance = 0
    while True:
        volume = store.cache(cache_name(cache, instance), cache.id, lambda path: _begin(cache, path, fill))
        lock = FileLock(store.lock_path(volume))
        try:
            held = lock.acquire(shared=sharing == "shared", blocking=False)
        except FileNotFoundError:
            if store.is_current(volume):
                _mend(cache, volume.path, fill)
            continue  # else removed just now
        except OSError as error:
            raise from_os_error(error, f"lock the cache mount {cache.id}")
        if not held:
            if sharing == "private":
                instance += 1
            else:
                wait(volume.name)
            continue
        if not store.is_current(volume):
            lock.release()
            continue
        return Held(store, volume, lock)


def _begin(cache: Cache, path: str, fill: Callable[[str], None] | None) -> None:
    if fill is not None:
        fill(path)
        return
    give(path, *cache.owner)
    os.chmod(path, cache.mode)


def _mend(cache: Cache, path: str, fill: Callable[[str], None] | None) -> None:
    """Somebody removed the directory of a volume that is still known."""
    try:
        os.makedirs(path, exist_ok=True)
        _begin(cache, path, fill)
    except OSError as error:
        raise from_os_error(error, f"make the cache mount {cache.id}")
