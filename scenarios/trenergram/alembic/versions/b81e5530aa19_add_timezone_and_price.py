"""Add time zone and price to users

Revision ID: b81e5530aa19
Revises: 6d02c9b14e7f
Create Date: 2025-09-11 17:40:51.003000
"""
from alembic import op
import sqlalchemy as sa

revision = "b81e5530aa19"
down_revision = "6d02c9b14e7f"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("timezone", sa.String(50), nullable=True))
    # as trainers typed it into the bot
    op.add_column("users", sa.Column("price", sa.String(20), nullable=True))


def downgrade() -> None:
    op.drop_column("users", "price")
    op.drop_column("users", "timezone")
