"""What a connection to PostgreSQL is told, and what it is not told where a pooler stands between."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from sqlalchemy import Connection, text

from cais.records.database import Database


def told(url: str) -> tuple[str, bool]:
    """How long it waits for a lock, and whether a statement that is repeated is prepared on the server."""

    def look(connection: Connection) -> tuple[str, bool]:
        for number in range(20):
            connection.execute(text("SELECT :number"), {"number": number})
        wait = connection.execute(text("SHOW lock_timeout")).scalar_one()
        prepared = connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one()
        return str(wait), bool(prepared)

    with closing(Database(url)) as database:
        return database.write(look)


def test_through_a_pooler_nothing_is_left_on_a_connection(postgres: Any) -> None:
    url = postgres.database()
    assert told(url) == ("30s", True)
    assert told(f"{url}?pooled=false") == ("30s", True)
    assert told(f"{url}?pooled=true") == ("0", False)
    assert told(f"{url}?pooled=true&options=-c%20lock_timeout%3D7s") == ("7s", False), "what the URL says is said"
