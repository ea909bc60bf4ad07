"""Deletes orders that only the OMS knows (docs/rules.md 5)."""

from datetime import datetime

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction
from statemachine.states import State

#: The tables whose rows belong to an order.
_OF_ORDER = (s.commands, s.journal, s.snapshots)


def foreign(store: Store, shop: str, before: datetime, limit: int) -> list[int]:
    """Return the keys of at most `limit` orders of the shop that no read has shown, that need no person, and of which
    nothing was heard since `before`."""
    c = s.orders.c
    statement = sa.select(c.id).where(c.shop == shop, c.entered_at < before, _is_foreign(before))
    with store.reading() as connection:
        return list(connection.execute(statement.order_by(c.entered_at).limit(limit)).scalars())


def forget(tx: Transaction, keys: list[int], before: datetime) -> int:
    """Delete those of these orders that are still as `foreign` says, with all that is stored of them. Returns how many.

    The rows are locked, in the order of their keys, and checked again: an order that a read has shown meanwhile stays,
    and so does one that another transaction holds locked.
    """
    c = s.orders.c
    still = sa.select(c.id).where(c.id.in_(keys), _is_foreign(before)).order_by(c.id)
    locked = list(tx.execute(still.with_for_update(skip_locked=True)).scalars())
    if locked:
        for table in _OF_ORDER:
            tx.execute(sa.delete(table).where(table.c.order_key.in_(locked)))
        tx.execute(sa.delete(s.orders).where(c.id.in_(locked)))
    return len(locked)


def _is_foreign(before: datetime) -> sa.ColumnElement[bool]:
    c = s.orders.c
    seen_by_nobody = sa.and_(c.state == State.NEW, c.content == "", c.quarantine.is_(None))
    return sa.and_(seen_by_nobody, sa.not_(s.needs_attention(c)), c.updated_at < before)
