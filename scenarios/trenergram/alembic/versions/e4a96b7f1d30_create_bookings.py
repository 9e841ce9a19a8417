"""Create bookings

Revision ID: e4a96b7f1d30
Revises: 0f47d2c6938b
Create Date: 2025-10-01 12:25:19.450000
"""
from alembic import op
import sqlalchemy as sa

revision = "e4a96b7f1d30"
down_revision = "0f47d2c6938b"
branch_labels = None
depends_on = None


status = sa.Enum("pending", "confirmed", "canceled", name="booking_status")


def upgrade() -> None:
    op.create_table(
        "bookings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("client_id", sa.Integer(), nullable=False),
        sa.Column("trainer_id", sa.Integer(), nullable=False),
        sa.Column("club_id", sa.Integer(), nullable=True),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", status, nullable=False, server_default="pending"),
        sa.ForeignKeyConstraint(["client_id"], ["users.id"], name="fk_bookings_client",
                                ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["trainer_id"], ["users.id"], name="fk_bookings_trainer"),
        sa.ForeignKeyConstraint(["club_id"], ["clubs.id"], name="fk_bookings_club",
                                ondelete="SET NULL"),
    )
    op.create_index("ix_bookings_trainer_starts", "bookings", ["trainer_id", "starts_at"])


def downgrade() -> None:
    op.drop_index("ix_bookings_trainer_starts", table_name="bookings")
    op.drop_table("bookings")
    status.drop(op.get_bind())
