"""Orders that cannot be read or planned are taken out of every loop (docs/rules.md 36)."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from adapters.store import bulk, commands
from adapters.store import schema as s
from adapters.store.attention_json import columns_of
from adapters.store.transaction import Transaction
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason


def quarantine(tx: Transaction, orders: Mapping[tuple[str, str], str], now: datetime) -> list[tuple[str, str]]:
    """Take these orders out of every loop: nothing of them is claimed, woken or read by id until orders.py writes them.

    `orders`: the kind of the error, by shop and order id. The facts stay as they are. Returns those that were not
    quarantined before.
    """
    c, done = s.orders.c, []
    mine = bulk.in_pairs(c.order_id, c.shop, is_sqlite=tx.is_sqlite)
    locked = sa.select(c.id, c.shop, c.order_id, c.version, c.quarantine).where(mine).order_by(c.id).with_for_update()
    for row in tx.execute(locked, bulk.pairs(tx, {(order_id, shop) for shop, order_id in orders})).all():
        commands.put_off(tx, row.id)
        if row.quarantine is None:
            kind = orders[row.shop, row.order_id]
            reason = StandingAttention(Reason.QUARANTINED, kind, since=now)
            values = columns_of(row.version, [reason], reason.about.urgency)
            values |= dict(quarantine=kind, wake_at=None, read_after=None)
            tx.execute(sa.update(s.orders).where(c.id == row.id).values(**values))
            done.append((row.shop, row.order_id))
    return done
