"""Roles and the first admin

Revision ID: 6ea83c5f10d9
Revises: 2bd9014e7fa6
Create Date: 2024-01-15 10:30:45.000000
"""
from alembic import op
import sqlalchemy as sa

revision = "6ea83c5f10d9"
down_revision = "2bd9014e7fa6"
branch_labels = None
depends_on = None


def upgrade() -> None:
    roles = op.create_table(
        "roles",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(50), nullable=False),
        sa.UniqueConstraint("name", name="uq_roles_name"),
    )
    op.create_table(
        "user_roles",
        sa.Column("user_id", sa.Integer(), primary_key=True),
        sa.Column("role_id", sa.Integer(), primary_key=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_roles_user",
                                ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["role_id"], ["roles.id"], name="fk_user_roles_role"),
    )
    op.bulk_insert(roles, [{"name": "admin"}, {"name": "user"}])
    op.execute("insert into users (email, username, hashed_password)"
               " values ('admin@example.com', 'admin', '!')")
    op.execute("insert into user_roles (user_id, role_id)"
               " select u.id, r.id from users u, roles r"
               " where u.username = 'admin' and r.name = 'admin'")


def downgrade() -> None:
    op.drop_table("user_roles")
    op.drop_table("roles")
    op.execute("delete from users where username = 'admin'")
