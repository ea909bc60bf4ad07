"""How many orders a list has: what the store counts is what it lists, on both engines."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from adapters.store import names as name_rows
from adapters.store import order_lists
from adapters.store import orders as order_rows
from adapters.store.order_lists import Which
from adapters.store.orders import OrderChange
from adapters.store.transaction import Store
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from tests.adapters.store.support import NOW, later

STATES: Sequence[State] = (State.SHIPPING, State.SHIPPED, State.NEW)


def filled(store: Store) -> None:
    """Nine orders: three of each state, every second one needs a person, each is later than the one before."""
    held = (StandingAttention(Reason.HELD, since=NOW),)
    with store.transaction() as tx:
        keys = [("alpha" if number < 6 else "beta", f"O-{number}") for number in range(9)]
        rows = [
            replace(
                row,
                state=STATES[number % 3],
                attention=held if number % 2 else (),
                entered_at=later(number),
                updated_at=later(number // 2),
            )
            for number, row in enumerate(order_rows.lock(tx, keys, NOW).values())
        ]
        order_rows.save(tx, [OrderChange(row, 0) for row in rows])
        name_rows.add(tx, {row.key: {row.order_id, f"SKU-{number % 4}"} for number, row in enumerate(rows)})


def test_the_store_counts_what_it_lists(store: Store) -> None:
    filled(store)
    options: dict[str, tuple[Any, ...]] = dict(
        shop=(None, "beta"),
        states=((), ("shipping",), ("shipped", "new")),
        attention=(False, True),
        changed_after=(None, later(2)),
        entered_before=(None, later(5)),
        after=(None, (later(3), 7)),
    )
    for text, *values in product(("", "sku-1", "o-"), *options.values()):
        which = Which(**dict(zip(options, values, strict=True)))  # type: ignore[typeddict-item]
        listed = order_lists.latest(store, text=text, limit=None, **which)
        assert order_lists.count(store, text=text, **which) == len(listed), (text, which)
    assert order_lists.count(store) == 9
    assert order_lists.count(store, text="sku-1", shop="alpha") == 2


def test_of_many_keys_those_are_read_that_are_among_the_first_of_the_list(store: Store) -> None:
    filled(store)
    listed = [row.key for row in order_lists.latest(store)]
    some = [listed[0], listed[2], listed[5]]
    for newest, limit, expected in ((6, 9, some), (5, 9, some[:2]), (6, 1, some[:1]), (1, 9, some[:1])):
        found = order_lists.latest(store, keys=some, newest=newest, limit=limit)
        assert [row.key for row in found] == expected, (newest, limit)
    held = [row.key for row in order_lists.latest(store, attention=True)]
    found = order_lists.latest(store, keys=held, newest=2, attention=True)
    assert [row.key for row in found] == held[:2], "the first of the list that is asked for"
