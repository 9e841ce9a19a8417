"""Every model, so that importing the package is enough for autogenerate."""
from app.models.note import Note
from app.models.user import User

__all__ = ["Note", "User"]
