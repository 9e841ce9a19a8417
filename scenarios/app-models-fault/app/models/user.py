from datetime import datetime

from sqlalchemy import Boolean, Column, DateTime, Integer, String, true

from app.core.database import Base


class User(Base):
    __tablename__ = "users"

    id = Column(Integer, primary_key=True)
    email = Column(String, unique=True, index=True)
    name = Column(String)
    created_at = Column(DateTime, default=datetime.utcnow)
    is_active = Column(Boolean, nullable=False, server_default=true())
    # fault: no revision adds it
    phone = Column(String(20))
