"""Goods that somebody says have left, and that the OMS reports sent since: perhaps two parcels left.

Somebody: a person by `orders sent`, or whoever marked the order shipped in Mirakl's portal.
"""

import json
from datetime import timedelta

import pytest

from adapters.messages.text import iso
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from consumer.operations.listing import listed
from statemachine.facts import DecisionKind, Tracking
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import answer_with, decide, details, explained, tell

ELSEWHERE = "shipped_elsewhere"
#: How the cure begins once the OMS reported that it sent the goods.
USUAL = (
    "The OMS reported that it sent these goods. Usually this is the parcel that was meant: if so, nothing is to be "
    "stopped, and `orderflow orders settle 1-A --shop alpha --only shipped_elsewhere --reason WHY` is all."
)


def vouch(rig: Rig, number: str = "", carrier: str = "DPD") -> None:
    """A person says that the goods left, under this number if one is given."""
    rig.clock.advance(60)
    tracking = Tracking(carrier, number) if number else Tracking()
    act = operations.Act(DecisionKind.SENT, "ana", "left", rig.clock.now(), tracking=tracking)
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()


def read_twice(rig: Rig) -> None:
    for _ in range(2):
        rig.poll(600)
        rig.work()


def oms_sends(rig: Rig, number: str = "", **more: object) -> None:
    tell(rig, 8, shipping_carrier="UPS", shipping_tracking=number, **more)


def shown(rig: Rig) -> str:
    return str(rig.mirakl["alpha"].order("1-A")["shipping_tracking"] or "")


def reason(rig: Rig) -> AttentionReason:
    found = explained(rig).attention
    return next(one for one in found if one.reason == ELSEWHERE)


def settle(rig: Rig) -> None:
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, ELSEWHERE)


# -- A person said that the goods left -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_read", [True, False])
def test_another_number_of_the_oms_asks_a_person_and_mirakl_keeps_that_of_the_person(rig: Rig, is_read: bool) -> None:
    rig.imported()
    vouch(rig, "X7")
    if is_read:
        read_twice(rig)
    oms_sends(rig, "D7")
    read_twice(rig)
    assert (rig.state(), rig.attention(), shown(rig)) == ("shipped", [ELSEWHERE], "X7")
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert reason(rig).cause == (
        "a person said that the goods left under DPD X7, and the OMS reported since that it sent the goods under UPS "
        "D7, so perhaps two parcels left"
    )
    assert reason(rig).cure.startswith(USUAL)
    assert "perhaps two parcels left: stop the second or arrange its return" in reason(rig).cure
    assert "Mirakl keeps the person's number: `orderflow orders sent 1-A" in reason(rig).cure
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now())
    question = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "if two parcels left, stop the second or arrange its return first; Mirakl keeps DPD X7" in question
    settle(rig)
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([], "X7")
    oms_sends(rig, "D7")  # the same report once more
    assert rig.attention() == []


def test_goods_that_the_oms_works_on_after_a_person_said_that_they_left_are_perhaps_those(rig: Rig) -> None:
    rig.imported()
    vouch(rig, "X7")
    read_twice(rig)
    tell(rig, 4)
    assert rig.attention() == [ELSEWHERE]
    assert reason(rig).cure.startswith(
        "Find out first who said that these goods left. If a colleague meant the OMS's own "
    )


def test_a_number_that_is_corrected_after_the_shipment_changes_the_number_only(rig: Rig) -> None:
    rig.imported()
    vouch(rig, "X7")
    read_twice(rig)
    assert rig.state() == "shipped"
    act = operations.Act(DecisionKind.SENT, "ana", "typo", rig.clock.now(), tracking=Tracking("DPD", "X8"))
    asked = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "the order is shipped already: only the number changes" in asked
    assert "count as sent" not in asked
    assert "not to be sent any more" not in asked


def test_what_the_oms_still_makes_of_a_shipped_order_counts_as_sent_by_a_persons_word(rig: Rig) -> None:
    rig.imported()
    shipped_in_the_portal(rig)
    act = operations.Act(DecisionKind.SENT, "ana", "left", rig.clock.now(), tracking=Tracking("DPD", "X7"))
    asked = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "all goods count as sent, and this cannot be taken back" in asked


def test_a_person_gives_mirakl_the_number_of_the_oms_instead(rig: Rig) -> None:
    rig.imported()
    vouch(rig, "X7")
    oms_sends(rig, "D7")
    vouch(rig, "D7", "UPS")
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([ELSEWHERE], "D7")
    assert "orders sent" not in reason(rig).cure, "the person did that"
    settle(rig)
    assert rig.attention() == []


@pytest.mark.parametrize("parcel", [False, True])
def test_the_number_that_the_person_named_asks_nobody(rig: Rig, parcel: bool) -> None:
    rig.imported()
    vouch(rig, "X 7")
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    oms_sends(rig, "" if parcel else "x7", new_shipments=[{"tracking": "x7", "items": items}] if parcel else [])
    read_twice(rig)
    assert rig.attention() == []


def test_a_number_of_the_oms_asks_a_person_who_named_none_and_goes_to_mirakl(rig: Rig) -> None:
    rig.imported()
    vouch(rig)
    read_twice(rig)
    oms_sends(rig, "D7")
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([ELSEWHERE], "D7")
    settle(rig)
    assert rig.attention() == []


@pytest.mark.parametrize("number", ["", "D7"])
def test_what_left_before_the_person_said_so_is_what_the_person_meant(rig: Rig, number: str) -> None:
    """The OMS reports late. If it names a number and the person named none, these are the same goods."""
    rig.imported()
    left = rig.clock.now()
    vouch(rig)
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    parcel = {"tracking": number, "dispatch_datetime": iso(left), "items": items}
    oms_sends(rig, number, new_shipments=[parcel])
    read_twice(rig)
    assert rig.attention() == []


def test_goods_without_a_number_that_left_after_the_person_said_so_are_perhaps_other_goods(rig: Rig) -> None:
    rig.imported()
    vouch(rig, "X7")
    oms_sends(rig)
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([ELSEWHERE], "X7")
    settle(rig)
    tell(rig, 64)
    assert rig.attention() == []


def test_a_line_that_is_owed_since_leaves_under_a_number_of_its_own(rig: Rig) -> None:
    """The person did not say of this line that it left."""
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll()
    rig.work()
    rig.switch(paused=("ship",))
    vouch(rig, "X7")
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPING")
    rig.poll(60)
    items = [{"external_ref": "1-A-2", "quantity": 1}]
    oms_sends(rig, new_shipments=[{"tracking": "D7", "items": items}])
    assert ELSEWHERE not in rig.attention()
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    oms_sends(rig, new_shipments=[{"tracking": "D8", "items": items}])
    assert ELSEWHERE in rig.attention()


def test_a_number_that_a_person_corrects_after_the_oms_sent_the_goods_asks_nobody(rig: Rig) -> None:
    rig.imported()
    oms_sends(rig, "D7")
    vouch(rig, "X7")
    oms_sends(rig, "D8")
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([], "D8")


def test_the_rest_for_which_a_person_vouched_and_that_the_oms_sends_too(rig: Rig) -> None:
    rig.imported(lines=2)
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    tell(rig, 512, shipping_carrier="UPS", new_shipments=[{"tracking": "T65", "items": items}])
    vouch(rig, "X65")
    tell(rig, 512, shipping_carrier="UPS", new_shipments=[{"tracking": "T65", "items": items}])
    assert rig.attention() == []
    oms_sends(rig, "T66")
    read_twice(rig)
    assert (rig.attention(), shown(rig)) == ([ELSEWHERE], "X65")


# -- Somebody marked the order shipped in Mirakl's portal ------------------------------------------------------------


def shipped_in_the_portal(rig: Rig, number: str = "") -> None:
    rig.clock.advance(60)
    if number:
        changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_company="DPD", shipping_tracking=number)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    assert rig.attention() == [ELSEWHERE]


@pytest.mark.parametrize("number", ["", "D7"])
@pytest.mark.parametrize("settled", [True, False])
def test_an_order_that_the_oms_sends_after_somebody_shipped_it_without_a_number(
    rig: Rig, settled: bool, number: str
) -> None:
    rig.imported()
    shipped_in_the_portal(rig)
    if settled:
        settle(rig)
        assert rig.attention() == []
    oms_sends(rig, number)
    read_twice(rig)
    assert (rig.state(), rig.attention(), shown(rig)) == ("shipped", [ELSEWHERE], number)
    under = f" under UPS {number}" if number else ""
    assert f"the OMS reported since that it sent the goods{under}, so perhaps two parcels left" in reason(rig).cause
    assert reason(rig).cure.startswith(USUAL)
    assert "Mirakl keeps" not in reason(rig).cure
    settle(rig)
    oms_sends(rig, number)
    read_twice(rig)
    assert rig.attention() == []


def test_the_oms_sends_it_under_the_number_of_the_portal(rig: Rig) -> None:
    rig.imported()
    shipped_in_the_portal(rig, "D7")
    oms_sends(rig, "D7")
    read_twice(rig)
    assert rig.attention() == []


def test_a_shipment_in_the_portal_of_what_the_oms_had_sent_asks_nobody(rig: Rig) -> None:
    """OR24 waits, so a person marks the order shipped by hand."""
    rig.imported()
    rig.switch(paused=("ship",))
    oms_sends(rig, "D7")
    rig.clock.advance(60)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    rig.switch(paused=())
    read_twice(rig)
    assert (rig.state(), rig.attention(), shown(rig)) == ("shipped", [], "D7")


def test_a_debit_that_a_person_settled_and_then_the_oms_sends_the_goods(rig: Rig) -> None:
    """In PAY_ON_SHIPMENT Mirakl may debit without a shipped_date."""
    rig.imported(workflow="PAY_ON_SHIPMENT")
    rig.clock.advance(60)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll(60)
    settle(rig)
    oms_sends(rig, "D7")
    read_twice(rig)
    assert details(rig) == {ELSEWHERE: ""}
    settle(rig)
    assert rig.attention() == []


# -- Other lines or pieces in the OMS than a person said had left ----------------------------------------------------


def test_lines_that_the_oms_did_not_get_stay_on_the_list_until_a_settle(rig: Rig) -> None:
    """Three pieces went to the OMS, and it has one. A person sends the three, and has to stop that one."""
    answer_with(rig, ("1-A-1", 1))
    rig.imported(quantity=3)
    assert rig.attention() == ["lines_not_imported"]
    vouch(rig, "S7")
    read_twice(rig)
    assert (rig.state(), rig.attention()) == ("shipped", ["lines_not_imported"])
    oms_sends(rig, "D7")
    read_twice(rig)
    assert (sorted(rig.attention()), shown(rig)) == (["lines_not_imported", ELSEWHERE], "S7")
    decide(rig, DecisionKind.SETTLE, "lines_not_imported", ELSEWHERE)
    assert rig.attention() == []


def test_a_report_that_was_in_the_log_when_a_person_said_that_others_left(rig: Rig) -> None:
    rig.imported()
    rig.clock.advance(60)
    body = {"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": 8, "shipping_tracking": "T7"}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    vouch(rig, "V1")
    rig.consume()
    read_twice(rig)
    assert (shown(rig), rig.attention()) == ("V1", [ELSEWHERE])


def test_a_report_after_a_vouch_that_a_clock_ahead_dated(rig: Rig) -> None:
    """Somebody decided by a clock an hour ahead, so that each later decision is dated after that."""
    rig.imported()
    act = operations.Act(DecisionKind.HOLD, "ben", "ask", rig.clock.now() + timedelta(hours=1))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    decide(rig, DecisionKind.RELEASE)
    vouch(rig, "V1")
    oms_sends(rig, "T7")
    read_twice(rig)
    assert (shown(rig), rig.attention()) == ("V1", [ELSEWHERE])
