"""Adds what stops alone: records of a partition that cannot be read from the log (`progress.unreadable_from`,
`unreadable_until`), and orders that cannot be read or planned (`orders.quarantine`).

Runs before the new code starts. Processes of the previous version go on during and after it; they do not write the
columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("progress", sa.Column("unreadable_from", sa.BigInteger(), nullable=True))
    op.add_column("progress", sa.Column("unreadable_until", sa.BigInteger(), nullable=True))
    op.add_column("orders", sa.Column("quarantine", sa.Text(), nullable=True))
