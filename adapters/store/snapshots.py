"""Versions of an order that Mirakl showed, byte for byte. Personal data. retention.py removes some."""

import zlib
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction


def add(tx: Transaction, bodies: Mapping[tuple[int, str], bytes], now: datetime) -> None:
    """Store bytes by (order key, digest). If an order has a digest already, its bytes are not written again."""
    rows = [
        dict(order_key=key, content=digest, body=zlib.compress(body, 1), received_at=now)
        for (key, digest), body in bodies.items()
    ]
    bulk.insert_rows(tx, s.snapshots, rows, bulk.do_nothing)


def load(tx: Transaction, contents: Collection[tuple[int, str]]) -> dict[tuple[int, str], bytes]:
    """Return the bytes of orders, by order key and digest, inside the transaction that prepares their imports."""
    if not contents:
        return {}
    c = s.snapshots.c
    mine = bulk.in_pairs(c.order_key, c.content, is_sqlite=tx.is_sqlite)
    found = tx.execute(sa.select(s.snapshots).where(mine), bulk.pairs(tx, contents))
    return {(row.order_key, row.content): zlib.decompress(row.body) for row in found}


def find(store: Store, order_key: int, digest: str) -> bytes | None:
    """Return the bytes of an order with this digest, for a person."""
    with store.reading() as connection:
        return _body(connection.execute(_select(order_key, digest)).scalar())


def versions(store: Store, order_key: int) -> Iterator[bytes]:
    """Yield the bytes of each version of an order that is stored, the newest first."""
    c = s.snapshots.c
    statement = sa.select(c.body).where(c.order_key == order_key).order_by(c.received_at.desc())
    with store.reading() as connection:
        for body in connection.execute(statement).scalars():
            yield zlib.decompress(body)


def _select(order_key: int, digest: str) -> sa.Select[bytes]:
    c = s.snapshots.c
    return sa.select(c.body).where(c.order_key == order_key, c.content == digest)


def _body(compressed: bytes | None) -> bytes | None:
    return None if compressed is None else zlib.decompress(compressed)
