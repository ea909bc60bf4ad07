r"""Adds `names`, what people call each order, and `orders.named`, the version of an order whose names are stored.

Runs before the new code starts, and takes no time on a large table: housekeeping stores the names of the orders that
are there already, some hundreds at a time. Processes of the previous version go on during and after it. They do not
store names, so an order that they write waits for housekeeping again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
oldest = "0008"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("orders", sa.Column("named", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "names",
        sa.Column("order_key", _ID, autoincrement=False, nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["order_key"], ["orders.id"], name=op.f("fk_names_order_key"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("order_key", name=op.f("pk_names")),
    )
    if op.get_context().dialect.name == "postgresql":
        op.execute(r"CREATE INDEX ix_names_words ON names USING gin (array_to_tsvector(string_to_array(names, E'\n')))")
