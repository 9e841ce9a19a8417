"""Add specialist bio

Revision ID: a90d36c2f418
Revises: 4c8fe1b7025d
Create Date: 2025-06-12 11:20:41.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "a90d36c2f418"
down_revision = "4c8fe1b7025d"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("specialists", sa.Column("bio", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("specialists", "bio")
