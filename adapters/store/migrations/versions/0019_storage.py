"""Sets how PostgreSQL stores and cleans the tables that change all day.

Pages of rows that are updated keep some room, so that a new version of a row stays in its page and no index is written.
The defaults of autovacuum wait until a fifth of a table has changed: of a million orders, 200,000. Until then plans rest
on old statistics, and a claim or a look at the outbox reads dead rows.

Runs before the new code starts, and delays no reads or writes. Rows that are stored already stay where they
are. Nothing changes on SQLite.
"""

from collections.abc import Mapping
from typing import Final

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
oldest = "0008"

#: After so much of a table has changed, it is vacuumed, and its statistics are made again.
_LARGE: Final = "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02"
#: After so many rows, however large the table is.
_SMALL: Final = (
    "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, "
    "autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 500"
)
STORAGE: Final[Mapping[str, str]] = {
    "orders": f"fillfactor = 85, {_LARGE}",
    "commands": f"fillfactor = 85, {_LARGE}",
    "journal": f"{_LARGE}, autovacuum_vacuum_insert_scale_factor = 0.05",
    "snapshots": f"{_LARGE}, autovacuum_vacuum_insert_scale_factor = 0.05",
    "outbox": _SMALL,
    "budgets": f"fillfactor = 50, {_SMALL}",
    "cursors": f"fillfactor = 50, {_SMALL}",
    "leases": f"fillfactor = 50, {_SMALL}",
    "progress": f"fillfactor = 50, {_SMALL}",
    "shops": f"fillfactor = 50, {_SMALL}",
}


def upgrade() -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, options in STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({options})")
