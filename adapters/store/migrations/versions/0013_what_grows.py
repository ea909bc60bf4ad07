"""Adds the indexes with which lists and counts read what they show, and not a whole table: the orders that changed last,
open dead letters, and the outbox by topic.

Runs before the new code starts, and does not disturb the processes of the previous version.
"""

from adapters.store.migrations.online import create_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    create_index("ix_orders_updated_at", "orders", ["updated_at", "id"])
    create_index("ix_dead_letters_open", "dead_letters", ["source", "reason"], "state = 'open'")
    create_index("ix_outbox_topic", "outbox", ["aggregatetype", "id"])
