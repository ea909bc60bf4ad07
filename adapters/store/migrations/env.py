"""Alembic's entry point. engine.upgrade passes the connection; the `alembic` command line is not used."""

from alembic import context

from adapters.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
