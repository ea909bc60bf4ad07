"""Alembic's entry point. migrating.py passes the connection; the `alembic` command line is not used.

On PostgreSQL each revision is a transaction of its own. On SQLite the caller's transaction is used for all.
"""

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from alembic.script import Script

from adapters.store import indexes  # noqa: F401 - of the tables
from adapters.store.schema import metadata, schema_versions


def _note_oldest(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:  # noqa: ARG001
    """Store which code is the oldest that may run on the revision that was just applied."""
    oldest = getattr(step.up_revision.module, "oldest", None) if isinstance(step.up_revision, Script) else None
    if oldest is not None and ctx.connection is not None:
        ctx.connection.execute(sa.insert(schema_versions).values(revision=step.up_revision_id, oldest=oldest))


connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=metadata, transaction_per_migration=True, on_version_apply=_note_oldest
)
context.run_migrations()
