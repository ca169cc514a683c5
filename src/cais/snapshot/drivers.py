"""What a driver is, and the choice of one: by trying, once for each root directory."""

from __future__ import annotations

import os

from cais.errors import CaisError, Invalid
from cais.host.files import random_name, remove_tree
from cais.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from cais.snapshot.apply import Applied
    from cais.snapshot.changes import Change
else:
    Protocol = object  # at run time a protocol is nothing but a class

NAMES = ("overlay", "overlay-user", "copies")


class Driver(Protocol):
    """Each directory is a snapshot's own; ``parents`` are those of the layers below, topmost first."""

    name: str

    # The attribute that makes a directory hide what is below it, where a snapshot's "fs" holds a layer's changes alone;
    # "" where it holds a whole tree.
    opaque: str

    def create(self, directory: str, parents: Sequence[str]) -> None: ...

    def mounts(self, directory: str, parents: Sequence[str], *, volatile: bool = False) -> tuple[Mount, ...]: ...

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]: ...

    def changes(
        self, directory: str, parents: Sequence[str], note: Callable[[str], None] | None = None
    ) -> Iterator[Change]: ...

    def unpack(
        self, directory: str, parents: Sequence[str], pieces: Iterator[bytes], *, owners: bool, algorithm: str
    ) -> Applied: ...

    def finish(self, directory: str) -> None: ...


def make(name: str) -> Driver:
    """The driver called ``name``. Raises Invalid."""
    if name in ("overlay", "overlay-user"):
        from cais.snapshot.overlay import Overlay

        return Overlay(user_xattrs=name == "overlay-user")
    if name == "copies":
        from cais.snapshot.copies import Copies

        return Copies()
    raise Invalid(f"unknown storage driver {name!r}", hint=f"The drivers are: {', '.join(NAMES)}.")


def probe(directory: str, lease: str = "") -> str:
    """The name of the best driver that works below ``directory``, found by mounting in a child process.

    ``lease``: this process's, by which a collector knows whether what it finds there is still used.
    """
    name = "overlay" if os.geteuid() == 0 and _is_initial_namespace() else "overlay-user"
    trial = os.path.join(directory, f"probe.{lease or random_name(6)}")
    os.makedirs(trial, 0o700)
    try:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if _overlay_works(trial, name) else 1
            finally:
                os._exit(code)
        return name if os.waitpid(child, 0)[1] == 0 else "copies"
    finally:
        remove_tree(trial)


def _is_initial_namespace() -> bool:
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def _overlay_works(trial: str, name: str) -> bool:
    from cais.host.mounts import realise, unmount
    from cais.host.namespaces import enter

    try:
        enter()
        driver = make(name)
        low, top, merged = (os.path.join(trial, part) for part in ("low", "top", "merged"))
        for path in (low, top, merged):
            os.mkdir(path)
        driver.create(low, [])
        with open(os.path.join(low, "fs", "file"), "w"):
            pass
        driver.create(top, [low])
        realise(driver.mounts(top, [low]), merged)
        try:
            # A whiteout must be possible, and an opaque directory's attribute.
            os.unlink(os.path.join(merged, "file"))
            os.mkdir(os.path.join(merged, "directory"))
            return not os.path.exists(os.path.join(merged, "file"))
        finally:
            # The parent may have entered its mount namespace before, and this child shares it.
            unmount(merged)
    except (OSError, CaisError):
        return False
