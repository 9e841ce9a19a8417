"""The one place that knows the database."""
import os

from sqlalchemy import create_engine
from sqlalchemy.orm import declarative_base

DATABASE_URL = os.environ.get("DATABASE_URL", "sqlite:///./app.db")

Base = declarative_base()


def make_engine(url=DATABASE_URL):
    return create_engine(url, future=True)
