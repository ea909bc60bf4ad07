"""How a poll reads: pages, interruptions, the lease."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from adapters.errors import Cause, Fenced, Retryable, Unreadable
from adapters.messages.snapshots import snapshot_of
from adapters.ports import OrdersPage, OrdersQuery
from adapters.remotes.http import CallOutcome
from adapters.simulators.mirakl import changes
from adapters.store import cursors as cursor_rows
from consumer.hooks import PollResult
from consumer.leases import Leases, poll_lease
from consumer.polling import poller as poller_module
from consumer.polling import spool as spool_module
from consumer.polling.poller import FIRST_WINDOW, SWEPT_STATES, Poller
from statemachine.facts import Snapshot
from tests.consumer.polling.polling import Watched, fill, ids, watched
from tests.consumer.rig import AfterPage, Rig

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


def test_a_listing_that_is_too_large_for_its_file_ends_as_one_with_too_many_pages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = fill(rig, 350)
    monkeypatch.setattr(spool_module, "MAX_SPOOL_BYTES", 100_000)
    with capture_logs() as lines:
        outcome = rig.pollers["alpha"].run()
    assert not outcome.complete
    assert set(ids(rig)) < set(names)
    assert cursor_rows.find(rig.store, "alpha") is None
    assert "listing_never_ends" in [line["event"] for line in lines]


@pytest.mark.parametrize("longest", [40, 12, 3])
def test_a_page_that_is_longer_than_we_read_is_asked_for_with_fewer_orders(rig: Rig, longest: int) -> None:
    names = fill(rig, 40)
    mirakl, poller = watched(rig)

    def refuse(query: OrdersQuery, _offset: int) -> None:
        if query.most > longest:
            raise Retryable("OR11", CallOutcome.NETWORK, words="BodyTooLong", cause=Cause.TOO_LONG)

    mirakl.before = refuse
    assert poller.run().complete
    assert sorted(ids(rig)) == names
    assert {query.most for query, _ in mirakl.asked} <= {25, 12, 3}


def test_a_page_that_is_too_long_with_three_orders_fails_the_run(rig: Rig) -> None:
    fill(rig, 4)
    mirakl, poller = watched(rig)
    asked: list[int] = []

    def refuse(query: OrdersQuery, _offset: int) -> None:
        asked.append(query.most)
        raise Retryable("OR11", CallOutcome.NETWORK, words="BodyTooLong", cause=Cause.TOO_LONG)

    mirakl.before = refuse
    with pytest.raises(Retryable):
        poller.run()
    assert asked == [100, 50, 25, 12, 6, 3]


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


def test_only_orders_whose_bytes_changed_are_parsed_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def read(raw: bytes, read_at: datetime) -> tuple[str, Snapshot]:
        order_id, snapshot = snapshot_of(raw, read_at)
        parsed.append(order_id)
        return order_id, snapshot

    monkeypatch.setattr(poller_module, "snapshot_of", read)
    names = fill(rig, 3)
    _, poller = watched(rig)
    poller.run()
    assert sorted(set(parsed)) == names
    rig.consume()
    parsed.clear()
    rig.clock.advance(60)
    assert poller.run().same
    assert parsed == []
    rig.clock.advance(60)
    changes.set_fields(rig.mirakl["alpha"], names[1], customer_notification_email="another@example.test")
    assert poller.run().changed == 1
    assert set(parsed) == {names[1]}


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
