"""The steps of the schema, run by Alembic in a transaction that the caller has begun."""

from __future__ import annotations

import os

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from cais.errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Runs the steps that are missing. Raises Conflict where the schema is of a newer version."""
    config = configuration(connection)
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise Conflict(
            f"the database has a schema that this version does not know ({error})",
            hint="It was used by a newer version of cais: install that one.",
        ) from None


def head() -> str:
    """The newest step's name."""
    return ScriptDirectory(_directory()).get_current_head() or ""


def configuration(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _directory().replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _directory() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "migrations")
