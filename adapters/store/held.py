"""Which orders and commands another transaction holds locked. To ask waits for no lock.

On SQLite none is ever held: it has one write transaction at a time.
"""

from collections.abc import Collection

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.transaction import Transaction


def held(tx: Transaction, orders: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return those of these (shop, order id) that another transaction holds locked. Locks the others at once."""
    keys = {} if tx.is_sqlite or not orders else order_rows.keys_of(tx, orders)
    free = _locked_now(tx, s.orders, keys.values())
    return {order for order, key in keys.items() if key not in free}


def held_commands(tx: Transaction, ids: Collection[int]) -> set[int]:
    """Return those of these commands that another transaction holds locked. Locks the others at once."""
    missing = set() if tx.is_sqlite else {*ids} - _locked_now(tx, s.commands, ids)
    if not missing:
        return set()
    mine = sa.select(s.commands.c.id).where(bulk.among(s.commands.c.id, is_sqlite=tx.is_sqlite))
    return set(tx.execute(mine, bulk.numbers(missing)).scalars())  # the rest was deleted with its order


def _locked_now(tx: Transaction, table: sa.Table, keys: Collection[int]) -> set[int]:
    if not keys:
        return set()
    mine = sa.select(table.c.id).where(bulk.among(table.c.id, is_sqlite=tx.is_sqlite)).order_by(table.c.id)
    return set(tx.execute(mine.with_for_update(skip_locked=True), bulk.numbers(keys)).scalars())
