"""Records to publish, written in the transaction that caused them, deleted once they are published."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from adapters.ports import NewRecord
from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.headers_json import headers_from_json, headers_to_json
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One record to publish, with the type of its event. It has no id before it is stored."""

    type: str
    record: NewRecord
    id: int = 0


def add(tx: Transaction, rows: Sequence[OutboxRow], now: datetime) -> None:
    """Store these records to be published. Records with the same key are published in this order."""
    values = [
        dict(
            aggregatetype=row.record.topic,
            aggregateid=row.record.key,
            type=row.type,
            payload=row.record.value,
            headers=headers_to_json(row.record.headers),
            created_at=now,
        )
        for row in rows
    ]
    bulk.insert_rows(tx, s.outbox, values)


def delete(tx: Transaction, ids: Collection[int]) -> None:
    """Delete these rows, because their records are published."""
    mine = bulk.among(s.outbox.c.id, is_sqlite=tx.is_sqlite)
    tx.execute(sa.delete(s.outbox).where(mine), bulk.numbers(ids))


def oldest(store: Store, limit: int, *, topic: str | None = None, without: Collection[str] = ()) -> list[OutboxRow]:
    """Return the oldest records to publish: of one topic, or of all topics except those in `without`.

    A row with a lower id may be committed after a row with a higher id. A later call finds such a row, because
    published rows are deleted by id, and the relay stores no position up to which it has read.
    """
    c = s.outbox.c
    statement = sa.select(s.outbox).order_by(c.id).limit(limit)
    if topic is not None:
        statement = statement.where(c.aggregatetype == topic)
    if without:
        statement = statement.where(c.aggregatetype.not_in(sorted(without)))
    with store.reading() as connection:
        return [
            OutboxRow(
                row.type,
                NewRecord(row.aggregatetype, row.aggregateid, row.payload, headers_from_json(row.headers)),
                row.id,
            )
            for row in connection.execute(statement)
        ]
