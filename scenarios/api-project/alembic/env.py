import os

from alembic import context
from sqlalchemy import create_engine, pool

from app.models import Base

config = context.config
url = os.environ["DATABASE_URL"]
options = {
    "target_metadata": Base.metadata,
    "transaction_per_migration":
        config.get_main_option("transaction_per_migration", "no") == "yes",
}
lock_timeout = config.get_main_option("lock_timeout")

if context.is_offline_mode():
    context.configure(url=url, literal_binds=True, dialect_opts={"paramstyle": "named"}, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = create_engine(url, poolclass=pool.NullPool,
                           connect_args={"options": f"-c lock_timeout={lock_timeout}"})
    with engine.connect() as connection:
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
