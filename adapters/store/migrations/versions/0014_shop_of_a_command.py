"""Adds `commands.shop`: with its kind, it is the lane of a command, a queue of its own (adapters/store/lanes.py).

Runs before the new code starts. Processes of the previous version go on during and after it: they do not write the
column. The workers of this version fill it in for commands that are open.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.add_column("commands", sa.Column("shop", sa.Text(), server_default="", nullable=False))
