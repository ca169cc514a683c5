"""The copies driver: a snapshot is a full copy of its tree. Slow and large, and works on any file system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from cais.host.copying import copy_tree
from cais.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.snapshot.apply import Applied
    from cais.snapshot.changes import Change


class Copies:
    """The driver (``drivers.Driver``) for file systems on which no overlay can stand."""

    name = "copies"
    opaque = ""

    def create(self, directory: str, parents: Sequence[str]) -> None:
        tree = os.path.join(directory, "fs")
        os.mkdir(tree, 0o755)
        os.chmod(tree, 0o755)
        if parents:
            copy_tree(os.path.join(parents[0], "fs"), tree)

    def mounts(self, directory: str, parents: Sequence[str], *, volatile: bool = False) -> tuple[Mount, ...]:
        return (Mount("bind", os.path.join(directory, "fs"), options=("rbind", "rw")),)

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        return (Mount("bind", os.path.join(parents[0], "fs"), options=("rbind", "ro")),)

    def changes(
        self, directory: str, parents: Sequence[str], note: Callable[[str], None] | None = None
    ) -> Iterator[Change]:
        from cais.snapshot.changes import tree_changes

        old = os.path.join(parents[0], "fs") if parents else None
        return tree_changes(old, os.path.join(directory, "fs"), note)

    def unpack(
        self, directory: str, parents: Sequence[str], pieces: Iterator[bytes], *, owners: bool, algorithm: str
    ) -> Applied:
        from cais.snapshot.apply import apply

        self.create(directory, parents)
        return apply(pieces, os.path.join(directory, "fs"), style="merged", owners=owners, algorithm=algorithm)

    def finish(self, directory: str) -> None:
        pass
