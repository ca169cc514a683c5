"""Uploads have no indexes: writing these was a good part of what a push cost the database, and nobody needs them."""

from __future__ import annotations

from alembic import op

revision = "006"
down_revision = "005"


def upgrade() -> None:
    op.drop_index("ix_uploads_repository_id", "uploads")
    op.drop_index("ix_uploads_updated_unix", "uploads")
