"""Changes that go around SQLAlchemy are part of the transaction, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select

from cais.errors import Conflict
from cais.records import blobs, repositories, uploads
from cais.records.database import Database
from cais.records.repositories import REPOSITORIES
from cais.records.uploads import UploadRow

LOCATION = {"file": "sha256/ab/abc.1"}
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/records.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database()
    database = Database(url)
    database.upgrade()
    yield database
    database.close()


def repository(database: Database, name: str = "app") -> int:
    return database.write(lambda connection: repositories.ensure(database, connection, name, public=False))


def test_an_upload_moves_on_once(database: Database) -> None:
    number = repository(database)
    database.write(lambda connection: uploads.begin(database, connection, ["u"], number))
    first = uploads.find(database, "app", "u")
    assert first == UploadRow("u", number, 0, [])
    now = first._replace(offset_bytes=5, parts=[["part", 5]], hashed={"digest": DIGEST, "since": ""})
    assert database.write(lambda connection: uploads.advance(database, connection, first, now))
    assert database.write(lambda connection: uploads.advance(database, connection, first, now)), "this step was taken"
    other = first._replace(offset_bytes=7)
    assert not database.write(lambda connection: uploads.advance(database, connection, first, other))
    assert uploads.find(database, "app", "u") == now
    assert not database.write(lambda connection: uploads.end(database, connection, "u", 0))
    assert database.write(lambda connection: uploads.end(database, connection, "u", 5))
    assert uploads.find(database, "app", "u") is None


def test_a_blob_is_where_it_was_first(database: Database) -> None:
    number, other = repository(database), {"file": "sha256/ab/abc.2"}
    for location, is_there in ((LOCATION, True), (other, False), (LOCATION, True)):
        assert database.write(lambda c, at=location: blobs.add(database, c, DIGEST, 3, at)) is is_there  # type: ignore[misc]
    for _ in range(2):
        database.write(lambda connection: blobs.link(database, connection, number, DIGEST))
    found = blobs.find(database, "app", DIGEST)
    assert found is not None and (found.size_bytes, found.location) == (3, LOCATION)


def test_what_fails_leaves_nothing_and_the_next_one_works(database: Database) -> None:
    number = repository(database)

    def half(connection: Connection) -> None:
        uploads.begin(database, connection, ["half"], number)
        repositories.ensure(database, connection, "half", public=False)
        raise RuntimeError("on purpose")

    def dangling(connection: Connection) -> None:
        uploads.begin(database, connection, ["half"], number)
        blobs.link(database, connection, number, "sha256:nothing")

    for fails, error in ((half, RuntimeError), (dangling, Conflict)):
        with pytest.raises(error):
            database.write(fails)
        assert uploads.find(database, "app", "half") is None
    with database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(REPOSITORIES)).scalar() == 1
    assert repository(database) == number
    assert repository(database, "second") != number


def test_two_that_keep_a_connection_to_write_do_not_shut_each_other_out(tmp_path: Path) -> None:
    database, beside = (Database(f"sqlite:///{tmp_path}/records.db") for _ in range(2))
    database.upgrade()
    number = repository(database)
    for name in ("a", "b", "c"):
        for one in (database, beside):
            one.write(lambda c, d=one, n=name: uploads.begin(d, c, [n + str(id(d))], number))  # type: ignore[misc]
    for one in (database, beside):
        for other in (database, beside):
            assert uploads.find(one, "app", "c" + str(id(other))) is not None
    for one in (database, beside):
        one.close()
