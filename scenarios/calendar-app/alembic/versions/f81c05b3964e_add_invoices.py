"""Add invoices

Revision ID: f81c05b3964e
Revises: 0d6f42a8e7c5
Create Date: 2025-09-14 18:11:55.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "f81c05b3964e"
down_revision = "0d6f42a8e7c5"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("booking_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Numeric(10, 2), nullable=False),
        sa.Column("paid", sa.Boolean(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["booking_id"], ["bookings.id"], name="fk_invoices_booking"),
    )


def downgrade() -> None:
    op.drop_table("invoices")
