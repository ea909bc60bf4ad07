"""Orders whose calls rest because their operation fails for other orders: they are told, and shipped in time."""

from datetime import timedelta

import httpx
import pytest

from adapters.store.budgets import BudgetWindow
from consumer.operations.causes import attention_reasons
from statemachine.commands import Policy
from tests.consumer.rig import Hook, Rig


def refusing(status: int, path: str, **headers: str) -> Hook:
    return lambda request: httpx.Response(status, headers=headers) if path in request.url.path else None


def details(rig: Rig, order_id: str) -> list[str]:
    return [one.detail for one in rig.row(order_id).attention if one.reason == "retrying"]


def dispatched(rig: Rig, count: int) -> list[str]:
    """Orders that were imported and sent, whose trackings are due."""
    orders = [f"{number}-A" for number in range(count)]
    for order_id in orders:
        rig.imported(order_id)
    for number, order_id in enumerate(orders):
        rig.oms.dispatch(order_id, tracking=f"T{number}", carrier="DPD UK")
    rig.consume()
    return orders


@pytest.mark.parametrize("hook", [refusing(403, "/tracking"), refusing(500, "/tracking")], ids=["403", "circuit"])
def test_a_tracking_that_rests_holds_the_shipment_for_an_hour_from_when_it_was_due(rig: Rig, hook: Hook) -> None:
    rig.nets["alpha"].hook = hook
    orders = dispatched(rig, 12)
    rig.pass_time(minutes=15)
    assert [details(rig, one) != [] for one in orders] == [True] * 12, "each is told"
    assert "send_tracking#0 OR23 resting" in [details(rig, one)[0] for one in orders]
    rig.pass_time(minutes=40)
    assert {tuple(rig.effects(one)) for one in orders} == {("imported",)}
    rig.pass_time(minutes=10)
    assert {tuple(rig.effects(one)) for one in orders} == {("imported", "shipped")}
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=20)
    assert {tuple(rig.effects(one)) for one in orders} == {("imported", "shipped", "tracking")}
    assert {tuple(rig.attention(one)) for one in orders} == {()}


def test_orders_behind_a_refused_key_are_told_whatever_their_call_is(rig: Rig) -> None:
    rig.nets["alpha"].hook = refusing(401, "/accept")
    for number in range(6):
        rig.add(f"{number}-A")
    rig.pass_time(minutes=15)
    told = [details(rig, f"{number}-A")[0] for number in range(6)]
    assert {*told} == {"accept_order#0 OR21 401", "accept_order#0 OR21 resting"}
    rows = [rig.row(f"{number}-A") for number in range(6)]
    causes = [reason.cause for row in rows for reason in attention_reasons(row, (), Policy())]
    assert any(cause.endswith("the call is not made now, because it fails for other orders too") for cause in causes)


def test_a_call_that_becomes_due_while_its_operation_rests_counts_from_then(rig: Rig) -> None:
    rig.nets["alpha"].hook = refusing(403, "/tracking")
    dispatched(rig, 1)
    rig.pass_time(minutes=50)
    rig.imported("9-A")
    rig.oms.dispatch("9-A", tracking="T9", carrier="DPD UK")
    rig.pass_time(minutes=50)
    assert rig.effects("9-A") == ["imported"]
    rig.pass_time(minutes=15)
    assert rig.effects("9-A") == ["imported", "shipped"]


def test_a_pause_for_a_moment_tells_nobody(rig: Rig) -> None:
    orders = dispatched(rig, 3)
    rig.nets["alpha"].hook = refusing(403, "/tracking")
    rig.work()
    rig.nets["alpha"].hook = lambda _request: None
    rig.pass_time(minutes=3)
    assert sum(len(rig.row(one).facts.troubles) for one in orders) == 1
    assert [rig.effects(one) for one in orders] == [["imported", "tracking", "shipped"]] * 3


def test_orders_of_a_shop_whose_effects_are_off_are_not_told(rig: Rig) -> None:
    rig.nets["alpha"].hook = refusing(403, "/tracking")
    orders = dispatched(rig, 3)
    rig.work()
    rig.switch(paused=("ship",))
    rig.pass_time(minutes=30)
    assert sum(len(rig.row(one).facts.troubles) for one in orders) == 1


def test_a_spent_budget_is_no_failure(rig: Rig) -> None:
    for number in range(3):
        rig.add(f"{number}-A", state="SHIPPING")
    rig.poll()
    rig.worker = rig.new_worker((BudgetWindow("hour", timedelta(hours=1), 1),))
    rig.work()
    rig.pass_time(minutes=30)
    assert sorted(tuple(rig.effects(f"{number}-A")) for number in range(3)) == [(), (), ("imported",)]
    assert [rig.attention(f"{number}-A") for number in range(3)] == [[]] * 3
