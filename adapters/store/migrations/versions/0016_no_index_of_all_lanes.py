"""Drops the index of all live commands, which the lanes replace.

With old statistics PostgreSQL took it for a claim, and read all calls of all resting lanes. Processes of the previous
version go on without it: their claims read the index of the lanes instead, which takes longer if many calls wait.
"""

from adapters.store.migrations.online import drop_index

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    drop_index("ix_commands_claim", "commands")
