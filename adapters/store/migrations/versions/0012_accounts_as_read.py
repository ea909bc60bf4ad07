"""Adds `shops.account` and `shops.account_read_at`: the account at Mirakl as it was last read, without personal data.

Runs before the new code starts. Processes of the previous version go on during and after it; they do not read the
columns.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.add_column("shops", sa.Column("account", sa.Text(), nullable=True))
    op.add_column("shops", sa.Column("account_read_at", adapters.store.schema.Instant(timezone=True), nullable=True))
