"""Create users

Revision ID: 6d02c9b14e7f
Revises:
Create Date: 2025-09-02 10:14:08.120000
"""
from alembic import op
import sqlalchemy as sa

revision = "6d02c9b14e7f"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("telegram_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("role", sa.Enum("client", "trainer", "admin", name="user_role"),
                  nullable=False, server_default="client"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False,
                  server_default=sa.func.now()),
    )
    op.create_index("ix_users_telegram_id", "users", ["telegram_id"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_users_telegram_id", table_name="users")
    op.drop_table("users")
    # dropping the table leaves the type
    sa.Enum(name="user_role").drop(op.get_bind())
