"""Create clubs

Revision ID: 0f47d2c6938b
Revises: b81e5530aa19
Create Date: 2025-09-20 09:02:33.871000
"""
from alembic import op
import sqlalchemy as sa

revision = "0f47d2c6938b"
down_revision = "b81e5530aa19"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clubs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_clubs_owner",
                                ondelete="RESTRICT"),
        sa.UniqueConstraint("title", name="uq_clubs_title"),
    )


def downgrade() -> None:
    op.drop_table("clubs")
