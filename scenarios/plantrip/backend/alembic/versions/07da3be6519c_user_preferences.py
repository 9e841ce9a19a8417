"""User preferences

Revision ID: 07da3be6519c
Revises: b7e4105c98fa
Create Date: 2025-05-08 09:12:26.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "07da3be6519c"
down_revision = "b7e4105c98fa"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_preferences",
        sa.Column("user_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"),
                  primary_key=True),
        sa.Column("settings", sa.JSON(), nullable=False, server_default="{}"),
    )


def downgrade() -> None:
    op.drop_table("user_preferences")
