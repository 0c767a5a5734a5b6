"""How Alembic runs the migrations: in the transaction that `crossmod.reader.database` has begun."""

from alembic import context
from sqlmodel import SQLModel

# `ALTER TABLE` of SQLite knows little: a table is copied.
context.configure(
    connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
