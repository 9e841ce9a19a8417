"""Merge notifications

Revision ID: d74b92e03f68
Revises: b3f7106d92ce, 48c05ad1b7f2
Create Date: 2024-02-26 16:40:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "d74b92e03f68"
down_revision = ("b3f7106d92ce", "48c05ad1b7f2")
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
