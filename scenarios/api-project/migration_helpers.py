"""What the revisions of this project share."""
from alembic import op


def create_enum(name, *values):
    op.execute(f"create type {name} as enum ({', '.join(repr(v) for v in values)})")


def drop_enum(name):
    op.execute(f"drop type {name}")
