import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class User(Base):
    __tablename__ = "users"

    id = sa.Column(sa.Integer, primary_key=True)
    email = sa.Column(sa.String(255), nullable=False, unique=True)
    full_name = sa.Column(sa.String(200))


class UserPreference(Base):
    __tablename__ = "user_preferences"

    user_id = sa.Column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    settings = sa.Column(sa.JSON, nullable=False, server_default="{}")
