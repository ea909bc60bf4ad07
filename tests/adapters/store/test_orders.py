"""Orders: how they are locked, written over the version that was locked, and found again."""

import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from adapters.errors import StoreUnavailable
from adapters.store import forgetting, order_lists
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store.attention_json import attention_from_json, attention_to_json
from adapters.store.orders import OrderChange
from adapters.store.quarantine import quarantine
from adapters.store.transaction import Store
from statemachine.commands import CommandKind
from statemachine.facts import EPOCH, Facts, Part
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from tests.adapters.store.support import NOW, later, on_postgresql
from tests.statemachine.lives import read, sent, snapshot_event
from tests.support import OpenStore


def test_lock_makes_missing_orders_and_returns_all_in_the_order_of_their_keys(store: Store) -> None:
    with store.transaction() as tx:
        order_rows.lock(tx, [("beta", "O-2")], NOW)
        assert order_rows.lock(tx, [], NOW) == {}
        found = order_rows.lock(tx, [("beta", "O-2"), ("beta", "O-1"), ("alpha", "O-2")], later(9))
    assert list(found) == [("beta", "O-2"), ("alpha", "O-2"), ("beta", "O-1")]
    assert [row.key for row in found.values()] == [1, 2, 3]
    assert {row.state for row in found.values()} == {State.NEW}
    assert {row.version for row in found.values()} == {0}
    assert {row.facts for row in found.values()} == {Facts()}
    assert found["beta", "O-2"].entered_at == NOW


def test_a_row_written_under_our_lock_is_an_error(store: Store) -> None:
    with store.transaction() as tx:
        row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
        other = order_rows.lock(tx, [("alpha", "O-2")], NOW)["alpha", "O-2"]
        order_rows.save(tx, [OrderChange(replace(row, version=1), 0)])
    with pytest.raises(StoreUnavailable), store.transaction() as tx:
        order_rows.save(tx, [OrderChange(replace(other, version=1), 0), OrderChange(replace(row, version=2), 0)])
    assert {order.order_id: order.version for order in order_lists.latest(store)} == {"O-1": 1, "O-2": 0}


def test_writers_of_two_processes_lose_no_update(open_store: OpenStore) -> None:
    """Four threads over two stores read, add one and write, 25 times each. Without the lock some additions are lost."""
    each = [open_store(), open_store()]
    failed: list[BaseException] = []

    def count(store: Store) -> None:
        try:
            for _ in range(25):
                with store.transaction() as tx:
                    row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
                    order_rows.save(tx, [OrderChange(replace(row, version=row.version + 1), row.version)])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=count, args=(store,)) for store in (*each, *each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [order.version for order in order_lists.latest(each[0])] == [100]


@on_postgresql
def test_an_order_that_is_forgotten_while_another_process_locks_it_is_made_anew(open_store: OpenStore) -> None:
    """Its insertion finds the row, waits for nothing, and then the lock finds no row."""
    ours, theirs = open_store(), open_store()
    with ours.transaction() as tx:
        old = order_rows.lock(tx, [("alpha", "1-A")], NOW)["alpha", "1-A"]
    found: list[int] = []

    def lock() -> None:
        with theirs.transaction() as tx:
            found.append(order_rows.lock(tx, [("alpha", "1-A")], later(1))["alpha", "1-A"].key)

    other = threading.Thread(target=lock)
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ours.transaction() as tx:
        assert forgetting.forget(tx, [old.key], later(1)) == 1
        other.start()
        while not tx.execute(waiting).scalar():
            pass
    other.join()
    assert found != [old.key]
    assert len(found) == 1


def test_an_order_is_read_as_it_was_saved(store: Store) -> None:
    facts = replace(snapshot_event(read("SHIPPING")).new_facts, parts=(Part(7, "Ä", ("L1",)),))
    with store.transaction() as tx:
        row = order_rows.lock(tx, [("alpha", "O-1")], NOW)["alpha", "O-1"]
        row = replace(
            row,
            state=State.IMPORTED,
            facts=facts,
            version=1,
            attention=(StandingAttention(Reason.HELD, "x", since=later(1)),),
            read_after=later(2),
            wake_at=later(3),
        )
        order_rows.save(tx, [OrderChange(row, 0)])
    assert order_lists.latest(store) == [row]
    assert order_rows.find(store, "O-1", "alpha") == [row]
    assert order_rows.find(store, "O-1", "beta") == []


def test_a_stored_reason_of_a_call_keeps_its_form_and_names_the_call() -> None:
    """An earlier version wrote this form. Reason and detail together identify a reason."""
    stored = (
        f'[["gave_up", "send_tracking#2", "{NOW.isoformat()}"], ["quantity_exceeds_order", "L#1", "{NOW.isoformat()}"]]'
    )
    of_call, of_line = attention_from_json(stored)
    assert of_call == StandingAttention(Reason.GAVE_UP, "send_tracking#2", since=NOW)
    assert of_call.command is CommandKind.TRACK
    assert of_line.command is None
    assert attention_to_json([of_call, of_line]) == stored


def test_a_poll_finds_what_waits_for_a_read_and_what_is_stored_of_a_page(store: Store) -> None:
    with store.transaction() as tx:
        found = order_rows.lock(tx, [("alpha", f"O-{n}") for n in range(5)] + [("beta", "O-1")], NOW)
        waits = {"O-1": later(5), "O-2": later(3), "O-3": later(9), "O-4": EPOCH}
        never_shown = {"O-4"}
        order_rows.save(
            tx,
            [
                OrderChange(
                    replace(
                        row,
                        version=1,
                        digest="" if row.order_id in never_shown else "c",
                        read_after=waits.get(row.order_id),
                    ),
                    0,
                )
                for row in found.values()
            ],
        )
    # O-4 waits longest, but only the OMS knows it, so it comes last. The time of O-3 has not passed yet.
    assert order_rows.waiting_for_a_read(store, "alpha", later(9), 10) == ["O-2", "O-1", "O-4"]
    assert order_rows.waiting_for_a_read(store, "alpha", later(9), 1) == ["O-2"]
    assert order_rows.seen(store, "alpha", ["O-0", "O-9"]) == {"O-0": order_rows.Seen("c", None)}
    assert len(order_rows.open_keys(store, "alpha")) == 5


def test_open_keys_are_those_of_open_and_of_quarantined_orders(store: Store) -> None:
    with store.transaction() as tx:
        found = order_rows.lock(tx, [("alpha", f"O-{n}") for n in range(4)], NOW)
        ended = (State.SHIPPED, State.CANCELED, State.SHIPPED)
        changes = [
            OrderChange(replace(r, version=1, state=to), 0) for r, to in zip(found.values(), ended, strict=False)
        ]
        order_rows.save(tx, changes)
        quarantine(tx, {("alpha", "O-2"): "KeyError", ("alpha", "O-3"): "KeyError"}, NOW)
    assert sorted(order_rows.open_keys(store, "alpha")) == [("alpha", "O-2"), ("alpha", "O-3")]
    assert order_rows.open_keys(store, "beta") == []


def test_every_order_comes_once_in_pages(store: Store) -> None:
    with store.transaction() as tx:
        order_rows.lock(tx, [("alpha", f"O-{n}") for n in range(5)] + [("beta", "O-1")], NOW)
    ids = [[order.order_id for order in page] for page in order_rows.pages(store, "alpha", 2)]
    assert ids == [["O-0", "O-1"], ["O-2", "O-3"], ["O-4"]]
    assert [len(page) for page in order_rows.pages(store, None, 4)] == [4, 2]


def test_the_clock_wakes_the_orders_whose_instant_has_passed_the_longest_waiting_first(store: Store) -> None:
    with store.transaction() as tx:
        found = order_rows.lock(tx, [("alpha", f"O-{n}") for n in range(3)] + [("beta", "O-3")], NOW)
        wakes = {"O-1": later(5), "O-2": later(9), "O-3": later(3)}
        changes = [OrderChange(replace(row, version=1, wake_at=wakes.get(row.order_id)), 0) for row in found.values()]
        order_rows.save(tx, changes)
    assert order_rows.to_wake(store, later(5), 10) == [("beta", "O-3"), ("alpha", "O-1")]
    assert order_rows.to_wake(store, later(5), 1) == [("beta", "O-3")]
    assert order_rows.to_wake(store, later(2), 10) == []


def test_a_batch_of_500_orders_fits_into_one_statement(store: Store) -> None:
    events = [replace(sent(), event_id=f"e{n}", order_id=f"O-{n}") for n in range(500)]
    with store.transaction() as tx:
        assert len(order_rows.lock(tx, {(e.shop, e.order_id) for e in events}, NOW)) == 500
        assert journal_rows.known(tx, events) == {}
