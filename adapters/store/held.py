"""Which orders another transaction holds locked."""

from collections.abc import Collection

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.transaction import Transaction


def held(tx: Transaction, orders: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these (shop, order id) that another transaction holds locked. Locks the others at once."""
    c, keys = s.orders.c, {} if tx.is_sqlite else order_rows.keys_of(tx, orders)  # SQLite has one write transaction
    mine = sa.select(c.id).where(bulk.among(c.id, is_sqlite=tx.is_sqlite)).order_by(c.id)
    free = set(tx.execute(mine.with_for_update(skip_locked=True), bulk.numbers(keys.values())).scalars())
    return {order for order, key in keys.items() if key not in free}
