"""Find bookings by phone

Revision ID: 72e1bb04d9f6
Revises: a90d36c2f418
Create Date: 2025-06-30 15:02:13.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "72e1bb04d9f6"
down_revision = "a90d36c2f418"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_bookings_client_phone"), "bookings", ["client_phone"])


def downgrade() -> None:
    op.drop_index(op.f("ix_bookings_client_phone"), table_name="bookings")
