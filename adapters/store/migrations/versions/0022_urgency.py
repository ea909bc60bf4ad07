"""Adds `orders.urgency`, `needs_since` and `urgency_of`: the place of an order in the list of those that need a person.

Runs before the new code starts, and takes no time on a large table: housekeeping stores the urgency of the orders that
need a person already, some hundreds at a time. Processes of the previous version go on during and after it. They do not
write these columns. `urgency_of` shows that: it holds the version and the reasons that the urgency is of.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.add_column("orders", sa.Column("urgency", sa.SmallInteger(), nullable=True))
    op.add_column("orders", sa.Column("needs_since", adapters.store.schema.Instant(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("urgency_of", sa.Text(), server_default="", nullable=False))
