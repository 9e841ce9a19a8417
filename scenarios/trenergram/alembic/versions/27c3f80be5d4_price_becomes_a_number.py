"""Price becomes a number

belay: lossy a price without a digit said nothing

Revision ID: 27c3f80be5d4
Revises: e4a96b7f1d30
Create Date: 2025-10-19 08:55:02.118000
"""
from alembic import op
import sqlalchemy as sa

revision = "27c3f80be5d4"
down_revision = "e4a96b7f1d30"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("price_number", sa.Integer(), nullable=True))
    # "1 500" and "2000 rub" have been typed, too
    op.execute("""
        update users set price_number = nullif(regexp_replace(price, '\\D', '', 'g'), '')::integer
    """)
    op.drop_column("users", "price")
    op.alter_column("users", "price_number", new_column_name="price")
    op.create_check_constraint("ck_users_price", "users", "price >= 0")


def downgrade() -> None:
    op.drop_constraint("ck_users_price", "users", type_="check")
    op.add_column("users", sa.Column("price_text", sa.String(20), nullable=True))
    op.execute("update users set price_text = price::text")
    op.drop_column("users", "price")
    op.alter_column("users", "price_text", new_column_name="price")
