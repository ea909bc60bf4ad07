"""Adds the index with which the metrics find the nearest deadline of a shop, and the orders that are past theirs.

Runs before the new code starts, and does not disturb the processes of the previous version.
"""

from adapters.store.migrations.online import create_index

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    create_index("ix_orders_deadline", "orders", ["shop", "deadline_kind", "deadline"], "deadline IS NOT NULL")
