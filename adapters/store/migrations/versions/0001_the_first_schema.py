"""The first schema."""

import sqlalchemy as sa
from alembic import op

import adapters.store.schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_table(
        "cursors",
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("watermark", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("wide_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("succeeded_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("shop", name=op.f("pk_cursors")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("record_key", sa.LargeBinary(), nullable=True),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("first_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("last_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letters")),
        sa.UniqueConstraint("source", "reason", "digest", name=op.f("uq_dead_letters_source_reason_digest")),
    )
    op.create_table(
        "log_records",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("record_key", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("published_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "offset", name=op.f("pk_log_records")),
    )
    op.create_table(
        "orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("shop", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("attention", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("read_after", adapters.store.schema.Instant(timezone=True), nullable=True),
        sa.Column("first_seen_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("entered_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("updated_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("order_id", "shop", name=op.f("uq_orders_order_id_shop")),
    )
    op.create_index(
        "ix_orders_attention",
        "orders",
        ["shop"],
        unique=False,
        sqlite_where=sa.text("attention != '[]'"),
        postgresql_where=sa.text("attention != '[]'"),
    )
    op.create_index(
        "ix_orders_read_after",
        "orders",
        ["shop", "read_after"],
        unique=False,
        sqlite_where=sa.text("read_after IS NOT NULL"),
        postgresql_where=sa.text("read_after IS NOT NULL"),
    )
    op.create_index("ix_orders_state", "orders", ["shop", "state", "entered_at"], unique=False)
    op.create_table(
        "progress",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("group_name", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("cluster", "topic", "partition", "group_name", name=op.f("pk_progress")),
    )
    op.create_table(
        "shops",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("shop_id", sa.BigInteger(), nullable=False),
        sa.Column("effects", sa.Boolean(), nullable=False),
        sa.Column("paused", sa.Text(), server_default="", nullable=False),
        sa.Column("first_seen_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_shops")),
        sa.UniqueConstraint("endpoint", "shop_id", name=op.f("uq_shops_endpoint_shop_id")),
    )
    op.create_table(
        "commands",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("carries", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("unwanted", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("basis", sa.Text(), nullable=False),
        sa.Column("opened_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("next_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("give_up_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", adapters.store.schema.Instant(timezone=True), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("maybe_sent", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("last_outcome", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("(state = 'leased') = (lease_token IS NOT NULL)", name=op.f("ck_commands_leased_has_token")),
        sa.CheckConstraint(
            "state IN ('open', 'leased', 'done', 'rejected', 'gave_up', 'obsolete')",
            name=op.f("ck_commands_state_is_known"),
        ),
        sa.ForeignKeyConstraint(["order_key"], ["orders.id"], name=op.f("fk_commands_order_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commands")),
        sa.UniqueConstraint(
            "order_key", "kind", "carries", "round", name=op.f("uq_commands_order_key_kind_carries_round")
        ),
    )
    op.create_index(
        "ix_commands_claim",
        "commands",
        ["next_at", "id"],
        unique=False,
        sqlite_where=sa.text("state IN ('open', 'leased')"),
        postgresql_where=sa.text("state IN ('open', 'leased')"),
    )
    op.create_index(
        "uq_commands_one_leased",
        "commands",
        ["order_key"],
        unique=True,
        sqlite_where=sa.text("state = 'leased'"),
        postgresql_where=sa.text("state = 'leased'"),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("recorded_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.Column("says", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("machine_version", sa.Integer(), nullable=False),
        sa.Column("repeats", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["order_key"], ["orders.id"], name=op.f("fk_journal_order_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_journal")),
        sa.UniqueConstraint("order_key", "version", name=op.f("uq_journal_order_key_version")),
        sa.UniqueConstraint("event_id", "source", name=op.f("uq_journal_event_id_source")),
    )
    op.create_table(
        "snapshots",
        sa.Column("order_key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", adapters.store.schema.Instant(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["order_key"], ["orders.id"], name=op.f("fk_snapshots_order_key")),
        sa.PrimaryKeyConstraint("order_key", "content", name=op.f("pk_snapshots")),
    )
