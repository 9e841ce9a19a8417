"""Initial: what create_all() had made

Revision ID: 4c8fe1b7025d
Revises:
Create Date: 2025-06-01 08:00:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "4c8fe1b7025d"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "specialists",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("email", sa.String(200), nullable=True),
    )
    op.create_index("ix_specialists_email", "specialists", ["email"], unique=True)
    op.create_table(
        "services",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("specialist_id", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["specialist_id"], ["specialists.id"],
                                name="fk_services_specialist"),
    )
    op.create_table(
        "bookings",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("service_id", sa.Integer(), nullable=False),
        sa.Column("client_name", sa.String(100), nullable=False),
        sa.Column("client_phone", sa.String(30), nullable=True),
        sa.Column("starts_at", sa.DateTime(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default="open"),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name="fk_bookings_service"),
        sa.CheckConstraint("length(client_name) > 0", name="ck_bookings_client"),
    )
    op.create_index("ix_bookings_starts_at", "bookings", ["starts_at"])


def downgrade() -> None:
    op.drop_table("bookings")
    op.drop_table("services")
    op.drop_table("specialists")
