"""Create users

Revision ID: 5be07a41c3f9
Revises:
Create Date: 2025-09-02 10:14:08.120000
"""
from alembic import op
import sqlalchemy as sa

revision = "5be07a41c3f9"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("price", sa.String(20), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("users")
