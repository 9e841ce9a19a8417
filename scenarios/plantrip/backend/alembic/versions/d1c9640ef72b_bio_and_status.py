"""Bio and status

Revision ID: d1c9640ef72b
Revises: 8e20f7c1ab35
Create Date: 2025-03-20 07:44:10.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "d1c9640ef72b"
down_revision = "8e20f7c1ab35"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("bio", sa.String(), nullable=True))
    # the default fills the rows that are there; the application gives it from now on
    op.add_column("users", sa.Column("status", sa.String(20), nullable=False,
                                     server_default="active"))
    op.alter_column("users", "status", server_default=None)


def downgrade() -> None:
    op.drop_column("users", "status")
    op.drop_column("users", "bio")
