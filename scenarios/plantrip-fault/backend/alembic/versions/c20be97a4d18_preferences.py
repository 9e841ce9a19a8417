"""Preferences

Revision ID: c20be97a4d18
Revises: 5f83a0d2e4c6
Create Date: 2025-05-08 09:12:26.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "c20be97a4d18"
down_revision = "5f83a0d2e4c6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # fault: asyncpg takes one statement at a time
    op.execute("""
        create table user_preferences (
            user_id integer primary key references users (id) on delete cascade,
            settings json not null default '{}'
        );
        create index ix_user_preferences on user_preferences ((settings ->> 'language'));
    """)


def downgrade() -> None:
    op.drop_table("user_preferences")
