"""Consumers and a worker on one order at the same time, on PostgreSQL: no fact is lost (docs/rules.md 9)."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce

import pytest
import sqlalchemy as sa

from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.transaction import Store
from consumer.applying.apply import OrderWriter
from statemachine.commands import CommandKind
from statemachine.events import Event
from statemachine.facts import Facts
from statemachine.joining import join
from statemachine.states import state_of
from tests.statemachine.lives import answered, read, sent, snapshot_event, spoke
from tests.support import StillClock

ROUNDS = 25


@pytest.fixture
def each(postgres_store_url: str) -> Iterator[list[Store]]:
    """One store for each process."""
    found = [Store(postgres_store_url) for _ in range(3)]
    yield found
    for store in found:
        store.close()


def of(order_id: str, *events: Event) -> list[Event]:
    return [replace(event, order_id=order_id, event_id=f"{order_id}:{event.event_id}") for event in events]


def race(each: Sequence[Store], rounds: int) -> list[BaseException]:
    """In every round, snapshots, reports of the OMS and two results reach one order at once. Returns the errors."""
    clock = StillClock()
    raised: list[BaseException] = []
    start = threading.Barrier(3)

    def consume(store: Store, *events: Event) -> Callable[[int], None]:
        orders = OrderWriter(store, {}, clock)

        def batches(n: int) -> None:
            for event in of(f"O-{n}", *events):
                orders.apply([event])

        return batches

    def work(store: Store, *events: Event) -> Callable[[int], None]:
        orders = OrderWriter(store, {}, clock)

        def settle(n: int) -> None:
            for event in of(f"O-{n}", *events):
                with store.transaction() as tx:
                    applied = orders.apply_in(tx, [event])
                orders.report(applied)

        return settle

    def run(play: Callable[[int], None]) -> None:
        for n in range(rounds):
            start.wait()
            try:
                play(n)
            except Exception as error:
                raised.append(error)

    plays = [
        consume(each[0], snapshot_event(read("SHIPPING")), snapshot_event(read("SHIPPED", updated=1, began=1))),
        consume(each[1], spoke(), sent(), sent("T2", when=2)),
        work(each[2], answered(CommandKind.IMPORT), answered(CommandKind.CONFIRM)),
    ]
    threads = [threading.Thread(target=run, args=(play,)) for play in plays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def lost(store: Store, rounds: int) -> list[str]:
    """Return what is wrong with the orders.

    Each order must be the join of all its events, each applied once, and its versions must have no gap.
    """
    events = [
        *(snapshot_event(read("SHIPPING")), snapshot_event(read("SHIPPED", updated=1, began=1))),
        *(spoke(), sent(), sent("T2", when=2), answered(CommandKind.IMPORT), answered(CommandKind.CONFIRM)),
    ]
    whole = reduce(join, (event.new_facts for event in events), Facts())
    found = []
    for n in range(rounds):
        (row,) = order_rows.find(store, f"O-{n}") or (None,)
        if row is None:
            found.append(f"O-{n} is missing")
            continue
        journal = journal_rows.of_order(store, row.key)
        folded = reduce(join, (entry.event.new_facts for entry in journal), Facts())
        found += [
            f"O-{n}: {what}"
            for what, holds in {
                "facts": row.facts == whole,
                "journal": folded == row.facts,
                "versions": [entry.version for entry in journal] == [*range(1, row.version + 1)],
                "events": len(journal) == len(events),
                "state": row.state == state_of(whole) == journal[-1].after,
                "steps": [e.before for e in journal] == ["new", *(e.after for e in journal[:-1])],
            }.items()
            if not holds
        ]
    return found


def test_a_race_of_consumers_and_a_worker_loses_no_fact(each: list[Store]) -> None:
    assert race(each, ROUNDS) == []
    assert lost(each[0], ROUNDS) == []


def without_locks(_connection: object, _cursor: object, sql: str, parameters: object, *_: object) -> tuple[str, object]:
    return sql.replace(" FOR UPDATE", ""), parameters


def test_without_the_lock_on_the_row_the_race_loses_facts(each: list[Store]) -> None:
    """The test above proves something only if it fails without the lock: the version or the journal refuses a write."""
    for store in each:
        sa.event.listen(store.engine, "before_cursor_execute", without_locks, retval=True)
    assert race(each, ROUNDS)
    assert lost(each[0], ROUNDS)
