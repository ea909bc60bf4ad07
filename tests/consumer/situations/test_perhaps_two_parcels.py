"""Somebody else reports an order shipped that the OMS has: perhaps two parcels leave, and a person reads so."""

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from consumer.operations.listing import listed
from statemachine.facts import DecisionKind, Tracking
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, explained, question, tell

PORTAL = {"shipping_carrier_code": "", "shipping_company": "Colissimo", "shipping_tracking": "6A-1"}


def reasons(rig: Rig) -> dict[str, AttentionReason]:
    return {one.reason: one for one in explained(rig).attention}


def shipped_in_the_portal(rig: Rig) -> None:
    rig.imported()
    changes.set_fields(rig.mirakl["alpha"], "1-A", **PORTAL)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll()


def oms_sends(rig: Rig) -> None:
    tell(rig, 8, shipping_carrier="DPD", new_shipments=[{"tracking": "T1"}])


def test_why_here_claims_nothing_of_who_shipped_it(rig: Rig) -> None:
    shipped_in_the_portal(rig)
    assert explained(rig).why_here.startswith(
        "shipped before the OMS reported that all of it left; somebody else than orderflow reported the shipment to "
        "Mirakl ("
    )


def test_why_here_of_our_own_shipment_names_nobody_else(rig: Rig) -> None:
    rig.imported()
    oms_sends(rig)
    rig.work()
    rig.poll(600)
    assert rig.state() == "shipped"
    assert explained(rig).why_here.startswith("Mirakl shows it shipped (")


def test_a_settle_of_what_another_shipped_says_that_the_oms_goes_on(rig: Rig) -> None:
    shipped_in_the_portal(rig)
    found = reasons(rig)["shipped_elsewhere"].cure
    assert found.startswith(
        "Find out first who said that these goods left. If a colleague meant the OMS's own goods, let the OMS go on "
        "and settle. Else stop in the OMS what has not left;"
    )
    assert "The reason stays until then, also if the OMS sends the goods" in found
    says = (
        "what has not left the OMS leaves all the same: unless these are the goods that were meant, stop it there first"
    )
    assert says in question(rig, DecisionKind.SETTLE, "shipped_elsewhere")


def test_two_parcels_under_two_numbers_stay_on_the_list_at_its_top(rig: Rig) -> None:
    shipped_in_the_portal(rig)
    oms_sends(rig)
    (one,) = reasons(rig).values()
    assert (one.reason, listed(rig.row(), rig.policies["alpha"]).urgency) == ("foreign_tracking", Urgency.NOW)
    assert one.cause == (
        "Mirakl shows Colissimo 6A-1, the OMS reported DPD T1; somebody else than orderflow reported the shipment to "
        "Mirakl, so perhaps two parcels left"
    )
    assert "perhaps two parcels left, one under each number. If so, stop the second or arrange its return" in one.cure
    assert one.cure.endswith("The reason stays until then.")
    assert (
        ": Mirakl keeps Colissimo 6A-1, and does not get DPD T1 from orderflow: if both parcels left, stop the second "
        "or arrange its return first; this ends foreign_tracking?"
    ) in question(rig, DecisionKind.SETTLE, "foreign_tracking")


def test_a_number_that_somebody_entered_before_our_own_shipment_is_no_second_parcel_of_another(rig: Rig) -> None:
    """OR24 was ours. The cure still names the second parcel, and the list is not headed by the order."""
    rig.imported()
    changes.set_fields(rig.mirakl["alpha"], "1-A", **PORTAL)
    rig.poll()
    oms_sends(rig)
    rig.work()
    one = reasons(rig)["foreign_tracking"]
    assert one.cause == "Mirakl shows Colissimo 6A-1, the OMS reported DPD T1"
    assert listed(rig.row(), rig.policies["alpha"], ["foreign_tracking"]).urgency is Urgency.BY_DEADLINE


@pytest.mark.parametrize("oms_too", [True, False])
def test_a_number_that_a_person_named_is_not_said_to_be_of_the_oms(rig: Rig, oms_too: bool) -> None:
    rig.imported()
    act = operations.Act(DecisionKind.SENT, "ana", "left", rig.clock.now(), tracking=Tracking("UPS", "X7"))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()
    changes.set_fields(rig.mirakl["alpha"], "1-A", **PORTAL)
    if oms_too:
        oms_sends(rig)
    rig.poll(600)
    of_oms = ", and the OMS reported the goods sent under DPD T1" if oms_too else ""
    assert reasons(rig)["foreign_tracking"].cause == (
        f"Mirakl shows Colissimo 6A-1, a person named (`orders sent`) UPS X7{of_oms}: perhaps two parcels left, one "
        "under each number"
    )


def test_goods_that_the_oms_sent_beside_another_centre_are_stopped_on_their_way(rig: Rig) -> None:
    rig.imported()
    rig.switch(paused=("ship",))
    oms_sends(rig)
    changes.set_centre(rig.mirakl["alpha"], "1-A", "FC-9")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll()
    assert reasons(rig)["shipped_elsewhere"].cure.startswith(
        "Another fulfilment centre shipped the order, and the OMS sent it too. Ask both: if two parcels left, stop the "
    )
    says = "the OMS sent the goods too: if two parcels left, stop the second or arrange its return first"
    assert says in question(rig, DecisionKind.SETTLE, "shipped_elsewhere")


# -- Another number than Mirakl shows ----------------------------------------------------------------------------


def partly_withdrawn(rig: Rig) -> None:
    """Three pieces, and money of one goes back: Mirakl still shows three."""
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1)
    rig.poll()


def test_an_operator_who_names_another_number_is_not_followed_by_a_release(rig: Rig) -> None:
    partly_withdrawn(rig)
    found = reasons(rig)["partly_withdrawn"].cure
    assert "If it is another number, do not release it: ask the operator to cancel the rest" in found
    keyed = "`orderflow orders handled 1-A --shop alpha --call import_order --reason WHY`"
    assert "key the order in by hand with the right number, under the external_ref that" in found
    assert f", then {keyed}; when all of that has left, `orderflow orders sent 1-A" in found
    act = operations.Act(DecisionKind.RELEASE, "ana", "seen", rig.clock.now())
    question = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "the OMS gets 3 of 1-A-1" in question
    assert "if the operator named another number, do not release it: `orders explain` says what to do" in question


def test_an_order_that_was_keyed_in_with_another_number_is_reported_when_it_has_left(rig: Rig) -> None:
    """As the cure of partly_withdrawn says."""
    partly_withdrawn(rig)
    decide(rig, DecisionKind.HANDLED)
    assert rig.state() == "imported"
    items = [{"external_ref": "1-A-1", "quantity": 2}]
    tell(rig, 8, shipping_carrier="DPD", new_shipments=[{"tracking": "T1", "items": items}])
    assert (rig.effects(), rig.attention()) == ([], ["partly_sent"])
    decide(rig, DecisionKind.SENT)
    rig.work()
    assert (rig.effects(), rig.attention()) == (["tracking", "shipped"], [])
