"""Alembic's entry. The connection comes from store.migrate; there is no other way in."""

from alembic import context

from adapters.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
context.run_migrations()
