"""File systems that a plan speaks of, made when they are needed: layers of ``--link`` upon what is below them."""

from __future__ import annotations

from collections.abc import Callable

from cais.build.plan import Result
from cais.snapshot.store import SnapshotStore
from cais.spec.digest import Digest


class Standing:
    """``ensure`` unpacks what is not unpacked yet of a chain: an image's layers, an imported cache's. Threads may share
    it."""

    def __init__(self, snapshots: SnapshotStore, ensure: Callable[[Digest], None]) -> None:
        self._snapshots = snapshots
        self._ensure = ensure
        self._merged: dict[Digest, Result] = {}

    def know(self, result: Result) -> None:
        """What ``ensure`` may be asked for from now on."""
        while result.below is not None and result.chain is not None:
            self._merged[result.chain] = result
            result = result.below

    def ensure(self, chain: Digest) -> None:
        """Makes the file system of ``chain`` be there. Raises what unpacking raises, NotFound, Unavailable."""
        merged: list[Result] = []
        at: Digest | None = chain
        while at is not None and (result := self._merged.get(at)) is not None and result.below is not None:
            merged.append(result)
            at = result.below.chain
        if at is not None:
            self._ensure(at)
        for result in reversed(merged):
            assert result.below is not None and result.layer is not None
            self._ensure(result.layer.chain_id)
            self._snapshots.stand(result.below.chain, result.layer.diff_id)
