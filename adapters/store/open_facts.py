"""The facts of every open order of a shop, in batches, for what each start of the service does."""

from typing import NamedTuple

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.transaction import Store


class StoredFacts(NamedTuple):
    """The facts of an order, as its row holds them."""

    key: int
    order_id: str
    facts: str


def open_facts(store: Store, shop: str, after: int, limit: int) -> list[StoredFacts]:
    """Return the facts of at most `limit` open orders of a shop whose keys are above `after`, by key.

    Orders in quarantine are left out.
    """
    c = s.orders.c
    mine = sa.select(c.id, c.order_id, c.facts).where(c.shop == shop, c.id > after, s.is_open(c))
    with store.reading() as connection:
        rows = connection.execute(mine.where(c.quarantine.is_(None)).order_by(c.id).limit(limit))
        return [StoredFacts(*row) for row in rows]
