"""The overlay driver: a snapshot is the upper directory of one layer; a chain is their stack."""

from __future__ import annotations

import os

from cais.host.files import remove_tree
from cais.spec.mount import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cais.snapshot.apply import Applied
    from cais.snapshot.changes import Change


class Overlay:
    """``user_xattrs``: overlayfs as an ordinary user's namespace mounts it, with ``user.overlay.*``."""

    def __init__(self, *, user_xattrs: bool) -> None:
        self.name = "overlay-user" if user_xattrs else "overlay"
        self._style = "overlay-user" if user_xattrs else "overlay-trusted"
        self.opaque = "user.overlay.opaque" if user_xattrs else "trusted.overlay.opaque"
        self._prefix = b"user.overlay." if user_xattrs else b"trusted.overlay."
        self._options = ("userxattr",) if user_xattrs else ()

    def create(self, directory: str, parents: Sequence[str]) -> None:
        """An empty layer on ``parents`` (topmost first); its root looks like theirs."""
        upper = os.path.join(directory, "fs")
        os.mkdir(upper, 0o755)
        os.mkdir(os.path.join(directory, "work"), 0o700)
        if parents:
            status = os.lstat(os.path.join(parents[0], "fs"))
            os.chown(upper, status.st_uid, status.st_gid)
            os.chmod(upper, status.st_mode & 0o7777)
        else:
            os.chmod(upper, 0o755)

    def mounts(self, directory: str, parents: Sequence[str], *, volatile: bool = False) -> tuple[Mount, ...]:
        """Writable. ``volatile``: without syncing, which an unmount would do for the whole file system below."""
        upper = os.path.join(directory, "fs")
        if not parents:
            return (Mount("bind", upper, options=("rbind", "rw")),)
        lower = tuple(os.path.join(parent, "fs") for parent in parents)
        options = (*self._options, "volatile") if volatile else self._options
        # A volatile mount leaves a mark against being mounted again, for what a crash of the host may have lost.
        remove_tree(os.path.join(directory, "work", "work", "incompat"))
        return (
            Mount(
                "overlay",
                "overlay",
                options=options,
                lower=lower,
                upper=upper,
                work=os.path.join(directory, "work"),
            ),
        )

    def view(self, parents: Sequence[str]) -> tuple[Mount, ...]:
        """Read-only; ``parents`` is not empty."""
        if len(parents) == 1:
            return (Mount("bind", os.path.join(parents[0], "fs"), options=("rbind", "ro")),)
        lower = tuple(os.path.join(parent, "fs") for parent in parents)
        return (Mount("overlay", "overlay", options=("ro", *self._options), lower=lower),)

    def changes(
        self, directory: str, parents: Sequence[str], note: Callable[[str], None] | None = None
    ) -> Iterator[Change]:
        from cais.snapshot.changes import overlay_changes

        lower = [os.fsencode(os.path.join(parent, "fs")) for parent in parents]
        return overlay_changes(os.path.join(directory, "fs"), lower, self._prefix, note)

    def unpack(
        self, directory: str, parents: Sequence[str], pieces: Iterator[bytes], *, owners: bool, algorithm: str
    ) -> Applied:
        """Applies a layer's plain tar to the new layer in ``directory``."""
        from cais.snapshot.apply import apply

        self.create(directory, parents)
        return apply(pieces, os.path.join(directory, "fs"), style=self._style, owners=owners, algorithm=algorithm)

    def finish(self, directory: str) -> None:
        """After the last write: only the layer stays."""
        remove_tree(os.path.join(directory, "work"))
