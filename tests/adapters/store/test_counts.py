"""Counts: what the gauges read."""

from dataclasses import replace

from adapters.ports import NewRecord
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import order_lists
from adapters.store import orders as order_rows
from adapters.store import outbox as outbox_rows
from adapters.store.counts import StoredCounts, Waiting, stored_counts, unconfigured
from adapters.store.dead_letters import DeadLetter
from adapters.store.orders import OrderChange
from adapters.store.outbox import OutboxRow
from statemachine.reason_of_order import StandingAttention
from statemachine.reasons import Reason
from statemachine.states import State
from tests.adapters.store.support import IMPORT, NOW, TRACK, Desk, later


def test_what_waits_is_counted_with_its_oldest(desk: Desk) -> None:
    desk.open(IMPORT)
    desk.open(TRACK, order_id="O-2", at=later(5))
    desk.open(IMPORT, order_id="O-3", shop="beta")
    with desk.store.transaction() as tx:
        held = order_rows.lock(tx, [("alpha", "O-1"), ("alpha", "O-2")], NOW)
        order_rows.save(
            tx,
            [
                OrderChange(replace(row, version=1, attention=(StandingAttention(Reason.HELD, since=later(n)),)), 0)
                for n, row in enumerate(held.values(), 1)
            ],
        )
        dead = order_rows.lock(tx, [("alpha", "O-4")], NOW)["alpha", "O-4"]
        order_rows.save(tx, [OrderChange(replace(dead, version=1, state=State.CANCELED), 0)])
        dead_letter_rows.add(tx, [DeadLetter("topic", "p", "not_json", "", "d", None, None)], NOW)
        for at in (later(3), later(4)):
            outbox_rows.add(tx, [OutboxRow("type", NewRecord("transitions", None, b""))], at)
    counts = stored_counts(desk.store)
    assert counts.in_state == {("alpha", "new"): Waiting(2, NOW), ("beta", "new"): Waiting(1, NOW)}
    assert counts.attention == {("alpha", "held"): Waiting(2, later(1))}
    assert counts.commands == {
        ("alpha", "import_order"): Waiting(1, NOW),
        ("beta", "import_order"): Waiting(1, NOW),
        ("alpha", "send_tracking"): Waiting(1, later(5)),
    }
    assert counts.dead_letters == {("topic", "not_json"): 1}
    assert counts.outbox == {"transitions": Waiting(2, later(3))}
    assert [order.order_id for order in order_lists.latest(desk.store, attention=True)] == ["O-2", "O-1"]
    assert [order.order_id for order in order_lists.latest(desk.store, shop="alpha", states=["canceled"])] == ["O-4"]


def test_a_call_that_keeps_failing_counts_from_the_moment_it_became_due(desk: Desk) -> None:
    (track,) = desk.open(TRACK, at=later(5))
    desk.lease(track, now=later(5))
    desk.requeue(track, next_at=later(900))
    assert stored_counts(desk.store).commands == {("alpha", "send_tracking"): Waiting(1, later(5))}


def test_open_orders_of_shops_that_are_not_configured_leave_out_what_only_the_oms_knew() -> None:
    """Only configured shops have their orders of the OMS alone forgotten, so these would count for ever."""
    waiting = Waiting(2, NOW)
    in_state: dict[tuple[str, str], Waiting] = {
        ("alpha", State.SHIPPING): waiting,
        ("gone", State.IMPORTED): waiting,
        ("gone", State.NEW): waiting,
    }
    counts = StoredCounts(in_state, {}, {}, {}, {})
    assert unconfigured(counts, ["alpha"]) == {("gone", State.IMPORTED): waiting}
    assert unconfigured(counts, ["alpha", "gone"]) == {}
