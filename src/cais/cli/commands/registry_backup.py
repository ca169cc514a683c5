"""``cais registry backup``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] DIRECTORY|FILE.tar|-",
    "Write a backup of a registry, also while it serves\n\nAll records as of one moment, whichever database they are "
    "in, and every blob. Into a directory that holds a backup only what is new is written, and what the registry "
    "has no more is removed. A tar archive is written whole; - is standard output.",
    arguments=(1, 1),
    flags=settings_flags(),
    examples=("cais registry backup /backup/registry", "cais registry backup - | ssh backup 'cat >registry.tar'"),
    complete="file",
)


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.call import say, warn
    from cais.cli.registry_operator import settings_of
    from cais.cli.units import human_size

    settings = settings_of(call)
    from cais.catalog.backup import backup
    from cais.catalog.backup_archive import backup_archive
    from cais.catalog.catalog import stores

    (target,) = call.arguments
    with stores(settings) as (database, blobs):
        if target == "-":
            saved = backup_archive(database, blobs, sys.stdout.buffer)
        elif target.endswith(".tar"):
            # What is written under the name is complete.
            with open(target + ".new", "wb") as file:
                saved = backup_archive(database, blobs, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(target + ".new", target)
        else:
            saved = backup(database, blobs, target)
    for digest in saved.lost:
        warn(f"Blob {digest} is lost or damaged, and is not in the backup: cais registry check says more.")
    line = f"Saved {saved.rows} rows, {saved.copied} blobs ({human_size(saved.copied_bytes, 4)})"
    (warn if target == "-" else say)(line + (f"; {saved.kept} were there" if saved.kept else ""))
    return 1 if saved.lost else 0
