"""What the OMS and Mirakl show that gives an attention reason, and what gives none."""

from dataclasses import replace

import pytest

from statemachine.attention.ends import can_be_settled
from statemachine.commands import CommandKind, Policy
from statemachine.events import Event, Trigger
from statemachine.facts import Facts, OmsStatus, Part, Tracking, Unread, Withdrawn
from statemachine.joining import join
from statemachine.plan import plan
from statemachine.questions.readings import carried
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from tests.statemachine.lives import LINES, answer, answered, at, event, read, sent, settled, snapshot_event
from tests.statemachine.planning import known

SHIPPING = snapshot_event(read("SHIPPING", updated=5, began=200))
IMPORTED = (SHIPPING, answered(CommandKind.IMPORT))


def status(number: int, when: float, oms_id: int = 1) -> Event:
    facts = Facts(parts=(Part(oms_id),), statuses=(OmsStatus(oms_id, at(when), number),))
    return event(Trigger.OMS_EVENT, f"status{number}{when}", facts)


def attention(facts: Facts) -> dict[Reason, str]:
    return {one.reason: one.detail for one in plan(facts, Policy()).attention}


@pytest.mark.parametrize(("number", "reason"), [(32, Reason.OMS_QUERY), (256, Reason.OMS_ON_HOLD)])
def test_a_query_and_a_hold_of_the_oms_are_told_while_they_stand(number: int, reason: Reason) -> None:
    stands = known(*IMPORTED, status(4, 1), status(number, 2), status(4, 3, oms_id=2))
    assert attention(stands) == {reason: "1"}
    assert attention(join(stands, status(4, 3).new_facts)) == {}
    assert attention(join(stands, status(4, 1.5).new_facts)) == {reason: "1"}  # an older report that comes late


def test_only_what_informs_can_be_settled() -> None:
    """These reasons end by a fact, or by another decision than settle."""
    blocking = {
        *(
            Reason.NO_EDGE,
            Reason.UNKNOWN_STATE,
            Reason.NEEDS_DECISION,
            Reason.NOTHING_TO_ACCEPT,
            Reason.ADDRESS_MISSING,
        ),
        *(Reason.NOTHING_TO_IMPORT, Reason.ACCEPT_REJECTED, Reason.IMPORT_REJECTED, Reason.TRACKING_REJECTED),
        *(Reason.SHIPMENT_REJECTED, Reason.GAVE_UP, Reason.NOT_APPLIED, Reason.PARTLY_SENT, Reason.HELD),
        *(Reason.SENT_BEFORE_SHIPPING, Reason.NOT_OURS_TO_SHIP, Reason.PARTLY_WITHDRAWN, Reason.QUANTITY_MISSING),
        *(
            Reason.UNKNOWN_LINE_STATE,
            Reason.SHIPPED_BEFORE,
            Reason.LINE_SHIPPED_BEFORE,
            Reason.OMS_QUERY,
            Reason.OMS_ON_HOLD,
        ),
    }
    assert [one for one in blocking if can_be_settled(Attention(one))] == []


@pytest.mark.parametrize(("state", "told"), [("SHIPPED", True), ("CANCELED", False)])
def test_a_hold_of_the_oms_is_nobodys_trouble_once_the_order_is_over(state: str, told: bool) -> None:
    """An order that Mirakl shows shipped is not over in the OMS, which did not report that the goods left."""
    over = snapshot_event(read(state, updated=9, began=300))
    assert (Reason.OMS_ON_HOLD in attention(known(*IMPORTED, status(256, 2), over))) is told


def test_a_report_that_cannot_be_read_is_told_until_it_is_settled_and_the_next_one_again() -> None:
    facts = known(*IMPORTED, event(Trigger.OMS_EVENT, "unread", Facts(unread=(Unread(at(1), "bad_field"),))))
    (told,) = plan(facts, Policy()).attention
    assert told.reason is Reason.REPORT_UNREADABLE
    seen = join(facts, settled(told.token).new_facts)
    assert attention(seen) == {}
    again = join(seen, Facts(unread=(Unread(at(2), "bad_field"),)))
    assert list(attention(again)) == [Reason.REPORT_UNREADABLE]


@pytest.mark.parametrize(
    ("order", "line", "told"),
    [
        ("SHIPPING", "INCIDENT_OPEN", True),
        ("SHIPPING", "INCIDENT_CLOSED", True),
        ("SHIPPED", "INCIDENT_OPEN", True),
        ("SHIPPED", "INCIDENT_CLOSED", False),
    ],
)
def test_an_incident_is_told(order: str, line: str, told: bool) -> None:
    lines = (replace(LINES[0], state=line, shipped=order == "SHIPPED"), LINES[1])
    found = attention(known(snapshot_event(read(order, updated=9, began=300, lines=lines))))
    assert found == ({Reason.LINE_INCIDENT: f"L1 {line}"} if told else {})


@pytest.mark.parametrize(
    "line",
    [
        replace(LINES[0], state="REFUNDED", shipped=True),
        replace(LINES[0], state="WAITING_REFUND", shipped=True, withdrawn=Withdrawn.WHOLE),
        replace(LINES[0], state="RECEIVED", shipped=True, withdrawn=Withdrawn.PART),
        replace(LINES[0], state="RECEIVED", shipped=True, withdrawn=Withdrawn.WHOLE),
    ],
)
def test_a_return_after_delivery_needs_nobody(line) -> None:  # type: ignore[no-untyped-def]
    lines = (line, replace(LINES[1], state="RECEIVED", shipped=True))
    returned = snapshot_event(read("RECEIVED", updated=9, began=300, lines=lines))
    assert attention(known(*IMPORTED, sent(), returned)) == {}


def test_a_line_that_was_refunded_before_the_rest_was_shipped_is_still_told() -> None:
    lines = (replace(LINES[0], state="REFUNDED"), replace(LINES[1], state="SHIPPED", shipped=True))
    shipped = snapshot_event(read("SHIPPED", updated=9, began=300, lines=lines))
    told = {Reason.LINES_CANCELED_AFTER_IMPORT: "L1", Reason.SHIPPED_ELSEWHERE: ""}
    assert attention(known(*IMPORTED, shipped)) == told


def test_the_first_tracking_is_sent_again_when_it_is_reported_again_after_another() -> None:
    """The OMS reports A, B, then A. The newest read began before Mirakl took B: it shows A, but Mirakl holds B."""
    a, b = Tracking("DPD", "A"), Tracking("DPD", "B")
    shown = snapshot_event(read("SHIPPED", updated=100, began=260, tracking=a))
    tries = event(Trigger.CALL, "tries", Facts(sent=(a, b)))
    took_a = answered(CommandKind.TRACK, carries=carried(a), answered=200)
    took_b = answered(CommandKind.TRACK, carries=carried(b), answered=300)
    facts = known(*IMPORTED, shown, tries, took_a, took_b, sent("A", when=1), sent("B", when=2), sent("A", when=3))
    (due,) = plan(facts, Policy()).due
    assert (due.kind, due.carries, due.round) == (CommandKind.TRACK, carried(a), 1)
    took_again = Facts(answers=(answer(CommandKind.TRACK, carries=carried(a), round_=1, answered=310),))
    assert plan(join(facts, took_again), Policy()).due == ()
