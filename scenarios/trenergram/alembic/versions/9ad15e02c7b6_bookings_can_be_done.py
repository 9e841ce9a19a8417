"""Bookings can be done, clubs are limited

Revision ID: 9ad15e02c7b6
Revises: 27c3f80be5d4
Create Date: 2025-11-03 19:31:44.902000
"""
from alembic import op
import sqlalchemy as sa

revision = "9ad15e02c7b6"
down_revision = "27c3f80be5d4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bookings", sa.Column("canceled_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("clubs", sa.Column("max_trainers", sa.Integer(), nullable=False,
                                     server_default="10"))
    op.execute("alter type booking_status add value 'done'")


def downgrade() -> None:
    # a value cannot be dropped from an enum: the type is made anew
    op.execute("update bookings set status = 'confirmed' where status = 'done'")
    op.execute("alter table bookings alter status drop default")
    op.execute("alter type booking_status rename to booking_status_with_done")
    op.execute("create type booking_status as enum ('pending', 'confirmed', 'canceled')")
    op.execute("alter table bookings alter status type booking_status"
               " using status::text::booking_status")
    op.execute("alter table bookings alter status set default 'pending'")
    op.execute("drop type booking_status_with_done")
    op.drop_column("clubs", "max_trainers")
    op.drop_column("bookings", "canceled_at")
