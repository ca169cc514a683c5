"""Layers that have no directory of their own: their files are in that of another layer, or in a blob."""

from __future__ import annotations

from cais.errors import NotFound
from cais.host.files import random_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.host.database import Database, Transaction
    from cais.host.leases import Leases
    from cais.snapshot.store import Layer
    from cais.spec.digest import Digest


def keep(database: Database, leases: Leases, layer: Layer, blob: Digest) -> Digest:
    """A row for ``layer``, whose files are in ``blob``, unless there is one; its chain is held. Raises NotFound."""
    with database.transaction() as change:
        if layer.parent is not None:
            _require(change, layer.parent)
        leases.hold(change, f"chain:{layer.chain_id}")
        change.execute(
            """INSERT OR IGNORE INTO snapshots (id, chain_id, parent, diff_id, size_bytes, lease, packed)
               VALUES (?, ?, ?, ?, ?, ?, ?)""",
            (random_name(8), layer.chain_id, layer.parent, layer.diff_id, layer.size_bytes, leases.id, blob),
        )
    return layer.chain_id


def stand(database: Database, leases: Leases, parent: Digest, chain: Digest, diff_id: Digest) -> None:
    """A row for the layer that was made on nothing upon ``parent``: ``chain``, which is held. Raises NotFound."""
    with database.transaction() as change:
        row = change.row(
            """SELECT coalesce(files, id), size_bytes, unpacked FROM snapshots WHERE diff_id = ? AND chain_id NOTNULL
               AND (parent IS NULL OR files NOTNULL) AND packed IS NULL LIMIT 1""",
            (diff_id,),
        )
        if row is None:
            raise _missing(diff_id)
        _require(change, parent)
        leases.hold(change, f"chain:{chain}")
        change.execute(
            """INSERT OR IGNORE INTO snapshots (id, chain_id, parent, diff_id, size_bytes, lease, files, unpacked)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (random_name(8), chain, parent, diff_id, row[1], leases.id, row[0], row[2]),
        )


def _require(change: Transaction, chain: Digest) -> None:
    if change.row("SELECT 1 FROM snapshots WHERE chain_id = ?", (chain,)) is None:
        raise _missing(chain)


def _missing(chain: Digest) -> NotFound:
    return NotFound(f"no snapshot of the layers {chain}", hint="Run: cais system check --repair")
