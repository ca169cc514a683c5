"""Accounts, organisations, robots, grants, logins and signing keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "002"
down_revision = "001"

_IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def _belongs_to(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=f"fk_{table}_{column}_{other}", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("name", _name(64), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_admin", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("is_disabled", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    op.create_table(
        "members",
        sa.Column("organisation_id", _IDENTITY, nullable=False),
        sa.Column("account_id", _IDENTITY, nullable=False),
        sa.Column("since_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("organisation_id", "account_id", name="pk_members"),
        _belongs_to("members", "organisation_id", "accounts"),
        _belongs_to("members", "account_id", "accounts"),
    )
    op.create_index("ix_members_account_id", "members", ["account_id"])
    op.create_table(
        "logins",
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("account_id", _IDENTITY, nullable=False),
        sa.Column("client", sa.String(255), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.Column("expires_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("secret_hash", name="pk_logins"),
        _belongs_to("logins", "account_id", "accounts"),
    )
    op.create_index("ix_logins_account_id", "logins", ["account_id"])
    op.create_index("ix_logins_expires_unix", "logins", ["expires_unix"])
    op.create_table(
        "robots",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("name", _name(64), nullable=False),
        sa.Column("owner_id", _IDENTITY),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.Column("expires_unix", sa.Double()),
        sa.Column("used_unix", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="pk_robots"),
        sa.UniqueConstraint("name", name="uq_robots_name"),
        sa.UniqueConstraint("secret_hash", name="uq_robots_secret_hash"),
        _belongs_to("robots", "owner_id", "accounts"),
    )
    op.create_index("ix_robots_owner_id", "robots", ["owner_id"])
    op.create_table(
        "grants",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("account_id", _IDENTITY),
        sa.Column("robot_id", _IDENTITY),
        sa.Column("pattern", _name(255), nullable=False),
        sa.Column("actions", sa.String(64), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
        sa.CheckConstraint("account_id IS NULL OR robot_id IS NULL", name="ck_grants_one_subject"),
        _belongs_to("grants", "account_id", "accounts"),
        _belongs_to("grants", "robot_id", "robots"),
    )
    op.create_index("ix_grants_account_id", "grants", ["account_id"])
    op.create_index("ix_grants_robot_id", "grants", ["robot_id"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("private_pem", sa.Text(), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.Column("signs_until_unix", sa.Double(), nullable=False),
        sa.Column("verifies_until_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )
