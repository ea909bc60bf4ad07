"""Adds `shops.poll_began_at`: when the last poll of a shop began, also one that failed or whose process was killed.

Runs before the new code starts. Processes of the previous version go on during and after it; they do not write the
column.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shops", sa.Column("poll_began_at", adapters.store.schema.Instant(timezone=True), nullable=True))
