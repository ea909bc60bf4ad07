"""How far the poll of each shop has come."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from adapters.store import bulk, leases
from adapters.store import schema as s
from adapters.store.leases import Lease
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a shop's poll has come."""

    watermark: datetime  # by Mirakl's clock
    wide_at: datetime  # the last wide window, by our clock
    succeeded_at: datetime  # the last complete run, by our clock


def save(tx: Transaction, shop: str, cursor: Cursor, lease: Lease) -> None:
    """Write the cursor. Raises Fenced if the lease of the shop's poll was taken by another process or revoked."""
    leases.check(tx, lease)
    values = dict(watermark=cursor.watermark, wide_at=cursor.wide_at, succeeded_at=cursor.succeeded_at)
    insert = bulk.insert(tx, s.cursors).values(shop=shop, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=["shop"], set_=values))


def forget(tx: Transaction, shop: str) -> None:
    """Delete the cursor, so that the shop's next poll reads from the beginning."""
    tx.execute(sa.delete(s.cursors).where(s.cursors.c.shop == shop))


def find(store: Store, shop: str) -> Cursor | None:
    """Return the shop's cursor. None before the first complete run of its poll."""
    with store.reading() as connection:
        row = connection.execute(sa.select(s.cursors).where(s.cursors.c.shop == shop)).first()
    return Cursor(row.watermark, row.wide_at, row.succeeded_at) if row else None
