"""What the bot stores: people, the clubs they train in, and what they booked."""
import enum

import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class UserRole(enum.Enum):
    client = "client"
    trainer = "trainer"
    admin = "admin"


class BookingStatus(enum.Enum):
    pending = "pending"
    confirmed = "confirmed"
    canceled = "canceled"
    done = "done"


class User(Base):
    __tablename__ = "users"

    id = sa.Column(sa.Integer, primary_key=True)
    telegram_id = sa.Column(sa.BigInteger, nullable=False)
    name = sa.Column(sa.String(120), nullable=False)
    role = sa.Column(sa.Enum(UserRole, name="user_role"), nullable=False, server_default="client")
    created_at = sa.Column(sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
    timezone = sa.Column(sa.String(50))
    price = sa.Column(sa.Integer)

    __table_args__ = (
        sa.Index("ix_users_telegram_id", "telegram_id", unique=True),
        sa.CheckConstraint("price >= 0", name="ck_users_price"),
    )


class Club(Base):
    __tablename__ = "clubs"

    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String(200), nullable=False)
    owner_id = sa.Column(sa.ForeignKey("users.id", name="fk_clubs_owner", ondelete="RESTRICT"),
                         nullable=False)
    max_trainers = sa.Column(sa.Integer, nullable=False, server_default="10")

    __table_args__ = (sa.UniqueConstraint("title", name="uq_clubs_title"),)


class Booking(Base):
    __tablename__ = "bookings"

    id = sa.Column(sa.Integer, primary_key=True)
    client_id = sa.Column(sa.ForeignKey("users.id", name="fk_bookings_client", ondelete="CASCADE"),
                          nullable=False)
    trainer_id = sa.Column(sa.ForeignKey("users.id", name="fk_bookings_trainer"), nullable=False)
    club_id = sa.Column(sa.ForeignKey("clubs.id", name="fk_bookings_club", ondelete="SET NULL"))
    starts_at = sa.Column(sa.DateTime(timezone=True), nullable=False)
    status = sa.Column(sa.Enum(BookingStatus, name="booking_status"), nullable=False,
                       server_default="pending")
    canceled_at = sa.Column(sa.DateTime(timezone=True))

    __table_args__ = (sa.Index("ix_bookings_trainer_starts", "trainer_id", "starts_at"),)
