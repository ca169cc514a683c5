"""The table of snapshots, and the driver of a root directory. Loaded only to make or migrate a database."""

from __future__ import annotations

SCHEMA = (
    """CREATE TABLE snapshots (
        id TEXT PRIMARY KEY,
        chain_id TEXT UNIQUE,
        parent TEXT,
        diff_id TEXT,
        size_bytes INTEGER NOT NULL DEFAULT 0,
        lease TEXT NOT NULL,
        created REAL NOT NULL DEFAULT (julianday('now'))
    ) WITHOUT ROWID;
    CREATE INDEX snapshots_by_diff_id ON snapshots (diff_id);
    CREATE TABLE snapshot_driver (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL)""",
    # The directory that has the files, where it is not called by the id.
    """ALTER TABLE snapshots ADD COLUMN files TEXT;
    CREATE INDEX snapshots_by_files ON snapshots (files) WHERE files NOTNULL""",
    # Whether the files came out of a tar: another program may have written that, so that packed again they may make
    # another one. Of older ones it is not known.
    "ALTER TABLE snapshots ADD COLUMN unpacked INTEGER NOT NULL DEFAULT 1",
    # The blob that has the files, where they are not in a directory yet.
    "ALTER TABLE snapshots ADD COLUMN packed TEXT",
)
