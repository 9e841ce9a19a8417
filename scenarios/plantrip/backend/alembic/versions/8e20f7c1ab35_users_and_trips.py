"""Users and trips

Revision ID: 8e20f7c1ab35
Revises:
Create Date: 2025-03-03 20:15:00.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "8e20f7c1ab35"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("email", sa.String(255), nullable=False, unique=True),
        sa.Column("name", sa.String(200), nullable=False),
    )
    op.create_table(
        "trips",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("owner_id", sa.Integer(), sa.ForeignKey("users.id", ondelete="CASCADE"),
                  nullable=False),
        sa.Column("destination", sa.String(200), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.CheckConstraint("ends_on >= starts_on", name="ck_trips_dates"),
    )


def downgrade() -> None:
    op.drop_table("trips")
    op.drop_table("users")
