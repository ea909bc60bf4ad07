"""Adds `orders.wake_at`: the next instant at which the plan of an order changes by time alone.

Runs before the new code starts. Processes of the previous version go on during and after it; they do not write the
column. Housekeeping plans every open order again when it takes its lease and every six hours after that, 500 orders in
one transaction, and so fills the column.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("orders", sa.Column("wake_at", adapters.store.schema.Instant(timezone=True), nullable=True))
    op.create_index(
        "ix_orders_wake_at",
        "orders",
        ["wake_at"],
        unique=False,
        sqlite_where=sa.text("wake_at IS NOT NULL"),
        postgresql_where=sa.text("wake_at IS NOT NULL"),
    )
