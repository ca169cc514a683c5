"""What SQLite says is wrong with the local database, in words that tell what to do; loaded only where something is."""

from __future__ import annotations

import os

from cais.errors import CaisError, Corrupt, Denied, Failed, Unavailable
from cais.host.database import BUSY_TIMEOUT_SECONDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

_CHOOSE = "Choose another root directory with CAIS_ROOT or --root."
_FULL_BYTES = 1 << 16


def explained(error: sqlite3.Error, path: str) -> CaisError:
    """The error to raise for what SQLite raised about the database at ``path``: Unavailable (no space, read-only,
    locked too long), Corrupt, Denied, else Failed."""
    text = str(error)
    directory = os.path.dirname(path)
    name = getattr(error, "sqlite_errorname", "")  # those that Python itself raises have none
    if "full" in text or (name.startswith("SQLITE_IOERR") and _is_full(directory)):
        return Unavailable(
            f"cannot write the database {path}: no space left on device",
            hint="Free some space (cais system df, cais image prune) and run it again.",
        )
    if "locked" in text:
        return Unavailable(f"the database {path} was locked for {BUSY_TIMEOUT_SECONDS:.0f} seconds by others")
    if "readonly" in text or "unable to open" in text:
        if os.path.isdir(directory) and not os.access(directory, os.W_OK | os.X_OK):
            owner = os.stat(directory).st_uid
            if owner != os.geteuid():
                return foreign(directory, owner)
            return Denied(f"cannot write the root directory {directory}: it is read-only", hint=_CHOOSE)
        return Unavailable(
            f"cannot open the database {path}: {text}",
            hint="Is the file system full or read-only? CAIS_ROOT or --root chooses another root directory.",
        )
    if "malformed" in text or "not a database" in text:
        return Corrupt(f"the database {path} is damaged: {text}", hint="Run: cais system check")
    if "disk I/O" in text:
        return Unavailable(f"cannot read or write the database {path}: {text}")
    return Failed(f"database {path}: {text}")


def foreign(directory: str, owner: int) -> Denied:
    """The root directory is that of another user, whose id ``owner`` is."""
    import pwd

    from cais.host.namespaces import in_user_namespace

    try:
        # In a user namespace the ids of others are all the same.
        name = "another user" if in_user_namespace() else pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"user {owner}"
    return Denied(
        f"the root directory {directory} belongs to {name}",
        hint="Run it as that user, or choose another root directory with CAIS_ROOT or --root.",
    )


def not_made(directory: str, error: OSError) -> CaisError:
    """The root directory is not there, and could not be made."""
    if isinstance(error, PermissionError):
        return Denied(f"cannot create the root directory {directory}: permission denied", hint=_CHOOSE)
    why = "it is not a directory" if os.path.lexists(directory) else error.strerror
    return Unavailable(f"cannot create the root directory {directory}: {why}", hint=_CHOOSE)


def _is_full(directory: str) -> bool:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize < _FULL_BYTES
