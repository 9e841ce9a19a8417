"""Specialists with an address are verified

Revision ID: 0d6f42a8e7c5
Revises: e35a7c90f1b2
Create Date: 2025-08-05 13:33:08.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "0d6f42a8e7c5"
down_revision = "e35a7c90f1b2"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("specialists", sa.Column("verified", sa.Boolean(), nullable=True))
    op.execute("update specialists set verified = (email is not null)")
    with op.batch_alter_table("specialists") as batch:
        batch.alter_column("verified", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    op.drop_column("specialists", "verified")
