"""The tables of volumes, and a volume as a value."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = (
    """CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        anonymous INTEGER NOT NULL,
        created REAL NOT NULL,
        labels TEXT NOT NULL,
        options TEXT NOT NULL
    ) WITHOUT ROWID""",
    """ALTER TABLE volumes ADD COLUMN kind TEXT NOT NULL DEFAULT 'local';
    ALTER TABLE volumes ADD COLUMN cache_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE volumes ADD COLUMN last_used REAL NOT NULL DEFAULT 0""",
    """ALTER TABLE volumes ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE volumes ADD COLUMN size_bytes INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE volumes ADD COLUMN measured TEXT NOT NULL DEFAULT '';
    CREATE TABLE volume_snapshots (
        volume TEXT NOT NULL,
        name TEXT NOT NULL,
        id TEXT NOT NULL UNIQUE,
        created REAL NOT NULL,
        size_bytes INTEGER NOT NULL,
        PRIMARY KEY (volume, name)
    ) WITHOUT ROWID""",
)

LOCAL, CACHE = "local", "cache"
ANONYMOUS_LABEL = "com.docker.volume.anonymous"

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_NAME_LIMIT = 255


class Volume(NamedTuple):
    """``path`` is the directory with its files; times are in seconds since 1970, 0 where they are not known.

    ``kind`` is ``local``, or ``cache`` for what RUN keeps under ``cache_id`` (``volume.caches``).
    """

    name: str
    path: str
    anonymous: bool
    created: float
    labels: Mapping[str, str]
    options: Mapping[str, str]
    kind: str = LOCAL
    cache_id: str = ""
    last_used: float = 0


def check_name(name: str) -> None:
    """Raises Invalid with Docker's words."""
    if len(name) < 2 and name:
        raise Invalid(f"create {name}: volume name is too short, names should be at least two alphanumeric characters")
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > _NAME_LIMIT:
        raise Invalid(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            f'"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )
