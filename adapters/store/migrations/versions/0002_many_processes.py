"""Adds what many processes need: leases, budgets, the outbox, and the topic's id in each row of progress.

Runs before the new code starts. It only adds, so processes of the previous version go on during and after it.
"""

from typing import Literal

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "budgets",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("span", sa.Text(), nullable=False),
        sa.Column("ends_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account", "span", name=op.f("pk_budgets")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("aggregatetype", sa.Text(), nullable=False),
        sa.Column("aggregateid", sa.LargeBinary(), nullable=True),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("created_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    # SQLite cannot add a constraint to a table, so the table is recreated there. SQLite serves one process, so no other
    # process is disturbed.
    recreate: Literal["always", "never"] = "always" if op.get_context().dialect.name == "sqlite" else "never"
    with op.batch_alter_table("progress", recreate=recreate) as progress:
        progress.add_column(sa.Column("log_id", sa.Text(), server_default="", nullable=False))
        progress.add_column(sa.Column("excused_commit", sa.BigInteger(), server_default="0", nullable=False))
    with op.batch_alter_table("dead_letters", recreate=recreate) as dead_letters:
        dead_letters.create_check_constraint(
            op.f("ck_dead_letters_state_is_known"), "state IN ('open', 'replayed', 'discarded')"
        )
