"""Fix: user validation

Revision ID: 48c05ad1b7f2
Revises: 6ea83c5f10d9
Create Date: 2024-02-22 08:51:37.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "48c05ad1b7f2"
down_revision = "6ea83c5f10d9"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_check_constraint("ck_users_email", "users", "email like '%@%'")


def downgrade() -> None:
    op.drop_constraint("ck_users_email", "users", type_="check")
