import sqlalchemy as sa
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class User(Base):
    __tablename__ = "users"

    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String(120), nullable=False)
    price = sa.Column(sa.Integer)


class Booking(Base):
    __tablename__ = "bookings"

    id = sa.Column(sa.Integer, primary_key=True)
    user_id = sa.Column(sa.ForeignKey("users.id", name="fk_bookings_user"), nullable=False)
    status = sa.Column(sa.Enum("pending", "confirmed", name="booking_status"), nullable=False)
