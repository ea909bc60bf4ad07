"""Adds the index in which each lane is one range: a claim reads no command of another lane.

Runs before the new code starts, and does not disturb the processes of the previous version.
"""

from adapters.store.migrations.online import create_index

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    create_index("ix_commands_lane", "commands", ["shop", "kind", "next_at", "id"], where="state IN ('open', 'leased')")
