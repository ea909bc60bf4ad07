"""Removes snapshots that nothing rests on, of orders that are at their end. The journal is kept as a whole.

The journal is walked by its ids, a few rows at a time, so no statement here reads a table from end to end.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.facts_json import facts_from_json
from adapters.store.transaction import Store, Transaction
from statemachine.events import Trigger
from statemachine.facts import Facts

#: How many events of an order one statement reads.
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Resting:
    """An order at its end that needs nobody. `id` is that of its last row in the journal."""

    id: int
    key: int
    version: int
    digest: str  # of its newest snapshot


@dataclass(frozen=True, slots=True)
class Walked:
    """What the walk met, and the id of the last row of the journal that it passed."""

    orders: list[Resting]
    until: int


def resting(store: Store, after: int, until: int, *, rows: int, orders: int) -> Walked:
    """Walk at most `rows` rows of the journal, of those whose id is above `after` and not above `until`.

    An order is met at its last row. The walk ends early with the last of `orders` orders.
    """
    c = s.journal.c
    next_rows = sa.select(c.id, c.order_key, c.version).where(c.id > after, c.id <= until).order_by(c.id).limit(rows)
    with store.reading() as connection:
        walked = connection.execute(next_rows).all()
        keys = bulk.numbers({row.order_key for row in walked})
        ended = {row.id: row for row in connection.execute(_ended(is_sqlite=store.is_sqlite), keys)}
    met: list[Resting] = []
    for row in walked:
        order = ended.get(row.order_key)
        if order is not None and order.version == row.version:
            met.append(Resting(row.id, row.order_key, row.version, order.content))
    passed = walked[-1].id if len(walked) == rows else until
    return Walked(met[:orders], met[orders - 1].id if len(met) > orders else passed)


@cache
def _ended(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.orders.c
    rests = (sa.not_(s.is_open(c)), sa.not_(s.needs_attention(c)), c.quarantine.is_(None))
    return sa.select(c.id, c.version, c.content).where(bulk.among(c.id, is_sqlite=is_sqlite), *rests)


def events(store: Store, keys: Collection[int]) -> dict[int, list[tuple[Trigger, Facts]]]:
    """Return the trigger and the new facts of each event of these orders, by order key, each order's by version.

    An order of which this version cannot read an event is left out.
    """
    found: dict[int, list[tuple[Trigger, Facts]]] = {}
    with store.reading() as connection:
        for key in keys:
            with suppress(ValueError):  # a newer version wrote an event
                found[key] = [(row.trigger, facts_from_json(row.says)) for row in _of_order(connection, key)]
    return found


def _of_order(connection: sa.Connection, key: int) -> Iterator[Any]:
    """One order at a time, and with a limit: with old statistics, PostgreSQL would else read the journal as a whole."""
    above, count = 0, PAGE
    while count == PAGE:
        rows = connection.execute(_EVENTS, {"of": key, "above": above}).all()
        yield from rows
        above, count = above + len(rows), len(rows)  # versions are 1, 2, 3 and so on


_EVENTS: Final = (
    sa.select(s.journal.c.version, s.journal.c.trigger, s.journal.c.says)
    .where(s.journal.c.order_key == sa.bindparam("of"), s.journal.c.version > sa.bindparam("above"))
    .order_by(s.journal.c.order_key, s.journal.c.version)
    .limit(PAGE)
)


def remove(tx: Transaction, surplus: Mapping[Resting, Collection[str]]) -> int:
    """Delete these snapshots, by digest, of each order that still has the version with which it was met.

    Returns how many were deleted. An order that another transaction holds locked is left as it is. The lock keeps
    others from writing one of these snapshots again, or reading it as the newest, before it is deleted.
    """
    by_key = {order.key: order for order in surplus}
    locked = tx.execute(_lock(is_sqlite=tx.is_sqlite), bulk.numbers(by_key)).all()
    same = [by_key[row.id] for row in locked if row.version == by_key[row.id].version]
    gone = {(order.key, digest) for order in same for digest in surplus[order]}
    if not gone:
        return 0
    return tx.execute(_delete(is_sqlite=tx.is_sqlite), bulk.pairs(tx, gone)).rowcount


@cache
def _lock(*, is_sqlite: bool) -> sa.Select[Any]:
    c = s.orders.c
    mine = bulk.among(c.id, is_sqlite=is_sqlite)
    return sa.select(c.id, c.version).where(mine).order_by(c.id).with_for_update(skip_locked=True)


@cache
def _delete(*, is_sqlite: bool) -> sa.Delete:
    c = s.snapshots.c
    return sa.delete(s.snapshots).where(bulk.in_pairs(c.order_key, c.content, is_sqlite=is_sqlite))
