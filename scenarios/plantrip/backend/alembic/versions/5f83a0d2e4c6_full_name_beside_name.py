"""Full name beside name

Revision ID: 5f83a0d2e4c6
Revises: d1c9640ef72b
Create Date: 2025-04-02 18:30:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "5f83a0d2e4c6"
down_revision = "d1c9640ef72b"
branch_labels = None
depends_on = None


# Phase 1 of a rename: the old code still writes name, and the new code full_name.


def upgrade() -> None:
    op.add_column("users", sa.Column("full_name", sa.String(200), nullable=True))
    op.execute("update users set full_name = name")
    op.alter_column("users", "name", nullable=True)


def downgrade() -> None:
    op.execute("update users set name = full_name where name is null")
    op.alter_column("users", "name", nullable=False)
    op.drop_column("users", "full_name")
