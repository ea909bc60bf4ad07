"""Our OR24 marks every line shipped, also one that was not to be sent then and is to be sent later."""

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell

LINE = "1-A-2"


def first_line_ships(rig: Rig) -> None:
    """The OMS sends the first of two lines, and Mirakl shows all of the order shipped."""
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    tell(rig, 512, new_shipments=[parcel])
    rig.poll(600)
    rig.work()
    assert (rig.state(), "shipped" in rig.effects()) == ("shipped", True)


def line_is_to_be_sent_again(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, refunds=[], order_line_state="SHIPPED")
    rig.poll(60)


def refunded(rig: Rig) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", LINE)


def in_an_incident(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, order_line_state="INCIDENT_OPEN")


def explained(rig: Rig) -> tuple[AttentionReason, ...]:
    return tuple(operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now()).attention)


@pytest.mark.parametrize("stop", [refunded, in_an_incident])
def test_a_line_that_only_or24_marked_shipped_is_asked_for_when_it_is_owed_again(rig: Rig, stop) -> None:  # type: ignore[no-untyped-def]
    rig.imported(lines=2)
    stop(rig)
    rig.poll(60)
    if stop is in_an_incident:
        decide(rig, DecisionKind.SETTLE, "line_incident")  # the OMS has stopped it
    first_line_ships(rig)
    line_is_to_be_sent_again(rig)
    assert details(rig) == {"lines_added_after_import": f"{LINE} (0, now 1)"}
    explanation = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
    assert explanation.attention[0].cause
    decide(rig, DecisionKind.SETTLE)
    rig.poll(600)
    assert rig.attention() == []


def test_a_line_with_an_incident_that_nobody_stopped_stays_on_the_list_when_the_rest_is_shipped(rig: Rig) -> None:
    rig.imported(lines=2)
    in_an_incident(rig)
    rig.poll(60)
    first_line_ships(rig)
    line_is_to_be_sent_again(rig)
    assert details(rig) == {"line_incident": f"{LINE} INCIDENT_OPEN"}, "the OMS still makes it"
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, order_line_state="INCIDENT_CLOSED")
    rig.poll(60)
    assert details(rig) == {"line_incident": f"{LINE} INCIDENT_OPEN"}, "and goes on when it is closed"
    tell(rig, 1, new_cancellations=[{"items": [{"external_ref": LINE, "quantity": 1}]}])
    assert "line_incident" not in details(rig), "the OMS canceled it"


def test_a_line_with_an_incident_that_or24_marked_has_not_left(rig: Rig) -> None:
    rig.imported(lines=2)
    in_an_incident(rig)
    rig.poll(60)
    first_line_ships(rig)
    one = next(each for each in explained(rig) if each.reason == "line_incident")
    assert one.cause == (
        f"{LINE} (MUG-11OZ-WHT) had an incident when our OR24 reported the order shipped, and is now SHIPPED, it has "
        "not left, the OMS has it"
    )
    refunded(rig)
    rig.poll(60)
    after = next(each for each in explained(rig) if each.reason == "line_incident")
    assert "is now SHIPPED refunded" in after.cause
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, refunds=[], order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    shown = next(each for each in explained(rig) if each.reason == "line_incident")
    assert shown.cause == f"{LINE} (MUG-11OZ-WHT) is INCIDENT_OPEN, it has not left, the OMS has it"
    for each in (one, after, shown):
        assert each.cure.startswith(
            "Our OR24 reported the whole order shipped, this line too, and it has not left. If the OMS has it, stop it "
            "there. Solve the incident in Mirakl's portal: have the line refunded, unless that is done or it is to be "
        )


def test_a_line_that_the_oms_sent_after_the_rest_needs_nobody(rig: Rig) -> None:
    rig.imported(lines=2)
    refunded(rig)
    rig.poll(60)
    first_line_ships(rig)
    line_is_to_be_sent_again(rig)
    tell(rig, 512, new_shipments=[{"tracking": "T2", "items": [{"external_ref": LINE, "quantity": 1}]}])
    assert rig.attention() == []


def test_a_line_that_was_owed_when_or24_went_out_needs_nobody(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(600)
    refunded(rig)
    rig.poll(60)
    line_is_to_be_sent_again(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_line_with_an_incident_before_the_import_is_not_to_be_made_because_or24_marked_it(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    in_an_incident(rig)
    rig.poll()
    rig.work()
    (incident,) = explained(rig)
    assert incident.reason == "line_incident"
    assert "OR24 then reports the whole order shipped, this line too: so have it refunded before" in incident.cure
    act = operations.Act(DecisionKind.SETTLE, "ana", "money back", rig.clock.now(), only=("line_incident",))
    question = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert f"OR24 reports the whole order shipped, {LINE} too" in question
    decide(rig, DecisionKind.SETTLE, "line_incident")
    first_line_ships(rig)
    (added,) = explained(rig)
    assert added.reason == "lines_added_after_import"
    assert "SHIPPED, as OR24 marked the whole order" in added.cause
    assert added.cure.startswith("Our OR24 reported the whole order shipped, this line too, and nobody makes it.")
    refunded(rig)
    rig.poll(60)
    assert rig.attention() == []


def test_a_line_that_is_owed_again_is_to_be_made(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    in_an_incident(rig)
    rig.poll()
    rig.work()
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, order_line_state="SHIPPING")
    rig.poll(60)
    (added,) = explained(rig)
    assert (added.reason, added.cure[:26]) == ("lines_added_after_import", "Have the OMS make them too")


def test_parcels_with_more_than_the_known_rest_are_asked_for_after_a_settle(rig: Rig) -> None:
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 2)
    rig.poll(60)
    tell(rig, 1, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 2}]}])
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 2}]}])
    assert "lines_canceled_after_import" in rig.attention()


def test_pieces_that_come_back_after_the_shipment_of_the_rest_ask_nobody(rig: Rig) -> None:
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 2}]}])
    rig.poll(300)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    rig.poll(86_400)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    assert rig.attention() == []


# -- Where Mirakl debits after the shipment ----------------------------------------------------------------------


def debited(rig: Rig, date: str | None) -> None:
    """The customer is debited for what our OR24 reported: every line shows that."""
    mirakl = rig.mirakl["alpha"]
    changes.put_in_state(mirakl, "1-A", "WAITING_DEBIT_PAYMENT")
    for line in mirakl.order("1-A")["order_lines"]:
        state = "WAITING_DEBIT_PAYMENT"
        changes.set_line(mirakl, "1-A", line["order_line_id"], order_line_state=state, shipped_date=date)
    rig.poll(60)
    rig.work()


def paid(rig: Rig) -> None:
    mirakl = rig.mirakl["alpha"]
    changes.put_in_state(mirakl, "1-A", "SHIPPED")
    for line in mirakl.order("1-A")["order_lines"]:
        changes.set_line(mirakl, "1-A", line["order_line_id"], order_line_state="SHIPPED")
    rig.poll(60)


def sends(rig: Rig, line: str) -> None:
    parcel = {"tracking": f"T-{line}", "items": [{"external_ref": line, "quantity": 1}]}
    tell(rig, 512, new_shipments=[parcel])


@pytest.fixture
def two_lines(rig: Rig) -> Rig:
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    return rig


#: With and without the `shipped_date` that proves a shipment.
dates = pytest.mark.parametrize("date", [None, "2026-03-01T12:00:00Z"], ids=["no shipped_date", "shipped_date"])


@dates
def test_the_debit_does_not_end_the_incident_of_a_line_that_the_oms_has(two_lines: Rig, date: str | None) -> None:
    in_an_incident(two_lines)
    two_lines.poll(60)
    sends(two_lines, "1-A-1")
    debited(two_lines, None)
    debited(two_lines, date)
    assert "shipped" in two_lines.effects()
    assert details(two_lines) == {"line_incident": f"{LINE} INCIDENT_OPEN"}, "the OMS still makes it"
    sends(two_lines, LINE)
    assert details(two_lines) == {"line_incident": f"{LINE} INCIDENT_OPEN"}, "it left, though nobody let it go on"
    paid(two_lines)
    assert (two_lines.state(), details(two_lines)) == ("shipped", {"line_incident": f"{LINE} INCIDENT_OPEN"})
    decide(two_lines, DecisionKind.SETTLE)
    assert two_lines.attention() == []


@dates
def test_an_incident_that_was_over_before_our_or24_does_not_come_back_with_the_debit(
    two_lines: Rig, date: str | None
) -> None:
    in_an_incident(two_lines)
    two_lines.poll(60)
    changes.set_line(two_lines.mirakl["alpha"], "1-A", LINE, order_line_state="SHIPPING")
    two_lines.poll(60)
    tell(two_lines, 8, shipping_tracking="T1")
    debited(two_lines, date)
    assert two_lines.attention() == []
    paid(two_lines)
    assert (two_lines.state(), two_lines.attention()) == ("shipped", [])


@dates
def test_an_incident_that_only_the_debit_showed_ends_with_it(two_lines: Rig, date: str | None) -> None:
    """The customer complains about goods that have arrived."""
    tell(two_lines, 8, shipping_tracking="T1")
    debited(two_lines, date)
    in_an_incident(two_lines)
    two_lines.poll(60)
    assert two_lines.attention() == ["line_incident"]
    debited(two_lines, date)
    assert two_lines.attention() == []


@dates
def test_the_debit_does_not_end_that_a_line_left_which_somebody_else_shipped(two_lines: Rig, date: str | None) -> None:
    changes.set_line(two_lines.mirakl["alpha"], "1-A", LINE, order_line_state="SHIPPED")
    two_lines.poll(60)
    decide(two_lines, DecisionKind.SETTLE, "shipped_elsewhere")
    sends(two_lines, "1-A-1")
    sends(two_lines, LINE)
    assert details(two_lines) == {"shipped_elsewhere": LINE}
    debited(two_lines, None)
    debited(two_lines, date)
    assert details(two_lines) == {"shipped_elsewhere": LINE}
    paid(two_lines)
    assert (two_lines.state(), details(two_lines)) == ("shipped", {"shipped_elsewhere": LINE})


@dates
def test_what_the_oms_canceled_is_missing_though_the_debit_shows_it_shipped(two_lines: Rig, date: str | None) -> None:
    in_an_incident(two_lines)
    two_lines.poll(60)
    sends(two_lines, "1-A-1")
    debited(two_lines, date)
    paid(two_lines)
    tell(two_lines, 4, new_cancellations=[{"items": [{"external_ref": LINE, "quantity": 1}]}])
    (canceled,) = details(two_lines).items()
    assert canceled[0] == "oms_canceled"
    assert "not owed" not in canceled[1], "only the debit of our OR24 showed it shipped"
