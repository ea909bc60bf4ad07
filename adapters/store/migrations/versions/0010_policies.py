"""Adds `policies`, the versions of each shop's policy, and `orders.planned_by`, the version by which an order was
planned last.

Runs before the new code starts. Processes of the previous version go on during and after it: they plan by their own
settings, and do not write the column. Their orders are planned again within six hours, and when a process starts.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("stored_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shop", "version", name=op.f("pk_policies")),
    )
    op.add_column("orders", sa.Column("planned_by", sa.Integer(), server_default="0", nullable=False))
