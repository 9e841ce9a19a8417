"""Rename booking status to state

Revision ID: e35a7c90f1b2
Revises: 72e1bb04d9f6
Create Date: 2025-07-21 09:47:30.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "e35a7c90f1b2"
down_revision = "72e1bb04d9f6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # autogenerate saw a column dropped and another added
    with op.batch_alter_table("bookings") as batch:
        batch.alter_column("status", new_column_name="state")


def downgrade() -> None:
    with op.batch_alter_table("bookings") as batch:
        batch.alter_column("state", new_column_name="status")
