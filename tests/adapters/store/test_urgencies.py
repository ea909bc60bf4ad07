"""The list of orders that need a person: sorted by the store, also beside code that does not store the urgency."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.store import order_lists, urgencies
from adapters.store import orders as order_rows
from adapters.store.orders import OrderChange, OrderRow
from adapters.store.quarantine import quarantine
from adapters.store.transaction import Store
from statemachine.deadlines import DeadlineKind
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.urgency import Urgency
from tests.adapters.store.support import NOW, later, on_postgresql
from tests.support import OpenStore

LAST = datetime.max.replace(tzinfo=UTC)


def reasons(*since: float) -> tuple[StandingAttention, ...]:
    return tuple(StandingAttention(Reason.HELD, str(number), since=later(at)) for number, at in enumerate(since))


def in_need(store: Store, *orders: Mapping[str, Any], shop: str = "alpha") -> list[OrderRow]:
    """Orders with these fields. Those without any are urgent now, and have been for a second."""
    with store.transaction() as tx:
        found = order_rows.lock(tx, [(shop, f"O-{number}") for number in range(len(orders))], NOW)
        usual: dict[str, Any] = dict(version=1, attention=reasons(1), urgency=Urgency.NOW)
        rows = [replace(row, **usual | dict(more)) for row, more in zip(found.values(), orders, strict=True)]
        order_rows.save(tx, [OrderChange(row, 0) for row in rows])
    return rows


def ids(rows: Sequence[OrderRow]) -> list[str]:
    return [row.order_id for row in rows]


def place(row: OrderRow) -> tuple[object, ...]:
    assert row.urgency is not None
    deadline = row.deadline[1] if row.deadline else LAST
    return row.urgency.rank, deadline, min(one.since for one in row.attention), row.key


def sql(store: Store, statement: str) -> None:
    with store.writing() as connection:
        connection.execute(sa.text(statement))


# -- The list --------------------------------------------------------------------------------------------------------


def test_the_store_sorts_by_urgency_then_by_the_deadline_then_by_how_long_it_is_needed(store: Store) -> None:
    chance = random.Random(7)
    orders = [
        dict(
            urgency=chance.choice(list(Urgency)),
            deadline=chance.choice([None, (DeadlineKind.SHIP, later(chance.randrange(3)))]),
            attention=reasons(*(chance.randrange(3) for _ in range(chance.randint(1, 2)))),
        )
        for _ in range(80)
    ]
    rows = in_need(store, *orders)
    others = in_need(store, {}, dict(attention=(), urgency=None), shop="beta")
    expected = sorted(rows, key=place)
    assert order_lists.latest(store, shop="alpha", urgency=True, limit=30) == expected[:30]
    assert order_lists.latest(store, shop="alpha", urgency=True, limit=None) == expected
    assert order_lists.latest(store, shop="beta", urgency=True) == others[:1], "the other one needs nobody"
    assert order_lists.latest(store, urgency=False) == []


def test_an_order_whose_urgency_was_not_planned_is_among_those_without_one(store: Store) -> None:
    rows = in_need(store, dict(urgency=None), {})
    assert order_lists.latest(store, urgency=False) == rows[:1]
    assert order_lists.latest(store, urgency=True) == rows[1:]


def test_a_quarantined_order_has_its_place_and_keeps_its_deadline(store: Store) -> None:
    due = (DeadlineKind.SHIP, later(60))
    in_need(store, dict(attention=(), urgency=None, deadline=due), dict(urgency=Urgency.WAITS))
    with store.transaction() as tx:
        quarantine(tx, {("alpha", "O-0"): "KeyError"}, later(5))
    first, second = order_lists.latest(store, urgency=True)
    assert (first.order_id, first.urgency, first.deadline) == ("O-0", Urgency.BY_DEADLINE, due)
    assert second.order_id == "O-1"
    sql(store, "UPDATE orders SET facts = '[' WHERE order_id = 'O-0'")
    assert order_rows.find(store, "O-0")[0].deadline == due, "also if the row cannot be read"


# -- Beside code of before -------------------------------------------------------------------------------------------

#: What code of before 0022 writes over a row: it leaves the columns of the urgency as they are.
WRITES = {
    "an event": "version = version + 1",
    "a plan that finds other reasons": 'attention = \'[["held", "", "2026-03-01T12:00:00+00:00"]]\'',
    "a quarantine": 'quarantine = \'E\', attention = \'[["quarantined", "E", "2026-03-01T12:00:00+00:00"]]\'',
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_row_that_older_code_wrote_is_among_those_without_an_urgency(store: Store, write: str) -> None:
    in_need(store, {}, {})
    sql(store, f"UPDATE orders SET {write} WHERE order_id = 'O-1'")
    (row,) = order_lists.latest(store, urgency=False)
    assert (row.order_id, row.urgency) == ("O-1", None)
    assert ids(order_lists.latest(store, urgency=True)) == ["O-0"]
    assert urgencies.keys(store, also_stored=False) == [row.key]
    assert len(urgencies.keys(store, also_stored=True)) == 2


def test_the_urgency_of_an_order_that_was_written_meanwhile_is_left_for_later(store: Store) -> None:
    in_need(store, *[dict(urgency=None)] * 3)
    found = urgencies.read(store, urgencies.keys(store, also_stored=False))
    sql(store, f"UPDATE orders SET {WRITES['an event']} WHERE order_id = 'O-0'")
    sql(store, f"UPDATE orders SET {WRITES['a quarantine']} WHERE order_id = 'O-1'")
    with store.transaction() as tx:
        assert urgencies.store_urgency(tx, [(one, Urgency.WAITS) for one in found]) == 1
    assert ids(order_lists.latest(store, urgency=True)) == ["O-2"]


@on_postgresql
def test_an_order_that_another_transaction_holds_is_not_waited_for(open_store: OpenStore) -> None:
    ours, theirs = open_store(), open_store()
    rows = in_need(ours, *[dict(urgency=None)] * 2)
    found = urgencies.read(ours, [row.key for row in rows])
    with theirs.transaction() as held:
        order_rows.lock_only(held, [rows[0].key])
        with ours.transaction() as tx:
            assert urgencies.store_urgency(tx, [(one, Urgency.NOW) for one in found]) == 1
    assert ids(order_lists.latest(ours, urgency=True)) == ["O-1"]


def test_the_urgency_of_an_order_that_this_version_cannot_read_is_not_overwritten(store: Store) -> None:
    rows = in_need(store, {}, {})
    sql(store, "UPDATE orders SET facts = '[' WHERE order_id = 'O-0'")
    assert [one.row.order_id for one in urgencies.read(store, [row.key for row in rows])] == ["O-1"]
