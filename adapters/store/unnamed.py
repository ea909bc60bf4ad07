"""Orders whose names are not stored, because older code wrote them last (names.py)."""

import zlib

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.orders import OrderRow, shown
from adapters.store.transaction import Store


def page(store: Store, after: int, limit: int) -> list[tuple[OrderRow, bytes | None]]:
    """Return at most `limit` orders whose names are not stored, with their newest bytes, behind the row key `after`.

    None: the bytes are not stored, or they cannot be read.
    """
    c, of_read = s.orders.c, s.snapshots.c
    newest = sa.and_(of_read.order_key == c.id, of_read.content == c.content)
    statement = sa.select(s.orders, of_read.body).join(s.snapshots, newest, isouter=True)
    statement = statement.where(c.named != c.version, c.id > after).order_by(c.id).limit(limit)
    with store.reading() as connection:
        return [(shown(row), _bytes_of(row.body)) for row in connection.execute(statement)]


def _bytes_of(compressed: bytes | None) -> bytes | None:
    try:
        return None if compressed is None else zlib.decompress(compressed)
    except zlib.error:  # the order gets the names that its facts hold
        return None
