"""What ``--exclude`` and ``--parents`` leave of a directory that is a source, besides what the ignore file leaves."""

from __future__ import annotations

from cais.build.ignore import Ignore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.scan import Ignoring


class Chosen:
    """Rules of the whole tree (``context``), and rules whose paths are relative to the source at ``root``.

    A directory that only the latter leave out is there all the same when something below it is taken (``leads``).
    """

    __slots__ = ("_context", "_own", "_start")

    def __init__(self, context: Ignoring | None, own: tuple[Ignore, ...], root: str) -> None:
        self._context = context
        self._own = own
        self._start = len(root) + 1 if root else 0

    def ignores(self, path: str) -> bool:
        if self._context is not None and self._context.ignores(path):
            return True
        below = path[self._start :]
        return any(rules.ignores(below) for rules in self._own)

    def may_include_below(self, path: str) -> bool:
        if self._context is not None and self._context.ignores(path) and not self._context.may_include_below(path):
            return False
        below = path[self._start :]
        return all(not rules.ignores(below) or rules.may_include_below(below) for rules in self._own)

    def leads(self, path: str) -> bool:
        """Whether the directory ``path`` is there only for what is below it."""
        below = path[self._start :]
        return any(rules.ignores(below) for rules in self._own)
