"""Create bookings

Revision ID: 3ad07be91c54
Revises:
Create Date: 2025-06-01 08:00:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "3ad07be91c54"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("starts_at", sa.DateTime(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default="open"),
        sa.CheckConstraint("length(client_name) > 0"),
    )
    op.create_index("ix_bookings_newest", "bookings", [sa.text("starts_at DESC")])
    op.create_index("ix_bookings_client", "bookings", [sa.text("lower(client_name)")])


def downgrade() -> None:
    op.drop_table("bookings")
