"""One row for each order of a shop, with its joined facts, its state and its attention reasons.

Only `OrderWriter` (consumer/applying/apply.py) writes these rows. It locks them before it reads them.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import BrokenOrders, StoreUnavailable
from adapters.store import bulk, texts
from adapters.store import schema as s
from adapters.store.attention_json import attention_from_json, columns_of, reasons_at
from adapters.store.facts_json import read_facts, row_to_json
from adapters.store.transaction import Store, Transaction
from statemachine.deadlines import DeadlineKind
from statemachine.facts import Facts
from statemachine.objectives import Objective
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from statemachine.urgency import Urgency

# -- Rows --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as stored. `digest` is the digest of the newest snapshot, "" before the first.

    `newer` is the JSON of the facts, if it holds something that this version does not know (facts_json.py); else "".
    """

    key: int
    shop: str
    order_id: str
    state: State
    facts: Facts
    version: int
    attention: tuple[StandingAttention, ...]
    digest: str
    read_after: datetime | None
    entered_at: datetime
    updated_at: datetime  # the last event that changed the order: a read of what was known already is none
    wake_at: datetime | None = None
    newer: str = ""
    planned_by: int = 0  # the version of the shop's policy
    quarantine: str | None = None  # the kind of the error with which it could not be read or planned
    deadline: tuple[DeadlineKind, datetime] | None = None  # what Mirakl waits for, and until when
    counted: frozenset[Objective] = frozenset()  # the objectives whose result was counted
    named: int = 0  # the version whose names are stored (names.py)
    urgency: Urgency | None = None  # of the most urgent reason; None: there is none, or older code wrote the row


@dataclass(frozen=True, slots=True)
class OrderChange:
    """An order to write, and the version of its stored row, which was locked and is replaced."""

    row: OrderRow
    replaced_version: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The part of an order's row that a poll needs."""

    digest: str
    read_after: datetime | None
    is_quarantined: bool = False


def _order_of(row: sa.Row[Any]) -> OrderRow:
    """Return the order of a row. Raises any exception for a row that this version cannot read."""
    facts, newer = read_facts(row.facts)
    return OrderRow(
        key=row.id,
        shop=row.shop,
        order_id=row.order_id,
        state=row.state,
        facts=facts,
        version=row.version,
        attention=attention_from_json(row.attention),
        digest=row.content,
        read_after=row.read_after,
        entered_at=row.entered_at,
        updated_at=row.updated_at,
        wake_at=row.wake_at,
        newer=newer,
        planned_by=row.planned_by,
        quarantine=row.quarantine,
        deadline=(row.deadline_kind, row.deadline) if row.deadline else None,
        counted=frozenset(s.member(Objective, word) for word in row.counted.split()),
        named=row.named,
        urgency=_urgency_of(row),
    )


def _urgency_of(row: sa.Row[Any]) -> Urgency | None:
    """The stored urgency, if it is of the present reasons (`has_urgency`)."""
    is_known = row.urgency is not None and row.urgency_of == reasons_at(row.version, row.attention)
    return next((one for one in Urgency if one.rank == row.urgency), None) if is_known else None


def shown(row: sa.Row[Any]) -> OrderRow:
    """Return the order of a row for people: without facts, and quarantined, if this version cannot read the row."""
    try:
        return _order_of(row)
    except Exception as error:
        kind = row.quarantine or type(error).__name__
        return OrderRow(
            key=row.id,
            shop=row.shop,
            order_id=row.order_id,
            state=row.state,
            facts=Facts(),
            version=row.version,
            attention=(StandingAttention(Reason.QUARANTINED, kind, since=row.updated_at),),
            digest=row.content,
            read_after=None,
            entered_at=row.entered_at,
            updated_at=row.updated_at,
            quarantine=kind,
            deadline=(row.deadline_kind, row.deadline) if row.deadline else None,
            urgency=_urgency_of(row),
        )


def _sound(rows: Sequence[sa.Row[Any]], *, also_quarantined: bool) -> list[OrderRow]:
    """Return the orders of these rows. Raises BrokenOrders for those that cannot be read, or are quarantined."""
    found, broken = [], {}
    for row in rows:
        if row.quarantine is not None and not also_quarantined:
            broken[row.shop, row.order_id] = row.quarantine
            continue
        try:
            found.append(_order_of(row))
        except Exception as error:
            broken[row.shop, row.order_id] = type(error).__name__
    if broken:
        raise BrokenOrders(broken)
    return found


# -- Writes ------------------------------------------------------------------------------------------------------


#: A row can be forgotten between its insertion, which finds it, and its lock (forgetting.py). Then it is inserted.
_TRIES_TO_LOCK: Final = 3


def lock(
    tx: Transaction, keys: Collection[tuple[str, str]], now: datetime, *, also_quarantined: bool = False
) -> dict[tuple[str, str], OrderRow]:
    """Lock the rows of these (shop, order id) in the order of their row keys, and return them.

    A missing row is inserted first, in state `new`. Raises BrokenOrders for rows that this version cannot read, and for
    quarantined ones unless `also_quarantined`.
    """
    missing = [
        dict(
            shop=shop,
            order_id=order_id,
            state=State.NEW,
            facts="{}",
            version=0,
            attention="[]",
            content="",
            first_seen_at=now,
            entered_at=now,
            updated_at=now,
        )
        for shop, order_id in sorted(keys)
    ]
    if not missing:
        return {}
    mine = bulk.pairs(tx, {(order_id, shop) for shop, order_id in keys})
    rows: Sequence[sa.Row[Any]] = ()
    for _ in range(_TRIES_TO_LOCK):
        bulk.insert_rows(tx, s.orders, missing, bulk.do_nothing)
        rows = texts.read(tx, _by_ids(is_sqlite=tx.is_sqlite), mine)
        if len(rows) == len(set(keys)):
            break
    else:
        raise StoreUnavailable("an order was deleted while it was locked")
    return {(row.shop, row.order_id): row for row in _sound(rows, also_quarantined=also_quarantined)}


@cache
def _by_ids(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.orders.c
    mine = bulk.in_pairs(c.order_id, c.shop, is_sqlite=is_sqlite)
    return sa.select(s.orders).where(mine).order_by(c.id).with_for_update()


def keys_of(tx: Transaction, ids: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the row keys of these (shop, order id), without a lock."""
    mine = bulk.pairs(tx, {(order_id, shop) for shop, order_id in ids})
    return {(row.shop, row.order_id): row.id for row in tx.execute(_keys(is_sqlite=tx.is_sqlite), mine)}


@cache
def _keys(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.orders.c
    return sa.select(c.id, c.shop, c.order_id).where(bulk.in_pairs(c.order_id, c.shop, is_sqlite=is_sqlite))


def lock_by_keys(tx: Transaction, keys: Collection[int], *, skip_locked: bool = False) -> dict[int, OrderRow]:
    """Lock rows in the order of their keys, and return them; with `skip_locked` without those that another transaction
    holds locked. Raises BrokenOrders for those that this version cannot read, and for quarantined ones."""
    rows = texts.read(tx, _by_keys(is_sqlite=tx.is_sqlite, skip_locked=skip_locked), bulk.numbers(keys))
    return {row.key: row for row in _sound(rows, also_quarantined=False)}


@cache
def _by_keys(*, is_sqlite: bool, skip_locked: bool) -> sa.Select[Any]:
    c = s.orders.c
    mine = sa.select(s.orders).where(bulk.among(c.id, is_sqlite=is_sqlite)).order_by(c.id)
    return mine.with_for_update(skip_locked=skip_locked)


def lock_only(tx: Transaction, keys: Collection[int], *, skip_locked: bool = False) -> dict[int, str | None]:
    """Lock rows as `lock_by_keys`, without reading their facts.

    Returns by key the kind of the error for which an order is quarantined, or None.
    """
    rows = texts.read(tx, _only(is_sqlite=tx.is_sqlite, skip_locked=skip_locked), bulk.numbers(keys))
    return {row.id: row.quarantine for row in rows}


@cache
def _only(*, is_sqlite: bool, skip_locked: bool) -> sa.Select[Any]:
    c = s.orders.c
    mine = sa.select(c.id, c.quarantine).where(bulk.among(c.id, is_sqlite=is_sqlite)).order_by(c.id)
    return mine.with_for_update(skip_locked=skip_locked)


def save(tx: Transaction, changes: Sequence[OrderChange]) -> None:
    """Write each order, if its row still has the version that was locked (docs/rules.md 9).

    Raises StoreUnavailable if the stored version is another one, because then another transaction wrote the row in
    spite of the lock.
    """
    values = [
        dict(
            id=one.row.key,
            locked=one.replaced_version,
            state=one.row.state,
            facts=row_to_json(one.row.facts, one.row.newer),
            version=one.row.version,
            **columns_of(one.row.version, one.row.attention, one.row.urgency),
            content=one.row.digest,
            read_after=one.row.read_after,
            wake_at=one.row.wake_at,
            quarantine=None,  # it was read and planned
            planned_by=one.row.planned_by,
            entered_at=one.row.entered_at,
            updated_at=one.row.updated_at,
            deadline_kind=one.row.deadline[0] if one.row.deadline else None,
            deadline=one.row.deadline[1] if one.row.deadline else None,
            counted=" ".join(sorted(one.row.counted)),
            named=one.row.named,
        )
        for one in changes
    ]
    if bulk.update_rows(tx, _SAVE, values) != len(values):
        raise StoreUnavailable("an order was written by another transaction while it was locked by ours")


#: What `save` writes.
_SAVED: Final = {
    name: s.orders.c[name]
    for name in (
        "state",
        "facts",
        "version",
        "attention",
        "urgency",
        "needs_since",
        "urgency_of",
        "content",
        "read_after",
        "wake_at",
        "quarantine",
        "planned_by",
        "entered_at",
        "updated_at",
        "deadline_kind",
        "deadline",
        "counted",
        "named",
    )
}


def _save(value: Any) -> sa.Update:
    c = s.orders.c
    as_locked = (c.id == value["id"], c.version == value["locked"])
    return sa.update(s.orders).where(*as_locked).values({name: value[name] for name in _SAVED})


_SAVE: Final = bulk.Update({"id": s.orders.c.id, "locked": s.orders.c.version, **_SAVED}, _save)


# -- Reads for a poll --------------------------------------------------------------------------------------------


def seen(store: Store, shop: str, order_ids: Sequence[str]) -> Mapping[str, Seen]:
    """Return what is stored of these orders, by order id. One statement reads a whole page of orders."""
    c = s.orders.c
    statement = sa.select(c.order_id, c.content, c.read_after, c.quarantine)
    with store.reading() as connection:
        rows = connection.execute(statement.where(c.shop == shop, c.order_id.in_(order_ids)))
        return {row.order_id: Seen(row.content, row.read_after, row.quarantine is not None) for row in rows}


def of_shop(store: Store, shop: str, order_ids: Sequence[str]) -> list[OrderRow]:
    """Return the orders of a shop with these ids."""
    c = s.orders.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(s.orders).where(c.shop == shop, c.order_id.in_(order_ids)))
        return [shown(row) for row in rows]


def waiting_for_a_read(store: Store, shop: str, now: datetime, limit: int) -> list[str]:
    """Ids of at most `limit` orders whose `read_after` has passed.

    Orders that a read has shown come first. Orders that only the OMS knows come last, so that they do not delay the
    others (docs/rules.md 5). In both groups the order that has waited longest comes first.
    """
    c = s.orders.c
    first = (c.content == "", c.read_after)
    statement = sa.select(c.order_id).where(c.shop == shop, c.read_after < now).order_by(*first).limit(limit)
    with store.reading() as connection:
        return list(connection.execute(statement).scalars())


# -- Reads for the clock -----------------------------------------------------------------------------------------


def to_wake(store: Store, now: datetime, limit: int) -> list[tuple[str, str]]:
    """(shop, order id) of at most `limit` orders whose `wake_at` has passed, the longest waiting first."""
    c = s.orders.c
    statement = sa.select(c.shop, c.order_id).where(c.wake_at <= now).order_by(c.wake_at).limit(limit)
    with store.reading() as connection:
        return [(row.shop, row.order_id) for row in connection.execute(statement)]


# -- Reads for people, and after a change of policy --------------------------------------------------------------


def open_keys(store: Store, shop: str) -> list[tuple[str, str]]:
    """(shop, order id) of every order that is neither shipped nor refused nor canceled, or that is quarantined.

    Each half has a partial index: a quarantined order needs a person (quarantine.py).
    """
    c = s.orders.c
    mine = sa.select(c.shop, c.order_id).where(c.shop == shop)
    quarantined = mine.where(s.needs_attention(c), c.quarantine.is_not(None))
    with store.reading(by_index=True) as connection:
        rows = connection.execute(sa.union(mine.where(s.is_open(c)), quarantined))
        return [(row.shop, row.order_id) for row in rows]


def behind(store: Store, shop: str, version: int, limit: int) -> list[tuple[str, str]]:
    """(shop, order id) of at most `limit` open orders that were planned by an earlier version of the shop's policy.

    Orders in quarantine are left out. The oldest version comes first: in the order of the index, PostgreSQL uses it
    also with old statistics.
    """
    c = s.orders.c
    statement = sa.select(c.shop, c.order_id).where(
        c.shop == shop, c.planned_by < version, s.is_open(c), c.quarantine.is_(None)
    )
    with store.reading(by_index=True) as connection:
        rows = connection.execute(statement.order_by(c.planned_by).limit(limit))
        return [(row.shop, row.order_id) for row in rows]


def pages(store: Store, shop: str | None, size: int, changed_after: datetime | None = None) -> Iterator[list[OrderRow]]:
    """Yield every order, of one shop or of all, by row key, `size` of them at a time. Between two pages no transaction
    is open."""
    c = s.orders.c
    mine = sa.select(s.orders).order_by(c.id).limit(size)
    if shop:
        mine = mine.where(c.shop == shop)
    if changed_after is not None:
        mine = mine.where(c.updated_at > changed_after)
    last = 0
    while True:
        with store.reading() as connection:
            found = [shown(row) for row in connection.execute(mine.where(c.id > last))]
        if not found:
            return
        yield found
        last = found[-1].key


def find(store: Store, order_id: str, shop: str | None = None) -> list[OrderRow]:
    """Return the orders with this id. There are several only if several shops have an order with this id."""
    where = [s.orders.c.order_id == order_id]
    if shop:
        where.append(s.orders.c.shop == shop)
    with store.reading() as connection:
        return [shown(row) for row in connection.execute(sa.select(s.orders).where(*where))]


def attention(store: Store) -> dict[tuple[str, str], frozenset[str]]:
    """The attention reasons of every order that has one, by shop and order id."""
    c = s.orders.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(c.shop, c.order_id, c.attention).where(s.needs_attention(c)))
        return {
            (row.shop, row.order_id): frozenset(str(one.reason) for one in attention_from_json(row.attention))
            for row in rows
        }


def states(store: Store) -> dict[tuple[str, str], State]:
    """The state of every order, by shop and order id."""
    c = s.orders.c
    with store.reading() as connection:
        rows = connection.execute(sa.select(c.shop, c.order_id, c.state))
        return {(row.shop, row.order_id): row.state for row in rows}
