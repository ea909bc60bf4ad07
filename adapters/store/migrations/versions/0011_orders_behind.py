"""Adds the index with which housekeeping finds open orders that were planned by an earlier policy.

Runs before the new code starts, and does not disturb the processes of the previous version.
"""

from adapters.store.migrations.online import create_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    create_index(
        "ix_orders_planned_by", "orders", ["shop", "planned_by"], "state NOT IN ('shipped', 'refused', 'canceled')"
    )
