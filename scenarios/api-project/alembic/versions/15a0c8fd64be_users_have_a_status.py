"""Users have a status

Revision ID: 15a0c8fd64be
Revises: d74b92e03f68
Create Date: 2024-03-04 11:18:23.000000
"""
from alembic import op
import sqlalchemy as sa

from migration_helpers import create_enum, drop_enum

revision = "15a0c8fd64be"
down_revision = "d74b92e03f68"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_enum("user_status", "active", "inactive", "suspended")
    op.add_column("users", sa.Column(
        "status",
        sa.Enum("active", "inactive", "suspended", name="user_status", create_type=False),
        nullable=False, server_default="active"))


def downgrade() -> None:
    op.drop_column("users", "status")
    drop_enum("user_status")
