"""Adds the index with which housekeeping and searches find the orders whose names are not stored.

Runs before the new code starts, and does not disturb the processes of the previous version. At first the index holds
every order of the store.
"""

from adapters.store.migrations.online import create_index

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    create_index("ix_orders_unnamed", "orders", ["id"], "named <> version")
