"""Specialists, what they offer, and the bookings of their clients."""
from sqlalchemy import (Boolean, CheckConstraint, Column, DateTime, ForeignKey, Index, Integer,
                        Numeric, String, Text)
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class Specialist(Base):
    __tablename__ = "specialists"

    id = Column(Integer, primary_key=True)
    name = Column(String(100), nullable=False)
    email = Column(String(200))
    bio = Column(Text)
    verified = Column(Boolean, nullable=False)

    __table_args__ = (Index("ix_specialists_email", "email", unique=True),)


class Service(Base):
    __tablename__ = "services"

    id = Column(Integer, primary_key=True)
    specialist_id = Column(ForeignKey("specialists.id", name="fk_services_specialist"),
                           nullable=False)
    title = Column(String(200), nullable=False)
    minutes = Column(Integer, nullable=False)


class Booking(Base):
    __tablename__ = "bookings"

    id = Column(Integer, primary_key=True)
    service_id = Column(ForeignKey("services.id", name="fk_bookings_service"), nullable=False)
    client_name = Column(String(100), nullable=False)
    client_phone = Column(String(30), index=True)
    starts_at = Column(DateTime, nullable=False)
    state = Column(String(20), nullable=False, server_default="open")

    __table_args__ = (
        CheckConstraint("length(client_name) > 0", name="ck_bookings_client"),
        Index("ix_bookings_starts_at", "starts_at"),
    )


class Invoice(Base):
    __tablename__ = "invoices"

    id = Column(Integer, primary_key=True)
    booking_id = Column(ForeignKey("bookings.id", name="fk_invoices_booking"), nullable=False)
    amount = Column(Numeric(10, 2), nullable=False)
    paid = Column(Boolean, nullable=False, server_default="0")
