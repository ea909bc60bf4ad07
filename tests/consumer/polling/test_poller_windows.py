"""Which orders a poll asks for, and which of them are news: windows, the cursor, what is published again."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.messages.cloudevents import from_record
from adapters.messages.snapshots import decode_snapshot
from adapters.ports import OrdersPage, OrdersQuery
from adapters.simulators.mirakl import changes
from adapters.store import cursors as cursor_rows
from consumer.polling.poll_memory import PUBLISHED_FOR
from consumer.polling.poller import FIRST_WINDOW, OVERLAP, WIDE_WINDOW
from statemachine.facts import EPOCH
from tests.consumer.polling.polling import Watched, Writer, fill, ids, watched
from tests.consumer.rig import GRACE, Rig

# -- Windows and the cursor ---------------------------------------------------------------------------------------


def windows(mirakl: Watched) -> list[OrdersQuery]:
    return [query for query, offset in mirakl.asked if query.updated_from and not offset]


def test_windows_overlap_and_the_watermark_follows_mirakls_clock(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    began = rig.clock.now()
    server = began - timedelta(seconds=90)  # Mirakl's clock is behind ours
    mirakl.after = lambda page: OrdersPage(page.body, page.read_at, server)
    poller.run()
    (first,) = windows(mirakl)
    assert first.updated_from == began - FIRST_WINDOW
    assert first.updated_to == server
    cursor = cursor_rows.find(rig.store, "alpha")
    assert cursor is not None
    assert cursor.watermark == server - OVERLAP
    rig.clock.advance(60)
    mirakl.after = lambda page: page
    poller.run()
    first, second = windows(mirakl)
    assert second.updated_from == cursor.watermark
    assert second.updated_to == rig.clock.now()


def test_the_watermark_is_at_most_the_start_of_the_run_and_never_moves_back(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    began = rig.clock.now()
    mirakl.before = lambda *_: rig.clock.advance(100)  # a slow run
    poller.run()
    cursor = cursor_rows.find(rig.store, "alpha")
    assert cursor is not None
    assert began - OVERLAP <= cursor.watermark <= began + timedelta(seconds=100) - OVERLAP
    mirakl.after = lambda page: OrdersPage(page.body, page.read_at, EPOCH)
    poller.run()
    after = cursor_rows.find(rig.store, "alpha")
    assert after is not None
    assert after.watermark == cursor.watermark


def test_a_date_header_far_in_the_future_skips_no_update(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    began = rig.clock.now()
    mirakl.after = lambda page: OrdersPage(page.body, page.read_at, began + timedelta(days=365))
    poller.run()
    cursor = cursor_rows.find(rig.store, "alpha")
    assert cursor is not None
    assert cursor.watermark <= began - OVERLAP


def test_once_a_day_the_window_reaches_far_back(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    poller.run()
    rig.clock.advance(86_400 - 1)
    poller.run()
    rig.clock.advance(1)
    poller.run()
    rig.clock.advance(60)
    poller.run()
    spans = [
        query.updated_to - query.updated_from for query in windows(mirakl) if query.updated_to and query.updated_from
    ]
    assert spans[0] == FIRST_WINDOW
    assert spans[1] < timedelta(days=1) + 2 * OVERLAP
    assert spans[2] == WIDE_WINDOW
    assert spans[3] < 2 * OVERLAP


def test_the_cursor_moves_only_when_every_record_is_durable(rig: Rig) -> None:
    """The log fails at the second of three pages. The next run publishes the rest, and not the first page again."""
    names = fill(rig, 250)
    poller = rig.new_poller(writer=Writer(rig, 2))
    with pytest.raises(LogUnavailable):
        poller.run()
    assert cursor_rows.find(rig.store, "alpha") is None
    assert len(ids(rig)) == 100
    poller.run()
    assert sorted(ids(rig)) == names
    assert cursor_rows.find(rig.store, "alpha") is not None


def test_a_store_that_is_unavailable_for_the_cursor_fails_the_run(tmp_path: Path) -> None:
    rig = Rig(tmp_path, busy_seconds=0.05)
    rig.pollers["alpha"].run()
    before = cursor_rows.find(rig.store, "alpha")
    other = sqlite3.connect(rig.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rig.clock.advance(60)
    with pytest.raises(StoreUnavailable):
        rig.pollers["alpha"].run()
    other.close()
    assert cursor_rows.find(rig.store, "alpha") == before


# -- What is news -------------------------------------------------------------------------------------------------


def test_an_unchanged_order_is_not_published(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    poller = rig.new_poller()  # which remembers nothing
    outcome = poller.run()
    assert len(rig.records()) == 1
    assert outcome.same == 2
    assert outcome.new + outcome.changed == 0
    rig.mirakl["alpha"].post_message("1-A", "Hello")
    assert poller.run().changed == 1


def test_rules_6_16_and_17_a_read_that_is_a_proof_is_published_although_nothing_changed(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "204_not_applied")
    rig.work()
    rig.poll(GRACE.total_seconds())
    assert len(rig.records()) == 1, "a read that began within the grace period is no proof"
    rig.poll(1)
    one, two = rig.records()
    first, second = (from_record(record.value, ()) for record in (one, two))
    assert first is not None
    assert second is not None
    assert first.data == second.data
    assert first.id != second.id
    rig.poll(1)
    assert len(rig.records()) == 2, "one proof is enough"


def test_rule_17_a_change_that_is_read_before_the_proof_is_due_is_no_proof(rig: Rig) -> None:
    """The same bytes are read twice: first as a change within the grace period, a moment later as the proof."""
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "204_not_applied")
    rig.work()
    rig.mirakl["alpha"].post_message("1-A", "Hello")
    rig.poll(GRACE.total_seconds() - 5)
    assert rig.state() == "accepted"
    assert len(rig.records()) == 2
    rig.poll(10)
    assert rig.state() == "waiting_acceptance"
    assert len(rig.records()) == 3


def test_a_stopped_consumer_does_not_make_the_poller_publish_again_in_every_run(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    rig.fail("OR21", "204_not_applied")
    rig.work()
    rig.add("2-A")
    rig.clock.advance(GRACE.total_seconds() + 1)
    for _ in range(9):
        rig.clock.advance(60)
        rig.pollers["alpha"].run()
    assert sorted(ids(rig)) == ["1-A", "1-A", "2-A"], "a proof and a new order, once each"
    rig.clock.advance(PUBLISHED_FOR.total_seconds())
    rig.pollers["alpha"].run()
    assert sorted(ids(rig)) == ["1-A", "1-A", "1-A", "2-A", "2-A"], "published again from time to time"


def test_after_a_reset_recently_published_orders_are_published_again(rig: Rig) -> None:
    """The log may have lost the records of the last minutes."""
    rig.add("1-A", state="RECEIVED")
    rig.pollers["alpha"].run()
    with rig.store.transaction() as tx:
        cursor_rows.forget(tx, "alpha")
    rig.pollers["alpha"].run()
    assert ids(rig) == ["1-A", "1-A"]
    rig.pollers["alpha"].run()
    assert len(ids(rig)) == 2


def test_two_reads_of_one_run_that_differ_are_both_published_in_order(rig: Rig) -> None:
    rig.add("1-A")
    mirakl, poller = watched(rig)

    def accept(query: OrdersQuery, offset: int) -> None:
        if query.updated_from:
            rig.mirakl["alpha"].accept_in_portal("1-A")

    mirakl.before = accept
    poller.run()
    rig.consume()
    assert len(rig.records()) == 2
    assert rig.state() == "awaiting_payment"


def test_each_order_carries_the_start_of_its_own_pages_read(rig: Rig) -> None:
    fill(rig, 150)
    mirakl, poller = watched(rig)
    mirakl.before = lambda *_: rig.clock.advance(10)
    began = rig.clock.now()
    poller.run()
    read_at = {}
    for record in rig.records():
        event = decode_snapshot(record.value, (), {"alpha"})
        assert event is not None
        snapshot = event.new_facts.snapshot
        assert snapshot is not None
        read_at[event.order_id] = snapshot.read_at
    assert read_at["000-A"] == began + timedelta(seconds=10)
    assert read_at["149-A"] == began + timedelta(seconds=20)


@pytest.mark.parametrize("ahead", [timedelta(minutes=4), timedelta(days=400)], ids=["minutes", "days"])
def test_an_update_dated_ahead_does_not_hide_the_cancelation_after_it(rig: Rig, ahead: timedelta) -> None:
    """docs/rules.md 2. Seen before: a date of less than five minutes ahead did, and the order was imported."""
    rig.add("1-A", state="SHIPPING")
    changes.date_ahead(rig.mirakl["alpha"], "1-A", ahead)
    rig.poll()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll(60)
    rig.work()
    assert (rig.state(), rig.effects()) == ("canceled", [])
