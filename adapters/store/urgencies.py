"""Orders that need a person and whose urgency is not stored, because older code wrote them last.

`orders.urgency_of` tells which these are: it holds the version and the reasons of which the urgency was stored. The
list reads all such orders, until housekeeping has stored their urgency (consumer/housekeeping/urgencies.py).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import orders as order_rows
from adapters.store import schema as s
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store, Transaction
from statemachine.urgency import Urgency


@dataclass(frozen=True, slots=True)
class InNeed:
    """An order that needs a person, and the version and the reasons that were read, as `urgency_of` has them."""

    row: OrderRow
    reasons: str


def keys(store: Store, *, also_stored: bool) -> list[int]:
    """The row keys of the orders that need a person and whose urgency is not stored; `also_stored`: of all in need."""
    c = s.orders.c
    found = sa.select(c.id).where(s.needs_attention(c) if also_stored else s.lacks_urgency(c))
    with store.reading(by_index=True) as connection:
        return sorted(connection.execute(found).scalars())


def read(store: Store, some: Collection[int]) -> list[InNeed]:
    """Return those of these orders that need a person, without those that this version cannot read."""
    c = s.orders.c
    reasons = s.reasons_now(c).label("reasons")
    statement = sa.select(s.orders, reasons).where(c.id.in_(some), s.needs_attention(c)).order_by(c.id)
    with store.reading() as connection:
        rows = [(order_rows.shown(row), row) for row in connection.execute(statement)]
    return [InNeed(order, row.reasons) for order, row in rows if order.quarantine == row.quarantine]


def store_urgency(tx: Transaction, found: Sequence[tuple[InNeed, Urgency]]) -> int:
    """Store the urgency of orders. Returns of how many: an order that was written meanwhile, or that another
    transaction holds locked, is left for later."""
    free = order_rows.lock_only(tx, [one.row.key for one, _ in found], skip_locked=True)
    values = [
        dict(
            id=one.row.key,
            urgency=urgency.rank,
            needs_since=min(each.since for each in one.row.attention),
            urgency_of=one.reasons,
        )
        for one, urgency in found
        if one.row.key in free
    ]
    return bulk.update_rows(tx, _STORE, values)


_STORED: Final = {name: s.orders.c[name] for name in ("urgency", "needs_since", "urgency_of")}


def _store(value: Any) -> sa.Update:
    c = s.orders.c
    as_read = (c.id == value["id"], s.reasons_now(c) == value["urgency_of"])
    return sa.update(s.orders).where(*as_read).values({name: value[name] for name in _STORED})


_STORE: Final = bulk.Update({"id": s.orders.c.id, **_STORED}, _store)
