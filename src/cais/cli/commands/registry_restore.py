"""``cais registry restore``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] DIRECTORY|FILE.tar|-",
    "Fill an empty registry from a backup\n\nThe registry may be on another database or store of blobs than the one "
    "that was backed up: so one moves from SQLite to PostgreSQL, or from a directory to S3.",
    arguments=(1, 1),
    flags=settings_flags(),
    examples=(
        "cais registry restore --root /srv/registry /backup/registry",
        "cais registry restore --set database.url=postgresql://cais@db/registry /backup/registry",
    ),
    complete="file",
)


def run(call: Call) -> int:
    import sys

    from cais.cli.call import say, warn
    from cais.cli.registry_operator import settings_of
    from cais.cli.units import human_size

    settings = settings_of(call, new=True)
    from cais.catalog.backup import restore
    from cais.catalog.backup_archive import restore_archive
    from cais.catalog.catalog import stores

    (source,) = call.arguments
    with stores(settings) as (database, blobs):
        if source == "-":
            done = restore_archive(database, blobs, sys.stdin.buffer)
        elif source.endswith(".tar"):
            with open(source, "rb") as file:
                done = restore_archive(database, blobs, file)
        else:
            done = restore(database, blobs, source)
    for digest in done.lost:
        warn(f"Blob {digest} is not in the backup.")
    say(f"Restored {done.rows} rows, {done.blobs} blobs ({human_size(done.blob_bytes, 4)})")
    return 0
