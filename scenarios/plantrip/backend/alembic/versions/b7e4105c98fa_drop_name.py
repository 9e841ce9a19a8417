"""Drop name

Revision ID: b7e4105c98fa
Revises: 5f83a0d2e4c6
Create Date: 2025-04-16 18:30:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "b7e4105c98fa"
down_revision = "5f83a0d2e4c6"
branch_labels = None
depends_on = None


# Phase 2 of the rename, when no old code runs any more.


def upgrade() -> None:
    op.execute("update users set full_name = name where full_name is null")
    op.alter_column("users", "full_name", nullable=False)
    op.drop_column("users", "name")


def downgrade() -> None:
    op.add_column("users", sa.Column("name", sa.String(200), nullable=True))
    op.execute("update users set name = full_name")
    op.alter_column("users", "full_name", nullable=True)
