"""Mount: what has to be mounted where. Snapshots and volumes emit them, runtimes consume them."""

from __future__ import annotations

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Mount(NamedTuple):
    """``kind`` is a file system type (``overlay``, ``bind``, ``tmpfs``, ``proc``, ...).

    ``target`` is a path inside the root file system ("/" is the root itself). For ``overlay``, ``lower`` lists
    the lower directories, topmost first, and ``upper``/``work`` are "" for a read-only view.
    """

    kind: str
    source: str
    target: str = "/"
    options: tuple[str, ...] = ()
    lower: tuple[str, ...] = ()
    upper: str = ""
    work: str = ""

    @property
    def readonly(self) -> bool:
        return "ro" in self.options


def plain_directory(mounts: Sequence[Mount]) -> str:
    """The directory that is the whole file system which ``mounts`` make, so that nothing need be mounted; else ""."""
    return mounts[0].source if len(mounts) == 1 and mounts[0].kind == "bind" else ""
