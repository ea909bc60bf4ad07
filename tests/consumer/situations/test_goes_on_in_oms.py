"""Orders that the OMS was told to stop, and that are to be sent again: a person has to let them go on there."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell

Change = Callable[[MiraklSimulator], None]


def state(state: str) -> Change:
    return lambda mirakl: changes.put_in_state(mirakl, "1-A", state)


def undo_shipment(mirakl: MiraklSimulator) -> None:
    changes.set_line(mirakl, "1-A", "1-A-1", order_line_state="SHIPPING")
    changes.put_in_state(mirakl, "1-A", "SHIPPING")


def line_state(state: str) -> Change:
    return lambda mirakl: changes.set_line(mirakl, "1-A", "1-A-1", order_line_state=state)


def centre(code: str) -> Change:
    return lambda mirakl: changes.set_centre(mirakl, "1-A", code)


STOPS = [
    pytest.param(centre("ELSEWHERE"), centre("DEFAULT"), "not_ours_to_ship", id="centre"),
    pytest.param(state("WAITING_DEBIT_PAYMENT"), state("SHIPPING"), "payment_awaited_again", id="payment"),
    pytest.param(line_state("INCIDENT_OPEN"), line_state("SHIPPING"), "line_incident", id="incident"),
    pytest.param(state("SHIPPED"), undo_shipment, "shipped_elsewhere", id="shipped"),
]


@pytest.mark.parametrize(("begins", "ends", "reason"), STOPS)
def test_an_order_that_is_to_be_sent_again_is_told_until_a_person_let_it_go_on(
    rig: Rig, begins: Change, ends: Change, reason: str
) -> None:
    rig.imported()
    for _ in range(2):
        rig.clock.advance(60)
        begins(rig.mirakl["alpha"])
        rig.poll(600)
        assert rig.attention() == [reason]
        ends(rig.mirakl["alpha"])
        rig.poll(600)
        assert rig.attention() == ["go_on_in_oms"]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


@pytest.mark.parametrize(("begins", "ends", "reason"), STOPS[1:])
def test_a_stop_between_the_last_read_and_the_import_is_told_too(
    rig: Rig, begins: Change, ends: Change, reason: str
) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.clock.advance(10)
    begins(rig.mirakl["alpha"])
    rig.clock.advance(10)
    rig.work()
    rig.poll(600)
    assert (rig.effects(), rig.attention()) == (["imported"], [reason])
    ends(rig.mirakl["alpha"])
    rig.poll(600)
    assert rig.attention() == ["go_on_in_oms"]


def set_lines(rig: Rig, state: str, *lines: str) -> None:
    rig.clock.advance(60)
    for line in lines:
        changes.set_line(rig.mirakl["alpha"], "1-A", line, order_line_state=state)
    rig.poll()


def go_on(rig: Rig) -> list[str]:
    """What stopped the order or its lines."""
    found = [one.detail for one in rig.row().attention if one.reason == "go_on_in_oms"]
    return [detail.partition(" until ")[0] for detail in found]


def test_each_line_that_was_stopped_is_named(rig: Rig) -> None:
    rig.imported(lines=2)
    set_lines(rig, "INCIDENT_OPEN", "1-A-1", "1-A-2")
    set_lines(rig, "SHIPPING", "1-A-1", "1-A-2")
    assert go_on(rig) == ["incident of 1-A-1", "incident of 1-A-2"]
    decide(rig, DecisionKind.SETTLE)
    set_lines(rig, "INCIDENT_OPEN", "1-A-1", "1-A-2")
    set_lines(rig, "SHIPPING", "1-A-1")
    set_lines(rig, "SHIPPING", "1-A-2")
    assert go_on(rig) == ["incident of 1-A-1", "incident of 1-A-2"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


@pytest.mark.parametrize("pieces", [3, 1])
def test_a_refund_that_is_rejected_before_its_settle_goes_on_in_the_oms(rig: Rig, pieces: int) -> None:
    rig.imported(lines=2, quantity=3)
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", pieces)
    rig.poll()
    assert rig.attention() == ["lines_canceled_after_import"]
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    rig.poll()
    assert go_on(rig) == [{3: "taken back: 1-A-1", 1: "taken back in part: 1-A-1"}[pieces]]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_an_order_that_was_taken_back_for_a_while_goes_on_in_the_oms(rig: Rig) -> None:
    rig.imported(lines=2)
    set_lines(rig, "CANCELED", "1-A-1", "1-A-2")
    assert rig.attention() == ["withdrawn_after_import"]
    set_lines(rig, "SHIPPING", "1-A-1", "1-A-2")
    assert go_on(rig) == ["taken back: 1-A-1", "taken back: 1-A-2"]


def test_an_older_settle_about_the_line_does_not_hide_the_end_of_its_incident(rig: Rig) -> None:
    rig.imported(lines=2)
    set_lines(rig, "CANCELED", "1-A-1")
    decide(rig, DecisionKind.SETTLE)
    set_lines(rig, "SHIPPING", "1-A-1")
    assert list(details(rig)) == ["lines_added_after_import"]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    set_lines(rig, "INCIDENT_OPEN", "1-A-1")
    set_lines(rig, "SHIPPING", "1-A-1")
    assert go_on(rig) == ["incident of 1-A-1"]


def test_an_order_that_was_gone_and_is_back_is_told_if_a_person_stopped_it(rig: Rig) -> None:
    rig.imported()
    order = deepcopy(rig.mirakl["alpha"].order("1-A"))
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(60):
        rig.poll(3600)
    assert rig.attention() == ["gone_from_mirakl"]
    decide(rig, DecisionKind.SETTLE)
    rig.mirakl["alpha"].add_order(order)
    for _ in range(60):
        rig.poll(3600)
    assert rig.attention() == ["go_on_in_oms"]


def test_goods_that_leave_show_that_the_oms_goes_on(rig: Rig) -> None:
    rig.imported()
    for change in (centre("ELSEWHERE"), centre("DEFAULT")):
        change(rig.mirakl["alpha"])
        rig.poll(600)
    assert list(details(rig)) == ["go_on_in_oms"]
    tell(rig, 8)
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)


def test_what_was_so_before_the_import_is_told_by_no_reason(rig: Rig) -> None:
    rig.add("1-A", state="WAITING_DEBIT_PAYMENT")
    for change in (state("SHIPPING"), centre("ELSEWHERE"), centre("DEFAULT")):
        rig.poll(600)
        change(rig.mirakl["alpha"])
    rig.poll(600)
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_a_shop_whose_own_centres_leave_default_out_is_told_that_an_order_comes_back_from_there(tmp_path: Path) -> None:
    rig = Rig(tmp_path, shop_table={"fulfilment_centres": frozenset({"PORTO"})})
    rig.mirakl["alpha"].own_centers.add("PORTO")
    rig.add("1-A", state="SHIPPING")
    centre("PORTO")(rig.mirakl["alpha"])
    rig.poll()
    rig.work()
    assert (rig.state(), rig.attention()) == ("imported", [])
    for _ in range(2):
        rig.clock.advance(60)
        centre("DEFAULT")(rig.mirakl["alpha"])
        rig.poll(600)
        assert rig.attention() == ["not_ours_to_ship"]
        centre("PORTO")(rig.mirakl["alpha"])
        rig.poll(600)
        assert go_on(rig) == ["centre DEFAULT"]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_an_order_that_is_always_of_the_centre_default_keeps_no_stop(rig: Rig) -> None:
    rig.imported()
    rig.poll(600)
    facts = rig.row().facts
    assert (facts.stops, facts.stops_read) == ((), ())


def leave(rig: Rig, *lines: str) -> None:
    """Let a parcel with these lines leave."""
    items = [{"external_ref": line, "quantity": 1} for line in lines]
    tell(rig, 512, new_shipments=[{"tracking": f"T {lines}", "items": items}])


def test_what_left_before_a_read_showed_the_stop_does_not_show_that_the_oms_goes_on(rig: Rig) -> None:
    """A person stops the rest when a read shows the stop, though Mirakl dates it before the parcel."""
    rig.imported(lines=2)
    rig.clock.advance(60)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    leave(rig, "1-A-1")
    rig.poll(600)
    assert "payment_awaited_again" in rig.attention()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll(600)
    assert "go_on_in_oms" in rig.attention()
    leave(rig, "1-A-2")
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)
