"""Adds `shops.attempted_before`: after a restore, an order that was created before counts as one whose import was
attempted (docs/rules.md 28).

Runs before the new code starts. Processes of the previous version go on during and after it; they do not read the
column.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.add_column("shops", sa.Column("attempted_before", adapters.store.schema.Instant(timezone=True), nullable=True))
