"""One row for each event that was applied to an order. The order's version numbers its rows."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk, texts
from adapters.store import schema as s
from adapters.store.facts_json import facts_from_json, facts_to_json
from adapters.store.transaction import Store, Transaction
from statemachine.events import Event, Sealed, Trigger
from statemachine.machine import EventResult
from statemachine.states import State


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One event and what it did. A row from the store has the event without the bytes and the digest of a snapshot."""

    order_key: int
    version: int  # of the order, after this event
    event: Event
    result: EventResult
    before: State
    after: State
    machine_version: int
    recorded_at: datetime
    repeats: int = 0  # how often the same event came again

    @property
    def moved(self) -> bool:
        """Whether the event changed the order's state."""
        return self.before != self.after


# -- Writes ------------------------------------------------------------------------------------------------------


def skip_ids(tx: Transaction, count: int) -> None:
    """Let the ids of coming rows begin `count` above the next one. Ids that a store has lost are then not used again.

    Nothing on SQLite: there the log that holds the published ids is in the same file.
    """
    if not tx.is_sqlite:
        sequence = sa.func.pg_get_serial_sequence(s.journal.name, s.journal.c.id.name)
        tx.execute(sa.select(sa.func.setval(sequence, sa.func.nextval(sequence) + count)))


def known(tx: Transaction, events: Sequence[Event]) -> dict[tuple[str, str], int]:
    """Return the order's key, by source and event id, of the events that the journal holds already."""
    wanted = bulk.pairs(tx, {(event.event_id, event.source) for event in events})
    rows = texts.read(tx, _known(is_sqlite=tx.is_sqlite), wanted)
    return {(source, event_id): order_key for source, event_id, order_key in rows}


def known_orders(tx: Transaction, events: Sequence[Sealed]) -> dict[tuple[str, str], tuple[str, str]]:
    """Return shop and id of the order, by source and event id, of the events that the journal holds already."""
    wanted = bulk.pairs(tx, {(event.event_id, event.source) for event in events})
    rows = texts.read(tx, _known_orders(is_sqlite=tx.is_sqlite), wanted)
    return {(source, event_id): (shop, order_id) for source, event_id, shop, order_id in rows}


@cache
def _known_orders(*, is_sqlite: bool) -> sa.Select[Any]:
    c, o = s.journal.c, s.orders.c
    wanted = bulk.in_pairs(c.event_id, c.source, is_sqlite=is_sqlite)
    return sa.select(c.source, c.event_id, o.shop, o.order_id).join(s.orders, o.id == c.order_key).where(wanted)


@cache
def _known(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.journal.c
    wanted = bulk.in_pairs(c.event_id, c.source, is_sqlite=is_sqlite)
    return sa.select(c.source, c.event_id, c.order_key).where(wanted)


def count_repeats(tx: Transaction, events: Sequence[Event | Sealed]) -> None:
    """Count each repeat on the row of the first event with its source and id (docs/rules.md 10)."""
    times = Counter((event.source, event.event_id) for event in events)
    rows = [dict(source=source, event_id=event_id, times=count) for (source, event_id), count in times.items()]
    bulk.update_rows(tx, _COUNT_REPEATS, rows)


def _count_repeats(value: Any) -> sa.Update:
    c = s.journal.c
    first = (c.source == value["source"], c.event_id == value["event_id"])
    return sa.update(s.journal).where(*first).values(repeats=c.repeats + value["times"])


_COUNT_REPEATS: Final = bulk.Update(
    {"source": s.journal.c.source, "event_id": s.journal.c.event_id, "times": s.journal.c.repeats},
    _count_repeats,
)


def add(tx: Transaction, rows: Sequence[JournalRow]) -> None:
    """Write these rows. Raises IntegrityError if the journal holds an event, or a version of an order, already."""
    values = [
        dict(
            order_key=row.order_key,
            version=row.version,
            source=row.event.source,
            event_id=row.event.event_id,
            trigger=row.event.trigger,
            at=row.event.at,
            recorded_at=row.recorded_at,
            says=facts_to_json(row.event.new_facts),
            note=json.dumps(row.event.note),
            result=row.result,
            before=row.before,
            after=row.after,
            machine_version=row.machine_version,
        )
        for row in rows
    ]
    bulk.insert_rows(tx, s.journal, values)


def ids(tx: Transaction, rows: Sequence[JournalRow]) -> dict[tuple[int, int], int]:
    """Return the id of each row, by order key and version.

    The later one of two rows of an order has the higher id, because the order is locked while a row is inserted.
    """
    if not rows:
        return {}
    mine = bulk.pairs(tx, {(row.order_key, row.version) for row in rows})
    found = texts.read(tx, _ids(is_sqlite=tx.is_sqlite), mine)
    return {(order_key, version): id_ for order_key, version, id_ in found}


@cache
def _ids(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.journal.c
    mine = bulk.in_pairs(c.order_key, c.version, is_sqlite=is_sqlite)
    return sa.select(c.order_key, c.version, c.id).where(mine)


# -- Reads -------------------------------------------------------------------------------------------------------


def of_order(store: Store, order_key: int) -> list[JournalRow]:
    """Return every row of one order, by version: in the sequence in which its events were applied."""
    return of_orders(store, [order_key])[order_key]


def of_orders(store: Store, order_keys: Collection[int]) -> dict[int, list[JournalRow]]:
    """Return every row of these orders, by order key, each order's by version."""
    c = s.journal.c
    statement = (
        sa.select(s.journal, s.orders.c.shop, s.orders.c.order_id)
        .join(s.orders, s.orders.c.id == c.order_key)
        .where(c.order_key.in_(order_keys))
        .order_by(c.order_key, c.version)
    )
    found: dict[int, list[JournalRow]] = {key: [] for key in order_keys}
    with store.reading() as connection:
        for row in connection.execute(statement):
            found[row.order_key].append(_row_of(row))
    return found


def last_id(tx: Transaction) -> int:
    """Return the id of the newest row; 0 if there is none."""
    return int(tx.execute(sa.select(sa.func.coalesce(sa.func.max(s.journal.c.id), 0))).scalar_one())


def id_before(store: Store, after: int, recorded_until: datetime) -> int:
    """Return the highest id of the rows after row `after` that were recorded until this instant.

    If there is no such row, returns `after`.
    """
    c = s.journal.c
    highest = sa.func.coalesce(sa.func.max(c.id), after)
    with store.reading() as connection:
        found = connection.execute(sa.select(highest).where(c.id > after, c.recorded_at <= recorded_until))
        return int(found.scalar_one())


def id_at(store: Store, instant: datetime) -> int:
    """Return an id below which every row was recorded before this instant. It is found by halving, without an index.

    Processes may record rows in another order than that of their ids, so the id is that of a minute earlier.
    """
    c, wanted = s.journal.c, instant - timedelta(minutes=1)
    with store.reading() as connection:
        low, high = 0, int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(c.id), 0))).scalar_one())
        while low < high:
            middle = (low + high) // 2
            below = sa.select(c.recorded_at).where(c.id <= middle).order_by(c.id.desc()).limit(1)
            found = connection.execute(below).scalar()
            if found is None or found < wanted:
                low = middle + 1
            else:
                high = middle
        return low


def decisions(store: Store, after: int, until: int) -> list[JournalRow]:
    """Return the rows with a person's decision whose id is above `after` and not above `until`.

    A row that this version cannot read is left out.
    """
    c = s.journal.c
    statement = (
        sa.select(s.journal, s.orders.c.shop, s.orders.c.order_id)
        .join(s.orders, s.orders.c.id == c.order_key)
        .where(c.id > after, c.id <= until, c.trigger == Trigger.DECISION)
        .order_by(c.id)
    )
    found = []
    with store.reading() as connection:
        for row in connection.execute(statement):
            with suppress(ValueError):
                found.append(_row_of(row))
    return found


def entered_at(store: Store, of: JournalRow) -> datetime:
    """Return when the order entered the state in which the event of this row found it."""
    c = s.journal.c
    first_or_moved = sa.or_(c.version == 1, sa.and_(c.before != c.after, c.version < of.version))
    statement = sa.select(c.recorded_at).where(c.order_key == of.order_key, first_or_moved)
    with store.reading() as connection:
        found: datetime | None = connection.execute(statement.order_by(c.version.desc()).limit(1)).scalar()
    return found or of.recorded_at


def _row_of(row: sa.Row[Any]) -> JournalRow:
    event = Event(
        source=row.source,
        event_id=row.event_id,
        shop=row.shop,
        order_id=row.order_id,
        trigger=row.trigger,
        at=row.at,
        new_facts=facts_from_json(row.says),
        note=json.loads(row.note),
    )
    return JournalRow(
        order_key=row.order_key,
        version=row.version,
        event=event,
        result=row.result,
        before=row.before,
        after=row.after,
        machine_version=row.machine_version,
        recorded_at=row.recorded_at,
        repeats=row.repeats,
    )
