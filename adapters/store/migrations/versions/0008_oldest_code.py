"""Adds `schema_versions`: which code is the oldest that may run on each revision (adapters/store/migrating.py).

Runs before the new code starts. Processes of the previous version go on during and after it; their `/ready` answers 503.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.create_table(
        "schema_versions",
        sa.Column("revision", sa.Text(), nullable=False),
        sa.Column("oldest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_versions")),
    )
