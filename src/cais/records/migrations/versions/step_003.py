"""Jobs of which one replica does each at a time; manifests whose subject is gone."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "003"
down_revision = "002"


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("until_unix", sa.Double(), nullable=False),
        sa.Column("finished_unix", sa.Double(), nullable=False),
        sa.Column("report", sa.JSON()),
        sa.PrimaryKeyConstraint("name", name="pk_jobs"),
    )
    op.add_column("repository_manifests", sa.Column("orphaned_unix", sa.Double()))
