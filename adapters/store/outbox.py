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
    """Have these records published; those with the same key in this order."""
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
    """These are published."""
    tx.execute(sa.delete(s.outbox).where(bulk.among(tx, s.outbox.c.id, ids)))


def oldest(store: Store, limit: int, *, topic: str | None = None, without: Collection[str] = ()) -> list[OutboxRow]:
    """The oldest records to publish: of one topic, or of all topics `without` some.

    A transaction with a lower id may end later. Its records are found then: published records are deleted by id, and
    there is no position up to which the outbox was read.
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
