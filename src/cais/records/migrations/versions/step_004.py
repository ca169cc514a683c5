"""What an upload hashes to so far, for whoever finishes it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "004"
down_revision = "003"


def upgrade() -> None:
    op.add_column("uploads", sa.Column("hashed", sa.JSON()))
