"""Adds what the objectives and the deadlines of orders need: `orders.deadline_kind`, `deadline` and `counted`, and the
tables `objective_results` and `objective_totals`.

Runs before the new code starts. Processes of the previous version go on during and after it; they do not write the
columns. Orders that they plan get the columns when they are planned again.
"""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
oldest = "0008"


def upgrade() -> None:
    op.add_column("orders", sa.Column("deadline_kind", sa.Text(), nullable=True))
    op.add_column("orders", sa.Column("deadline", adapters.store.schema.Instant(timezone=True), nullable=True))
    op.add_column("orders", sa.Column("counted", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "objective_results",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objective_results")),
    )
    op.create_table(
        "objective_totals",
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("objective", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shop", "objective", "result", name=op.f("pk_objective_totals")),
    )
