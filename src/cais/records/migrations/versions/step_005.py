"""Failed attempts to sign in, as all processes count them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "005"
down_revision = "004"


def upgrade() -> None:
    op.create_table(
        "sign_in_failures",
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("until_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("who", name="pk_sign_in_failures"),
    )
    op.create_index("ix_sign_in_failures_until_unix", "sign_in_failures", ["until_unix"])
