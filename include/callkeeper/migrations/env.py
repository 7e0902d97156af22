"""Runs the migrations on a connection that callkeeper.db hands over."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    version_table="schema_version",
    version_table_schema="callkeeper",
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
