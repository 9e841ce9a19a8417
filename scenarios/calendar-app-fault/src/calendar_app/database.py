from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, String, desc, func
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class Booking(Base):
    __tablename__ = "bookings"

    id = Column(Integer, primary_key=True)
    client_name = Column(String(100), nullable=False)
    starts_at = Column(DateTime, nullable=False)
    state = Column(String(20), nullable=False, server_default="open")

    __table_args__ = (
        CheckConstraint("length(client_name) > 0"),
        Index("ix_bookings_newest", desc("starts_at")),
        Index("ix_bookings_client", func.lower(client_name)),
    )
