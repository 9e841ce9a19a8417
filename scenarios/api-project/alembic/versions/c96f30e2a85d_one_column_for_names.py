"""One column for names

Revision ID: c96f30e2a85d
Revises: 15a0c8fd64be
Create Date: 2024-03-18 13:27:49.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "c96f30e2a85d"
down_revision = "15a0c8fd64be"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("full_name", sa.String(200), nullable=True))
    op.execute("update users set full_name = concat_ws(' ', first_name, last_name)"
               " where first_name is not null or last_name is not null")
    op.drop_column("users", "first_name")
    op.drop_column("users", "last_name")


def downgrade() -> None:
    op.add_column("users", sa.Column("first_name", sa.String(100), nullable=True))
    op.add_column("users", sa.Column("last_name", sa.String(100), nullable=True))
    # the last word is taken for the last name
    op.execute("update users set first_name = nullif(regexp_replace(full_name, '\\s*\\S+$', ''), ''),"
               " last_name = substring(full_name from '\\S+$')")
    op.drop_column("users", "full_name")
