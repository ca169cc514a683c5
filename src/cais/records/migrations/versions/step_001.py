"""Repositories, blobs, manifests, tags and uploads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "001"
down_revision = None

_IDENTITY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DIGEST = sa.String(200)


def _name(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "repositories",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("name", _name(255), nullable=False),
        sa.Column("is_public", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_repositories"),
        sa.UniqueConstraint("name", name="uq_repositories_name"),
    )
    op.create_table(
        "blobs",
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("location", sa.JSON(), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_blobs"),
    )
    op.create_table(
        "repository_blobs",
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("linked_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_repository_blobs"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"],
            name="fk_repository_blobs_repository_id_repositories", ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["digest"], ["blobs.digest"], name="fk_repository_blobs_digest_blobs"),
    )  # fmt: skip
    op.create_index("ix_repository_blobs_digest", "repository_blobs", ["digest"])
    op.create_table(
        "garbage",
        sa.Column("id", _IDENTITY, nullable=False),
        sa.Column("location", sa.JSON(), nullable=False),
        sa.Column("since_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_garbage"),
    )
    op.create_table(
        "manifests",
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.String(255), nullable=False),
        sa.Column("artifact_type", sa.String(255), nullable=False),
        sa.Column("subject_digest", _DIGEST),
        sa.Column("annotations", sa.JSON()),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_manifests"),
    )
    op.create_index("ix_manifests_subject_digest", "manifests", ["subject_digest"])
    op.create_table(
        "repository_manifests",
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("pushed_unix", sa.Double(), nullable=False),
        sa.Column("linked_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "digest", name="pk_repository_manifests"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"],
            name="fk_repository_manifests_repository_id_repositories", ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(["digest"], ["manifests.digest"], name="fk_repository_manifests_digest_manifests"),
    )  # fmt: skip
    op.create_index("ix_repository_manifests_digest", "repository_manifests", ["digest"])
    op.create_table(
        "manifest_references",
        sa.Column("parent", _DIGEST, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("child", _DIGEST, nullable=False),
        sa.PrimaryKeyConstraint("parent", "kind", "child", name="pk_manifest_references"),
        sa.ForeignKeyConstraint(
            ["parent"], ["manifests.digest"], name="fk_manifest_references_parent_manifests", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_manifest_references_child", "manifest_references", ["child"])
    op.create_table(
        "tags",
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("name", _name(128), nullable=False),
        sa.Column("digest", _DIGEST, nullable=False),
        sa.Column("updated_unix", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("repository_id", "name", name="pk_tags"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name="fk_tags_repository_id_repositories", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id", "digest"], ["repository_manifests.repository_id", "repository_manifests.digest"],
            name="fk_tags_repository_id_digest_repository_manifests",
        ),
    )  # fmt: skip
    op.create_index("ix_tags_repository_id_digest", "tags", ["repository_id", "digest"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("repository_id", _IDENTITY, nullable=False),
        sa.Column("started_unix", sa.Double(), nullable=False),
        sa.Column("updated_unix", sa.Double(), nullable=False),
        sa.Column("offset_bytes", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name="fk_uploads_repository_id_repositories", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_uploads_repository_id", "uploads", ["repository_id"])
    op.create_index("ix_uploads_updated_unix", "uploads", ["updated_unix"])
