import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()

user_roles = sa.Table(
    "user_roles", Base.metadata,
    sa.Column("user_id", sa.ForeignKey("users.id", name="fk_user_roles_user", ondelete="CASCADE"),
              primary_key=True),
    sa.Column("role_id", sa.ForeignKey("roles.id", name="fk_user_roles_role"), primary_key=True),
)


class User(Base):
    __tablename__ = "users"

    id = sa.Column(sa.Integer, primary_key=True)
    email = sa.Column(sa.String(255), nullable=False)
    username = sa.Column(sa.String(50), nullable=False)
    hashed_password = sa.Column(sa.String(255), nullable=False)
    created_at = sa.Column(sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
    phone = sa.Column(sa.String(20))
    status = sa.Column(sa.Enum("active", "inactive", "suspended", name="user_status"),
                       nullable=False, server_default="active")
    full_name = sa.Column(sa.String(200))

    __table_args__ = (
        sa.UniqueConstraint("email", name="uq_users_email"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sa.CheckConstraint("email like '%@%'", name="ck_users_email"),
    )


class Role(Base):
    __tablename__ = "roles"

    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(50), nullable=False)

    __table_args__ = (sa.UniqueConstraint("name", name="uq_roles_name"),)


class Notification(Base):
    __tablename__ = "notifications"

    id = sa.Column(sa.BigInteger, primary_key=True)
    user_id = sa.Column(sa.ForeignKey("users.id", name="fk_notifications_user", ondelete="CASCADE"),
                        nullable=False)
    message = sa.Column(sa.Text, nullable=False)
    read_at = sa.Column(sa.DateTime(timezone=True))

    __table_args__ = (
        sa.Index("ix_notifications_unread", "user_id", postgresql_where=sa.text("read_at is null")),
    )
