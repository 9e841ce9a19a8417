import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class User(Base):
    __tablename__ = "users"

    id = sa.Column(sa.Integer, primary_key=True)
    email = sa.Column(sa.String(255), nullable=False, unique=True)
    bio = sa.Column(sa.String)
    status = sa.Column(sa.String(20), nullable=False)
    full_name = sa.Column(sa.String(200), nullable=False)


class Trip(Base):
    __tablename__ = "trips"

    id = sa.Column(sa.Integer, primary_key=True)
    owner_id = sa.Column(sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False)
    destination = sa.Column(sa.String(200), nullable=False)
    starts_on = sa.Column(sa.Date, nullable=False)
    ends_on = sa.Column(sa.Date, nullable=False)

    __table_args__ = (sa.CheckConstraint("ends_on >= starts_on", name="ck_trips_dates"),)


class UserPreference(Base):
    __tablename__ = "user_preferences"

    user_id = sa.Column(sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    settings = sa.Column(sa.JSON, nullable=False, server_default="{}")
