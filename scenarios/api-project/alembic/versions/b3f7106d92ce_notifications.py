"""Feature: notifications

Revision ID: b3f7106d92ce
Revises: 6ea83c5f10d9
Create Date: 2024-02-20 14:05:12.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "b3f7106d92ce"
down_revision = "6ea83c5f10d9"
branch_labels = ("notifications",)
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("id", sa.BigInteger(), primary_key=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notifications_user",
                                ondelete="CASCADE"),
    )
    op.create_index("ix_notifications_unread", "notifications", ["user_id"],
                    postgresql_where=sa.text("read_at is null"))


def downgrade() -> None:
    op.drop_table("notifications")
