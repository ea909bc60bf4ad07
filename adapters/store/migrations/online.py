"""What a revision needs in order to change a table while processes use it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op


def create_index(name: str, table: str, columns: Sequence[str | sa.TextClause], where: str | None = None) -> None:
    """Create an index. On PostgreSQL others write the table meanwhile (CONCURRENTLY).

    The revision must do nothing else: an index is built outside of a transaction. An index that an interrupted build
    left unusable is dropped first, so that the revision may run again.
    """
    if op.get_context().dialect.name != "postgresql":
        op.create_index(name, table, columns, sqlite_where=_text(where))
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # the build waits for transactions, and nothing waits for the build
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.create_index(name, table, columns, postgresql_where=_text(where), postgresql_concurrently=True)


def drop_index(name: str, table: str) -> None:
    """Drop an index. On PostgreSQL others read and write the table meanwhile (CONCURRENTLY). The revision must do
    nothing else."""
    if op.get_context().dialect.name != "postgresql":
        op.drop_index(name, table)
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # it waits for transactions, and nothing waits for it
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _text(where: str | None) -> sa.TextClause | None:
    return None if where is None else sa.text(where)
