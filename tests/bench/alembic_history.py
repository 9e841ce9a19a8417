"""The Alembic project that ci/bench measures on: one file a revision, one change a revision."""

import os

ENV = '''\
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config


def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


given = config.attributes.get("connection")
if given is None:
    given = engine_from_config(config.get_section(config.config_ini_section),
                               prefix="sqlalchemy.", poolclass=pool.NullPool)
with given.connect() as connection:
    run(connection)
'''

# What a revision does to its table, in turn: (upgrade, downgrade). Batch mode where SQLite needs it.
CHANGES = (
    ('''\
    op.create_table(
        "{table}",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent_id", sa.Integer{parent}),
        sa.Column("name", sa.String(80), nullable=False, server_default="none"),
        sa.Column("amount", sa.Integer, nullable=False),
    )
    op.create_index("{table}_parent_idx", "{table}", ["parent_id"])''',
     '''\
    op.drop_table("{table}")'''),
    ('''\
    op.add_column("{table}", sa.Column("note", sa.Text))
    op.create_index("{table}_name_idx", "{table}", ["name", "amount"])''',
     '''\
    op.drop_index("{table}_name_idx", "{table}")
    with op.batch_alter_table("{table}") as batch:
        batch.drop_column("note")'''),
    ('''\
    with op.batch_alter_table("{table}") as batch:
        batch.alter_column("amount", existing_type=sa.Integer, type_=sa.BigInteger,
                           existing_nullable=False)''',
     '''\
    with op.batch_alter_table("{table}") as batch:
        batch.alter_column("amount", existing_type=sa.BigInteger, type_=sa.Integer,
                           existing_nullable=False)'''),
    ('''\
    with op.batch_alter_table("{table}") as batch:
        batch.create_unique_constraint("{table}_name_key", ["name", "parent_id"])''',
     '''\
    with op.batch_alter_table("{table}") as batch:
        batch.drop_constraint("{table}_name_key", type_="unique")'''),
    ('''\
    where = sa.text("amount > 0")
    op.create_index("{table}_note_key", "{table}", ["note"], unique=True,
                    postgresql_where=where, sqlite_where=where)''',
     '''\
    op.drop_index("{table}_note_key", "{table}")'''),
)


def revision_id(i):
    return f"r{i:05}"


def write_alembic(folder, revisions):
    os.makedirs(f"{folder}/migrations/versions")
    with open(f"{folder}/alembic.ini", "w", encoding="utf-8") as f:
        f.write("[alembic]\nscript_location = migrations\n")
    with open(f"{folder}/migrations/env.py", "w", encoding="utf-8") as f:
        f.write(ENV)
    for i in range(revisions):
        k = i // len(CHANGES)
        # a tree, not a chain: batch mode reads every table that can be reached by foreign keys
        parent = (f', sa.ForeignKey("item_{(k - 1) // 8:04}.id", name="item_{k:04}_parent_fkey", '
                  'ondelete="CASCADE")' if k else "")
        up, down = (text.format(table=f"item_{k:04}", parent=parent)
                    for text in CHANGES[i % len(CHANGES)])
        before = repr(revision_id(i - 1)) if i else None
        with open(f"{folder}/migrations/versions/{revision_id(i)}.py", "w", encoding="utf-8") as f:
            f.write(f'"""step {i}"""\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
                    f'revision = "{revision_id(i)}"\ndown_revision = {before}\n\n\n'
                    f"def upgrade():\n{up}\n\n\ndef downgrade():\n{down}\n")
