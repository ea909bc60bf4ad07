"""The poller against the simulators: reads, windows, what is published, dead letters, the lease."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.errors import Fenced, LogUnavailable, Rejected, Retryable, StoreUnavailable, Unreadable
from adapters.messages.cloudevents import from_record
from adapters.messages.snapshots import decode_snapshot, snapshot_of
from adapters.ports import Carrier, Catalog, CustomerMessages, NewRecord, OrdersPage, OrdersQuery
from adapters.simulators.mirakl import changes
from adapters.simulators.orders import ALPHA, Line, build_order
from adapters.store import cursors as cursor_rows
from adapters.store import schema as s
from adapters.store import snapshots as snapshot_rows
from consumer import bootstrap
from consumer import poller as poller_module
from consumer.hooks import PollResult
from consumer.leases import Leases, poll_lease
from consumer.poll_memory import PUBLISHED_FOR
from consumer.poller import FIRST_WINDOW, OVERLAP, SWEPT_STATES, WIDE_WINDOW, Poller
from statemachine.facts import EPOCH, Snapshot, Tracking
from statemachine.plan import Plan
from tests.consumer.rig import GRACE, SNAPSHOTS, AfterPage, Rig

DAY = 86_400


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


class Watched:
    """The shop's client. `before` is called before each page is read, `after` may change the page."""

    def __init__(self, rig: Rig) -> None:
        self._mirakl = rig.clients["alpha"]
        self.asked: list[tuple[OrdersQuery, int]] = []
        self.before: Callable[[OrdersQuery, int], None] = lambda _query, _offset: None
        self.after: Callable[[OrdersPage], OrdersPage] = lambda page: page

    def orders(self, query: OrdersQuery, offset: int) -> OrdersPage:
        self.before(query, offset)
        self.asked.append((query, offset))
        return self.after(self._mirakl.orders(query, offset))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mirakl, name)

    # For the type checker. A poll calls none of them.
    def accept(self, order_id: str, decisions: Any) -> None: ...
    def send_tracking(self, order_id: str, tracking: Tracking, catalog: Catalog) -> None: ...
    def confirm_shipment(self, order_id: str) -> None: ...
    def customer_messages(self, order_id: str) -> CustomerMessages:
        return CustomerMessages()

    def catalog(self) -> Catalog:
        return Catalog((Carrier("", "", False),))


class Writer:
    """The real log, which is unavailable at the given publications."""

    def __init__(self, rig: Rig, *fails_at: int) -> None:
        self._log = rig.log
        self._fails_at = fails_at
        self.times = 0

    def publish(self, records: Sequence[NewRecord]) -> None:
        self.times += 1
        if self.times in self._fails_at:
            raise LogUnavailable("no answer")
        self._log.publish(records)


def watched(rig: Rig) -> tuple[Watched, Poller]:
    mirakl = Watched(rig)
    return mirakl, rig.new_poller(mirakl=mirakl)


def ids(rig: Rig) -> list[str]:
    return [record.record_key.decode().partition(":")[2] for record in rig.records()]


def fill(rig: Rig, count: int, state: str = "SHIPPING") -> list[str]:
    """Orders, one second apart."""
    names = [f"{number:03d}-A" for number in range(count)]
    for name in names:
        rig.clock.advance(1)
        rig.add(name, state=state)
    return names


# -- Reading ------------------------------------------------------------------------------------------------------


def test_all_pages_are_read_before_the_first_order_is_published(rig: Rig) -> None:
    names = fill(rig, 250)
    mirakl, poller = watched(rig)
    mirakl.before = lambda *_: pytest.fail("published too early") if rig.records() else None
    outcome = poller.run()
    sweeps = [offset for query, offset in mirakl.asked if query.states]
    assert sweeps == [0, 90, 180], "pages overlap by ten orders"
    assert sorted(ids(rig)) == names
    assert outcome.new == 250
    assert outcome.complete


@pytest.mark.parametrize("leaves", [0, 42, 98, 99, 150])
def test_an_order_that_leaves_between_two_pages_loses_no_other(rig: Rig, leaves: int) -> None:
    """docs/mirakl.md 6: the orders behind it move up, so the next page would leave out one order.

    The orders are older than any update window, so only the sweep can find them.
    """
    names = fill(rig, 250)
    rig.clock.advance((FIRST_WINDOW + timedelta(days=2)).total_seconds())
    mirakl, poller = watched(rig)

    def leave(query: OrdersQuery, offset: int) -> None:
        if query.states and offset == 90:
            rig.mirakl["alpha"].ship_in_portal(names[leaves])

    mirakl.before = leave
    assert poller.run().complete
    assert set(names) <= set(ids(rig))
    assert [offset for query, offset in mirakl.asked if query.states] == [0, 90, 180], "pages overlap by ten"


@pytest.mark.parametrize("leaving", [1, 9, 25, 60])
def test_orders_that_leave_between_every_two_pages_hide_none(rig: Rig, leaving: int) -> None:
    """So many orders leave before each page that the poller goes back, each time further, to an order that it read."""
    names = fill(rig, 350)
    rig.clock.advance((FIRST_WINDOW + timedelta(days=2)).total_seconds())  # only the sweep can find them
    mirakl, poller = watched(rig)
    left = iter(names)

    def leave(query: OrdersQuery, offset: int) -> None:
        if query.states and offset:
            for _ in range(leaving):
                if (name := next(left, None)) is not None:
                    rig.mirakl["alpha"].ship_in_portal(name)

    mirakl.before = leave
    assert poller.run().complete
    assert set(names) <= set(ids(rig))
    assert cursor_rows.find(rig.store, "alpha") is not None


def test_a_listing_that_does_not_end_is_published_and_leaves_the_cursor(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(rig, 350)
    rig.pollers["alpha"].run()
    before = cursor_rows.find(rig.store, "alpha")
    rig.clock.advance(60)
    monkeypatch.setattr(poller_module, "MAX_PAGES", 2)
    with capture_logs() as lines:
        outcome = rig.pollers["alpha"].run()
    assert not outcome.complete
    assert set(names) <= set(ids(rig))
    assert cursor_rows.find(rig.store, "alpha") == before
    assert "listing_never_ends" in [line["event"] for line in lines]
    assert before is not None
    success = rig.metrics.registry.get_sample_value("orderflow_poll_last_success_timestamp_seconds", {"shop": "alpha"})
    assert success == before.succeeded_at.timestamp()


@pytest.mark.parametrize("size", [30, 7, 2])
def test_pages_that_are_shorter_than_asked_for_lose_no_order(rig: Rig, size: int) -> None:
    """A gateway or another version of Mirakl may shorten pages. `total_count` shows that there are more orders."""
    names = fill(rig, 40)
    mirakl, poller = watched(rig)

    def cut(page: OrdersPage) -> OrdersPage:
        listing = json.loads(page.body)
        listing["orders"] = listing["orders"][:size]
        return OrdersPage(json.dumps(listing).encode(), page.read_at, page.server_time)

    mirakl.after = cut
    assert poller.run().complete
    assert sorted(ids(rig)) == names


def test_the_step_follows_a_server_that_gives_ten_orders_a_page(rig: Rig) -> None:
    names = fill(rig, 34)
    rig.mirakl["alpha"].knobs.largest_page = 10
    mirakl, poller = watched(rig)
    assert poller.run().complete
    assert sorted(ids(rig)) == names
    assert len([offset for query, offset in mirakl.asked if query.states]) in (4, 5)
    assert len([offset for query, offset in mirakl.asked if query.updated_from]) in (4, 5)


@pytest.mark.parametrize("count", [0, 1, 2, 34])
def test_a_server_that_gives_ten_orders_a_page_and_no_total_loses_none(rig: Rig, count: int) -> None:
    names = fill(rig, count)
    rig.mirakl["alpha"].knobs.largest_page = 10
    mirakl, poller = watched(rig)

    def without_total(page: OrdersPage) -> OrdersPage:
        orders = json.loads(page.body)["orders"]
        return OrdersPage(json.dumps({"orders": orders}).encode(), page.read_at, page.server_time)

    mirakl.after = without_total
    assert poller.run().complete
    assert sorted(ids(rig)) == names
    assert len([offset for query, offset in mirakl.asked if query.states]) <= 5


def test_one_order_that_is_no_json_costs_no_other_order_of_its_page(rig: Rig) -> None:
    fill(rig, 3)
    deep = b'{"order_id":"001-A","deep":' + b"[" * 985 + b"]" * 985 + b"," + b'"raw":"\x01"}'
    mirakl, poller = watched(rig)

    def spoil(page: OrdersPage) -> OrdersPage:
        orders = json.loads(page.body)["orders"]
        parts = [json.dumps(one).encode() if one["order_id"] != "001-A" else deep for one in orders]
        body = b'{"orders":[' + b",".join(parts) + b'],"total_count":%d}' % len(parts)
        return OrdersPage(body, page.read_at, page.server_time)

    mirakl.after = spoil
    outcome = poller.run()
    assert outcome.complete
    assert sorted(ids(rig)) == ["000-A", "002-A"]
    assert dict(outcome.dead_letters) == {"not_json": 1}


@pytest.mark.parametrize("amount", ["1e9999999", "-1e9999999", "sNaN", 10**400])
def test_an_amount_that_python_cannot_add_costs_no_order(rig: Rig, amount: object) -> None:
    fill(rig, 2)
    changes.set_line(rig.mirakl["alpha"], "001-A", "001-A-1", refunds=[{"id": "r", "amount": amount}])
    rig.poll()
    assert [rig.state(id_) for id_ in ("000-A", "001-A")] == ["shipping"] * 2


def test_an_order_that_fails_in_a_way_nobody_foresaw_costs_no_other_order_of_its_page(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(raw: bytes, read_at: datetime) -> tuple[str, Snapshot]:
        order_id, snapshot = snapshot_of(raw, read_at)
        if order_id == "001-A":
            raise ArithmeticError("with a value")
        return order_id, snapshot

    monkeypatch.setattr(poller_module, "snapshot_of", read)
    fill(rig, 3)
    _, poller = watched(rig)
    with capture_logs() as logs:
        outcome = poller.run()
    assert sorted(ids(rig)) == ["000-A", "002-A"]
    assert dict(outcome.dead_letters) == {"bad_field": 1}
    assert [one["detail"] for one in logs if one["event"] == "dead_lettered"] == ["ArithmeticError"]


def test_a_listing_with_too_high_a_total_ends_at_a_page_without_new_orders(rig: Rig) -> None:
    names = fill(rig, 120)
    mirakl, poller = watched(rig)
    mirakl.after = lambda page: OrdersPage(
        page.body.replace(b'"total_count":120', b'"total_count":121'), page.read_at, page.server_time
    )
    assert poller.run().complete
    assert sorted(ids(rig)) == names


def test_an_empty_first_page_with_a_total_leaves_the_listing_unread(rig: Rig) -> None:
    mirakl, poller = watched(rig)
    mirakl.after = lambda page: OrdersPage(b'{"orders":[],"total_count":5}', page.read_at, page.server_time)
    assert not poller.run().complete
    assert cursor_rows.find(rig.store, "alpha") is None


@pytest.mark.parametrize("kind", ["truncated", "503", "429", "timeout_before"])
def test_a_page_that_cannot_be_read_fails_the_run_and_leaves_the_cursor(rig: Rig, kind: str) -> None:
    fill(rig, 150)
    mirakl, poller = watched(rig)

    def fail(query: OrdersQuery, offset: int) -> None:
        if query.updated_from and offset:
            rig.fail("OR11", kind, retry_after_seconds=17)

    mirakl.before = fail
    with pytest.raises((Retryable, Unreadable)) as caught:
        poller.run()
    assert rig.records() == []
    assert cursor_rows.find(rig.store, "alpha") is None
    if kind == "429":
        assert isinstance(caught.value, Retryable)
        assert caught.value.retry_after_seconds == 17
    mirakl.before = lambda *_: None
    assert poller.run().new == 150


# -- A run that Mirakl interrupts (429) ---------------------------------------------------------------------------


def interrupted(rig: Rig, at_offset: int) -> tuple[Watched, Poller]:
    """A run that has read the pages of the window before this offset. The page at this offset was refused."""
    mirakl, poller = watched(rig)

    def refuse(query: OrdersQuery, offset: int) -> None:
        if query.updated_from and offset == at_offset:
            rig.fail("OR11", "429", retry_after_seconds=17)

    mirakl.before = refuse
    with pytest.raises(Retryable):
        poller.run()
    assert poller.is_paused
    mirakl.before = lambda *_: None
    mirakl.asked.clear()
    return mirakl, poller


def test_with_few_calls_a_window_every_page_is_read_once(rig: Rig) -> None:
    names = fill(rig, 450)
    rig.mirakl["alpha"].knobs.throttle["OR11"] = (2, 60.0)
    mirakl, poller = watched(rig)
    refused = 0
    while True:
        try:
            result = poller.run()
            break
        except Retryable as error:
            assert error.retry_after_seconds is not None
            rig.clock.advance(error.retry_after_seconds)
            refused += 1
    assert sorted(ids(rig)) == names
    assert result.complete
    assert refused
    pages = [(query.states, query.updated_from, offset) for query, offset in mirakl.asked]
    assert len(pages) - refused == len(set(pages)), "no page was read twice"


def test_an_interrupted_run_goes_on_at_the_same_page(rig: Rig) -> None:
    fill(rig, 150)
    mirakl, poller = interrupted(rig, 90)
    assert poller.run().new == 150
    assert [offset for _, offset in mirakl.asked] == [90]
    assert not poller.is_paused


def test_an_interrupted_run_begins_anew_after_an_hour(rig: Rig) -> None:
    fill(rig, 150)
    mirakl, poller = interrupted(rig, 90)
    rig.clock.advance(3601)
    assert poller.run().new == 150
    assert len(mirakl.asked) > 1


def test_an_interrupted_run_begins_anew_after_a_reset(rig: Rig) -> None:
    """A reset removes the cursor. A run of before would bring back a cursor, and the old orders would not be read."""
    fill(rig, 150)
    watched(rig)[1].run()
    mirakl, poller = interrupted(rig, 0)
    with rig.store.transaction() as tx:
        cursor_rows.forget(tx, "alpha")
    poller.run()
    assert mirakl.asked[0] == (OrdersQuery(states=SWEPT_STATES), 0)


def test_an_interrupted_run_is_forgotten_if_it_is_told_so(rig: Rig) -> None:
    fill(rig, 150)
    mirakl, poller = interrupted(rig, 90)
    poller.forget()
    assert poller.run().new == 150
    assert len(mirakl.asked) > 1


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


# -- Reads by id --------------------------------------------------------------------------------------------------


def test_orders_that_only_the_oms_reported_are_read_by_id_a_hundred_at_a_time(rig: Rig) -> None:
    for number in range(130):
        old = build_order(ALPHA, f"{number:03d}-A", created=rig.clock.now(), lines=[Line("MUG")], state="RECEIVED")
        rig.mirakl["alpha"].add_order(old)
    rig.clock.advance((FIRST_WINDOW + timedelta(days=1)).total_seconds())  # no window shows them
    for number in range(130):
        _the_oms_reports(rig, f"{number:03d}-A", number)
    rig.consume()
    mirakl, poller = watched(rig)
    poller.run()
    rig.consume()
    asked = [query.order_ids for query, _ in mirakl.asked if query.order_ids]
    assert [len(one) for one in asked] == [100, 30]
    assert {rig.state(f"{number:03d}-A") for number in range(130)} == {"shipped"}


def _the_oms_reports(rig: Rig, order_id: str, oms_id: int = 1) -> None:
    body = json.dumps({"id": oms_id, "external_ref": order_id, "status": 4}).encode()
    rig.take_callback("http://alpha", {}, body)


def test_ids_that_mirakl_does_not_show_do_not_crowd_out_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OMS may report on orders of another shop. Their ids must not delay the read that proves a call."""
    monkeypatch.setattr("consumer.poller.MAX_BY_ID", 3)
    for number in range(6):
        _the_oms_reports(rig, f"foreign-{number}")
    rig.consume()
    mirakl, poller = watched(rig)
    for _ in range(3):
        rig.clock.advance(60)
        poller.run()
    asked = [query.order_ids for query, _ in mirakl.asked if query.order_ids]
    assert [len(one) for one in asked] == [3, 3], "each id once"
    assert len({name for some in asked for name in some}) == 6
    rig.clock.advance(PUBLISHED_FOR.total_seconds())
    poller.run()
    assert mirakl.asked[-1][0].order_ids, "asked for again later"


def test_an_order_gone_from_mirakl_for_a_day_is_told_and_makes_no_further_events(rig: Rig) -> None:
    rig.imported()
    rig.mirakl["alpha"].remove("1-A")
    rig.poll(DAY - 60)
    assert rig.row().facts.not_found == ()
    rig.poll(120)
    assert len(rig.row().facts.not_found) == 1
    rig.poll(DAY - 1)
    assert rig.attention() == []
    rig.poll(2)
    assert rig.attention() == ["gone_from_mirakl"]
    rows = len(rig.journal())
    for _ in range(5):
        rig.poll(DAY)
    assert len(rig.journal()) == rows


@pytest.mark.parametrize(
    ("oms_table", "reasons"),
    [
        ({}, []),
        ({"other_channels": False}, ["unknown_to_mirakl"]),
        ({"external_ref_prefix": "A-"}, ["unknown_to_mirakl"]),
        ({"external_ref_prefix": "A-", "other_channels": True}, []),
    ],
)
def test_an_order_that_only_the_oms_knows_for_a_day_is_told_if_the_company_has_no_other_channels(
    tmp_path: Path, oms_table: dict[str, Any], reasons: list[str]
) -> None:
    """A prefix is the shop's own, so no other channel has it."""
    rig = Rig(tmp_path, oms_table=oms_table)
    keeper = bootstrap.new_housekeeping(rig.base)
    ref = f"{oms_table.get('external_ref_prefix', '')}1-A"
    for status in (4, 512, 8):
        rig.take_callback("http://alpha", {}, json.dumps({"id": 7, "external_ref": ref, "status": status}).encode())
        rig.poll(DAY / 2 - 1)
        keeper.turn()
        assert rig.attention() == ([] if status != 8 else reasons)
    rig.add("1-A", state="SHIPPING")
    rig.poll(DAY)
    assert rig.attention() == []


def test_an_order_that_the_sweep_shows_is_published_once_a_day_and_asked_for_by_no_id(rig: Rig) -> None:
    rig.imported()
    reads = len(rig.records())
    mirakl, poller = watched(rig)
    for _ in range(25):
        rig.clock.advance(DAY / 24)
        poller.run()
        rig.consume()
    assert len(rig.records()) - reads == 1
    assert [query for query, _ in mirakl.asked if query.order_ids] == []
    assert rig.row().facts.not_found == ()


def test_an_order_that_waits_for_its_payment_is_asked_for_by_id_so_that_it_is_missed(rig: Rig) -> None:
    """No sweep shows an order that waits for its payment."""
    rig.add("1-A", state="WAITING_DEBIT")
    rig.poll()
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(3):
        rig.poll(DAY + 1)
    assert "gone_from_mirakl" in rig.attention()


@pytest.mark.parametrize("trouble", ["refused", "cut short"])
def test_a_read_that_mirakl_refuses_or_cuts_short_does_not_show_that_an_order_is_gone(rig: Rig, trouble: str) -> None:
    rig.imported()
    rig.mirakl["alpha"].remove("1-A")
    asked = []

    def answer(request: httpx.Request) -> httpx.Response | None:
        if "order_ids" not in request.url.params:
            return None
        asked.append(request)
        if trouble == "refused":
            return httpx.Response(400, json={"message": "no"})
        return httpx.Response(200, content=b'{"orders": [], "total_count": 1}')

    rig.nets["alpha"].hook = answer
    for _ in range(4):
        rig.poll(DAY + 1)
    assert asked
    assert rig.row().facts.not_found == ()


def test_ids_of_many_bytes_keep_the_url_below_4_kb(rig: Rig) -> None:
    """The ids come from the OMS. Some gateways refuse a longer URL, and httpx refuses a URL of 64 kB."""
    names = [f"{number:02d}-" + "\u6f22" * 197 for number in range(40)]
    for name in names:
        _the_oms_reports(rig, name)
    rig.consume()
    urls: list[str] = []
    rig.nets["alpha"].hook = lambda request: urls.append(str(request.url))
    assert rig.pollers["alpha"].run().complete
    assert max(len(url) for url in urls) < 4_000
    asked = [name for url in urls for name in httpx.URL(url).params.get("order_ids", "").split(",") if name]
    assert sorted(asked) == names


def test_an_id_that_mirakl_refuses_does_not_stop_the_poll(rig: Rig) -> None:
    """The id comes from the OMS. Because of its commas Mirakl reads it as more than a hundred ids."""
    worst = ",".join("x" * 90)
    rig.mirakl["alpha"].add_order(
        build_order(ALPHA, "1-A", created=rig.clock.now(), lines=[Line("MUG")], state="RECEIVED")
    )
    rig.clock.advance((FIRST_WINDOW + timedelta(days=1)).total_seconds())
    for order_id in (worst, "1-A", "2-A", "3-A"):
        _the_oms_reports(rig, order_id)
    rig.consume()
    refused = rig.nets["alpha"]
    refused.hook = lambda request: httpx.Response(400) if worst in request.url.params.get("order_ids", "") else None
    with capture_logs() as lines:
        outcome = rig.pollers["alpha"].run()
    rig.consume()
    assert outcome.complete
    assert rig.state("1-A") == "shipped"
    assert [line["event"] for line in lines] == ["id_refused"]
    assert cursor_rows.find(rig.store, "alpha") is not None


def test_a_listing_without_ids_that_mirakl_refuses_fails_the_run(rig: Rig) -> None:
    rig.nets["alpha"].hook = lambda _request: httpx.Response(400)
    with pytest.raises(Rejected):
        rig.pollers["alpha"].run()
    assert cursor_rows.find(rig.store, "alpha") is None


# -- Dead letters -------------------------------------------------------------------------------------------------


def bad_order(rig: Rig) -> Callable[[OrdersPage], OrdersPage]:
    return lambda page: OrdersPage(
        page.body.replace(b'"order_id":"001-A"', b'"order_id":""'), page.read_at, page.server_time
    )


def dead_letters(rig: Rig) -> list[sa.Row[Any]]:
    with rig.store.reading() as connection:
        return list(connection.execute(sa.select(s.dead_letters)))


def test_an_order_without_id_is_dead_lettered_and_the_rest_of_its_page_is_published(rig: Rig) -> None:
    fill(rig, 3)
    mirakl, poller = watched(rig)
    mirakl.after = bad_order(rig)
    with capture_logs() as lines:
        outcome = poller.run()
    assert sorted(ids(rig)) == ["000-A", "002-A"]
    (one,) = dead_letters(rig)
    assert one.source == "poll:alpha"
    assert one.reason == "missing_field"
    assert one.detail == "order_id"
    assert json.loads(one.value)["order_id"] == ""
    assert cursor_rows.find(rig.store, "alpha") is not None
    assert dict(outcome.dead_letters) == {"missing_field": 1}
    assert [line["event"] for line in lines] == ["dead_lettered"]
    assert "canary" not in json.dumps(lines).lower()


def test_an_order_that_stays_unusable_is_not_dead_lettered_in_every_run(rig: Rig) -> None:
    """An alert fires at ten dead letters within 15 minutes. One order alone must not cause that."""
    fill(rig, 3)
    mirakl, poller = watched(rig)
    mirakl.after = bad_order(rig)
    counted = 0
    for _ in range(15):
        rig.clock.advance(60)
        counted += sum(poller.run().dead_letters.values())
    assert counted == 2
    assert dead_letters(rig)[0].times == 2


def test_an_unusable_order_whose_content_changes_is_one_dead_letter(rig: Rig) -> None:
    fill(rig, 3)
    mirakl, poller = watched(rig)
    for price in (b"1", b"2", b"3"):
        unusable = b'"order_id":"001-A\\u0000","x":' + price
        mirakl.after = lambda page, unusable=unusable: OrdersPage(  # type: ignore[misc]
            page.body.replace(b'"order_id":"001-A"', unusable), page.read_at, page.server_time
        )
        rig.clock.advance(660)  # a repeat within PUBLISHED_FOR (ten minutes) would not be counted
        poller.run()
    (letter,) = dead_letters(rig)
    assert (letter.reason, letter.times) == ("bad_id", 3)
    assert json.loads(letter.value)["x"] == 3


def offered(rig: Rig, seconds: float) -> int:
    """Poll once after this time. Returns how many records it published."""
    before = len(rig.records())
    rig.poll(seconds)
    return len(rig.records()) - before


def test_an_order_that_the_consumer_cannot_use_is_offered_again_when_it_changes_or_after_a_day(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was offered six times an hour, and each time it was another dead letter."""

    def breaks(*_: object) -> Plan:
        raise OverflowError

    monkeypatch.setattr("consumer.planning.plan", breaks)
    rig.add("1-A")
    assert offered(rig, 1) == 1
    assert sum(offered(rig, 660) for _ in range(6)) == 0
    (letter,) = dead_letters(rig)
    assert (letter.reason, letter.times) == ("quarantined", 1)
    rig.mirakl["alpha"].accept_in_portal("1-A")
    assert offered(rig, 660) == 1
    (letter,) = dead_letters(rig)
    assert letter.times == 2
    assert offered(rig, 660) == 0
    monkeypatch.undo()
    assert offered(rig, 24 * 3600) == 1
    assert rig.row().order_id == "1-A"


def test_an_order_is_stored_byte_for_byte_as_received(rig: Rig) -> None:
    """Also with unusual spaces, numbers and order of fields."""
    order = json.loads(rig_body(rig))
    odd = (
        b'{ "order_id" :\t"1-A",\r\n "order_state": "WAITING_ACCEPTANCE" , "price":12.000, "x":1E2,'
        b' "y":"\\u00e9\xc3\xa9",'
        b' "order_lines":[ {"order_line_id":"1-A-1" ,"quantity": 2,"offer_sku":"MUG"} ],'
        b'"last_updated_date":' + json.dumps(order["last_updated_date"]).encode() + b" }"
    )
    page = b'{\n"total_count": 1 ,"orders" : [\n  ' + odd + b"\n] }"
    rig.nets["alpha"].hook = lambda _request: httpx.Response(200, content=page)
    rig.pollers["alpha"].run()
    rig.consume()
    row = rig.row()
    assert snapshot_rows.find(rig.store, row.key, row.digest) == odd
    assert row.state == "waiting_acceptance"


def rig_body(rig: Rig) -> bytes:
    rig.add("1-A")
    return rig.mirakl["alpha"].listing.body("1-A")


def test_hooks_are_called_for_every_published_page(rig: Rig) -> None:
    fill(rig, 150)
    published: list[int] = []
    rig.new_poller(hooks=AfterPage(lambda: published.append(len(rig.records())))).run()
    assert len(published) == 4
    assert all(one <= other for one, other in pairwise(published))


def test_records_are_keyed_by_shop_and_order(rig: Rig) -> None:
    rig.add("1-A")
    rig.poll()
    (record,) = rig.records(SNAPSHOTS)
    assert record.record_key == b"alpha:1-A"


# -- Under its lease ----------------------------------------------------------------------------------------------


def taken_over(rig: Rig) -> None:
    """Make this process hang until another one has the lease."""
    rig.clock.advance(31)
    assert Leases(rig.store, rig.clock, "another", 30).take(poll_lease("alpha"))


def under_lease(rig: Rig, **options: Any) -> Poller:
    return rig.new_poller(lease=lambda: rig.leases.kept(poll_lease("alpha")), **options)


def test_a_lease_lost_while_reading_ends_the_run_before_anything_is_published(rig: Rig) -> None:
    fill(rig, 250)
    mirakl = Watched(rig)
    mirakl.before = lambda _query, offset: taken_over(rig) if offset == 90 else None
    with pytest.raises(Fenced):
        under_lease(rig, mirakl=mirakl).run()
    assert [offset for _, offset in mirakl.asked] == [0, 90], "no page is read after the one that was under way"
    assert ids(rig) == []
    assert cursor_rows.find(rig.store, "alpha") is None


def test_a_lease_lost_between_two_pages_ends_the_run_and_nothing_more_is_published(rig: Rig) -> None:
    under_lease(rig).run()
    before = cursor_rows.find(rig.store, "alpha")
    names = fill(rig, 250)
    runs: list[str] = []

    class Overtaken(AfterPage):
        def poll_ended(self, shop: str, result: PollResult, seconds: float) -> None:
            runs.append(shop)

    poller = under_lease(rig, hooks=Overtaken(lambda: taken_over(rig)))
    with pytest.raises(Fenced):
        poller.run()
    assert sorted(ids(rig)) == names[:100], "one page"
    assert cursor_rows.find(rig.store, "alpha") == before
    assert runs == []
    with pytest.raises(Fenced):
        poller.run()


def test_a_lease_lost_after_the_last_page_does_not_move_the_cursor(rig: Rig) -> None:
    """The new holder may have read further, or a reset may have removed the cursor."""
    rig.add("1-A")
    lease = rig.leases.kept(poll_lease("alpha"))
    poller = rig.new_poller(lease=lambda: lease, hooks=AfterPage(lambda: taken_over(rig)))
    with pytest.raises(Fenced):
        poller.run()
    assert cursor_rows.find(rig.store, "alpha") is None


def test_the_next_holder_of_the_lease_reads_what_is_missing(rig: Rig) -> None:
    names = fill(rig, 250)
    with pytest.raises(Fenced):
        under_lease(rig, hooks=AfterPage(lambda: taken_over(rig))).run()
    another = Leases(rig.store, rig.clock, "another", 30)
    another.take(poll_lease("alpha"))
    rig.new_poller(lease=lambda: another.kept(poll_lease("alpha"))).run()
    assert sorted(set(ids(rig))) == names
