from alembic import context
from sqlalchemy import create_engine, pool

from calendar_app.database import Base

url = context.config.get_main_option("sqlalchemy.url")
# SQLite cannot alter most things: batch mode makes the table anew
options = {"target_metadata": Base.metadata, "render_as_batch": True}

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(url, poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
