"""Somebody decides by a clock that is ahead, so that every later decision on the order is dated after that.

What counts is what a person knew, not the date of the decision: what Mirakl shows and the OMS reports until then is
news all the same.
"""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind, Tracking
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import details, tell

L1, L2 = "1-A-1", "1-A-2"
HOUR = 3_600.0
#: How far the clock of the first person was ahead, in seconds.
each_clock = pytest.mark.parametrize("seconds", [0.0, HOUR], ids=["right", "ahead"])


def decide(rig: Rig, kind: DecisionKind, seconds: float = 0, **more: object) -> None:
    """A person decides by a clock that is so many seconds ahead."""
    rig.clock.advance(10)
    at = rig.clock.now() + timedelta(seconds=seconds)
    act = operations.Act(kind, "ana", "agreed", at, **more)  # type: ignore[arg-type]
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()


def ahead(rig: Rig, seconds: float = HOUR) -> None:
    """Ben decides by a clock that is ahead. The clocks of all others are right."""
    decide(rig, DecisionKind.HOLD, seconds)
    decide(rig, DecisionKind.RELEASE, only=("held",))


def settle(rig: Rig) -> None:
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, only=(reason,))


def vouch(rig: Rig, number: str = "", seconds: float = 0) -> None:
    tracking = Tracking("DPD", number) if number else Tracking()
    decide(rig, DecisionKind.SENT, seconds, tracking=tracking)


def show(rig: Rig, state: str, line: str = L2) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", line, order_line_state=state)
    rig.poll(60)


def put_in_state(rig: Rig, state: str) -> None:
    rig.clock.advance(60)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll(60)
    rig.work()


def oms_sends(rig: Rig, number: str = "", **more: object) -> None:
    tell(rig, 8, shipping_carrier="UPS", shipping_tracking=number, **more)
    rig.poll(300)
    rig.work()


def shown(rig: Rig) -> str:
    return str(rig.mirakl["alpha"].order("1-A")["shipping_tracking"] or "")


# -- What Mirakl shows after a settle --------------------------------------------------------------------------------


@each_clock
@pytest.mark.parametrize("stop", ["INCIDENT_OPEN", "CANCELED"])
def test_a_second_stop_that_nobody_settled_ends(rig: Rig, stop: str, seconds: float) -> None:
    rig.imported(lines=2)
    ahead(rig, seconds)
    for state in (stop, "SHIPPING"):
        show(rig, state)
        settle(rig)
        assert rig.attention() == []
    show(rig, stop)
    show(rig, "SHIPPING")
    assert rig.attention() == ["go_on_in_oms"]
    settle(rig)
    assert rig.attention() == []


@each_clock
def test_a_line_that_was_stopped_once_more_and_that_only_our_shipment_marked(rig: Rig, seconds: float) -> None:
    rig.imported(lines=2)
    ahead(rig, seconds)
    for state in ("INCIDENT_OPEN", "SHIPPING"):
        show(rig, state)
        settle(rig)
    show(rig, "INCIDENT_OPEN")
    parcel = {"tracking": "T1", "items": [{"external_ref": L1, "quantity": 1}]}
    tell(rig, 512, new_shipments=[parcel])
    rig.poll(300)
    rig.work()
    assert "shipped" in rig.effects()
    show(rig, "SHIPPED")
    assert details(rig)["lines_added_after_import"] == f"{L2} (0, now 1)"


@each_clock
def test_an_order_that_mirakl_shows_again_after_a_settle(rig: Rig, seconds: float) -> None:
    rig.imported()
    order = deepcopy(rig.mirakl["alpha"].order("1-A"))
    rig.mirakl["alpha"].remove("1-A")
    for _ in range(60):
        rig.poll(HOUR)
    assert rig.attention() == ["gone_from_mirakl"]
    decide(rig, DecisionKind.SETTLE, 1_000 * seconds)
    rig.mirakl["alpha"].add_order(order)
    for _ in range(30):
        rig.poll(HOUR)
    assert rig.attention() == ["go_on_in_oms"]


@each_clock
def test_an_order_that_was_imported_by_hand_and_was_another_centres_for_a_while(rig: Rig, seconds: float) -> None:
    rig.fail("order", "answer", status=400, content='{"error": {"message": "No", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HANDLED, seconds, call="import_order")
    for code in ("ELSEWHERE", "DEFAULT"):
        rig.clock.advance(60)
        changes.set_centre(rig.mirakl["alpha"], "1-A", code)
        rig.poll(60)
    assert rig.attention() == ["go_on_in_oms"]


@each_clock
def test_an_order_that_is_put_back_after_a_vouch_is_not_marked_shipped_again(rig: Rig, seconds: float) -> None:
    rig.imported()
    ahead(rig, seconds)
    vouch(rig, "V1")
    rig.poll(300)
    assert rig.state() == "shipped"
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, order_line_state="SHIPPING", shipped_date=None)
    put_in_state(rig, "SHIPPING")
    assert (rig.attention(), rig.effects().count("shipped")) == (["shipped_before"], 1)


def test_a_number_that_a_person_corrects_after_the_shipment_is_no_second_shipment(rig: Rig) -> None:
    """It says nothing of goods that left since: if the order is put back, a person is asked."""
    rig.imported()
    vouch(rig, "V1")
    rig.poll(300)
    rig.switch(paused=("ship",))
    vouch(rig, "V2")
    rig.switch()
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, order_line_state="SHIPPING", shipped_date=None)
    put_in_state(rig, "SHIPPING")
    assert (rig.attention(), rig.effects().count("shipped")) == (["shipped_before"], 1)


# -- What the OMS reports after a decision ---------------------------------------------------------------------------


@each_clock
def test_the_oms_works_on_goods_that_a_person_said_had_left(rig: Rig, seconds: float) -> None:
    rig.imported()
    ahead(rig, seconds)
    vouch(rig, "V1")
    rig.poll(300)
    tell(rig, 4)
    assert rig.attention() == ["shipped_elsewhere"]


@each_clock
@pytest.mark.parametrize("number", ["", "V1"])
def test_the_oms_sends_goods_without_a_number_after_a_vouch(rig: Rig, number: str, seconds: float) -> None:
    rig.imported()
    ahead(rig, seconds)
    vouch(rig, number)
    oms_sends(rig)
    assert rig.attention() == ["shipped_elsewhere"]


@each_clock
def test_a_settle_knows_nothing_that_the_oms_reports_after_it(rig: Rig, seconds: float) -> None:
    """The date of a vouch is not a report of the OMS."""
    rig.imported()
    vouch(rig, "V1", seconds)
    oms_sends(rig, "T7")
    assert rig.attention() == ["shipped_elsewhere"]
    settle(rig)
    assert rig.attention() == []
    oms_sends(rig, "T8")
    assert rig.attention() == ["shipped_elsewhere"]


@each_clock
def test_the_number_that_the_oms_corrects_last_counts(rig: Rig, seconds: float) -> None:
    rig.imported()
    oms_sends(rig, "T7")
    ahead(rig, seconds)
    vouch(rig, "V7")
    oms_sends(rig, "T8")
    assert (shown(rig), rig.attention()) == ("T8", [])


@each_clock
def test_the_number_that_a_person_names_last_counts(rig: Rig, seconds: float) -> None:
    rig.imported()
    vouch(rig, "V1", seconds)
    rig.poll(300)
    vouch(rig, "V2")
    rig.poll(300)
    assert shown(rig) == "V2"


@each_clock
def test_what_the_oms_cancels_as_a_settle_says_asks_nobody(rig: Rig, seconds: float) -> None:
    rig.imported(lines=2)
    show(rig, "CANCELED")
    decide(rig, DecisionKind.SETTLE, seconds)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": L2, "quantity": 1}]}])
    assert rig.attention() == []


def names_a_foreign_number(rig: Rig) -> None:
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_company="UPS", shipping_tracking="F1")


@each_clock
@pytest.mark.parametrize("names", [vouch, lambda rig, number, _seconds: oms_sends(rig, number)], ids=["person", "oms"])
def test_a_foreign_number_is_settled_whoever_named_ours(
    rig: Rig, names: Callable[[Rig, str, float], None], seconds: float
) -> None:
    rig.imported()
    names_a_foreign_number(rig)
    rig.poll(60)
    names(rig, "V1", seconds)
    assert rig.attention() == ["foreign_tracking"]
    settle(rig)
    rig.poll(300)
    assert rig.attention() == []
