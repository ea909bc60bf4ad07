"""A reason that a person settled, that ended, and that the order gets once more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from adapters.simulators.mirakl.marketplace import MiraklSimulator
from statemachine.facts import DecisionKind
from tests.consumer.rig import SNAPSHOTS, Rig
from tests.consumer.situations.in_oms_hands import decide, tell

Change = Callable[[MiraklSimulator], None]


def line(**fields: Any) -> Change:
    return lambda mirakl: changes.set_line(mirakl, "1-A", "1-A-1", **fields)


def order(**fields: Any) -> Change:
    return lambda mirakl: changes.set_fields(mirakl, "1-A", **fields)


def state(name: str) -> Change:
    return lambda mirakl: changes.put_in_state(mirakl, "1-A", name)


def refund(mirakl: MiraklSimulator) -> None:
    changes.refund(mirakl, "1-A", "1-A-1")


def refund_a_piece(mirakl: MiraklSimulator) -> None:
    changes.refund(mirakl, "1-A", "1-A-1", 1)


def take_refunds_back(mirakl: MiraklSimulator) -> None:
    changes.set_line(mirakl, "1-A", "1-A-1", refunds=[])
    changes.set_fields(mirakl, "1-A", fully_refunded=False)


def waits_for_import(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", quantity=2)


def imported(rig: Rig) -> None:
    rig.imported()


def sent(rig: Rig) -> None:
    """The goods left, and the tracking did not reach Mirakl yet."""
    rig.imported()
    rig.switch(paused=("ship",))
    tell(rig, 8, shipping_carrier="DPD", shipping_tracking="T1")


@dataclass(frozen=True)
class Case:
    reason: str
    begins: Change
    ends: Change
    before: Callable[[Rig], None] = imported
    kind: DecisionKind = DecisionKind.SETTLE


CASES = (
    Case("withdrawn_after_import", refund, take_refunds_back),
    Case("line_incident", line(order_line_state="INCIDENT_OPEN"), line(order_line_state="SHIPPING")),
    Case("line_incident", line(order_line_state="INCIDENT_OPEN"), line(order_line_state="INCIDENT_CLOSED")),
    Case("payment_awaited_again", state("WAITING_DEBIT_PAYMENT"), state("SHIPPING")),
    Case("foreign_tracking", order(shipping_tracking="F1"), order(shipping_tracking=None), sent),
    Case("foreign_tracking", order(shipping_tracking="F1"), order(shipping_tracking="F2"), sent),
    Case("shipped_elsewhere", state("SHIPPED"), state("SHIPPING")),
    Case("message_after_import", order(has_customer_message=True), order(has_customer_message=False)),
    Case(
        "unknown_line_state",
        line(order_line_state="LOST"),
        line(order_line_state="SHIPPING"),
        kind=DecisionKind.RELEASE,
    ),
    Case("partly_withdrawn", refund_a_piece, take_refunds_back, waits_for_import, DecisionKind.RELEASE),
)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.reason}{n}" for n, case in enumerate(CASES)])
def test_a_reason_that_ended_and_comes_again_is_told_again(rig: Rig, case: Case) -> None:
    mirakl = rig.mirakl["alpha"]
    case.before(rig)
    case.begins(mirakl)
    rig.poll(60)
    assert case.reason in rig.attention()
    rig.clock.advance(60)
    decide(rig, case.kind, case.reason)
    assert case.reason not in rig.attention()

    changes.set_fields(mirakl, "1-A", shipping_zone_label="Zone 2")
    rig.poll(60)
    assert case.reason not in rig.attention(), "a person settled it, and a read shows it still"

    case.ends(mirakl)
    rig.poll(60)
    case.begins(mirakl)
    rig.poll(60)
    assert case.reason in rig.attention()
    rig.clock.advance(60)
    decide(rig, case.kind, case.reason)
    assert case.reason not in rig.attention()


def test_an_order_that_is_refunded_once_more_is_not_reported_shipped_without_a_person(rig: Rig) -> None:
    mirakl = rig.mirakl["alpha"]
    rig.imported()
    refund(mirakl)
    rig.poll(60)
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, reason)
    take_refunds_back(mirakl)
    rig.poll(60)
    refund(mirakl)
    rig.poll(60)
    tell(rig, 8, shipping_tracking="T1")
    rig.work()
    assert "withdrawn_after_import" in rig.attention()
    assert rig.effects() == ["imported"]


def test_a_released_part_that_is_withdrawn_once_more_holds_the_import_again(rig: Rig) -> None:
    mirakl = rig.mirakl["alpha"]
    waits_for_import(rig)
    refund_a_piece(mirakl)
    rig.poll(60)
    decide(rig, DecisionKind.RELEASE)
    take_refunds_back(mirakl)
    rig.poll(60)
    refund_a_piece(mirakl)
    rig.poll(60)
    rig.switch(paused=())
    rig.work()
    assert (rig.attention(), rig.effects()) == (["partly_withdrawn"], [])
    decide(rig, DecisionKind.RELEASE)
    rig.work()
    assert rig.effects() == ["imported"]


def parcel(tracking: str, **more: object) -> dict[str, object]:
    return {"tracking": tracking, "items": [{"external_ref": "1-A-1", "quantity": 1}], **more}


def test_more_pieces_than_a_person_settled_are_told_again_and_the_same_parcel_is_not(rig: Rig) -> None:
    rig.imported()
    rig.switch(paused=("ship",))
    tell(rig, 512, new_shipments=[parcel("T1"), parcel("T2")])
    assert rig.attention() == ["quantity_exceeds_order"]
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8, new_shipments=[parcel("T1"), parcel("T2")])
    assert rig.attention() == []
    tell(rig, 8, new_shipments=[parcel("T1"), parcel("T2"), parcel("T3")])
    assert rig.attention() == ["quantity_exceeds_order"]
    rig.clock.advance(1)
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_settle_covers_no_occurrence_that_waits_in_the_log(rig: Rig) -> None:
    """The refund is taken back and made again, and the consumer lags. A person settles what the list still shows."""
    mirakl = rig.mirakl["alpha"]
    rig.imported()
    refund(mirakl)
    rig.poll(60)
    for change in (take_refunds_back, refund):
        change(mirakl)
        rig.clock.advance(60)
        rig.pollers["alpha"].run()
    rig.clock.advance(1)
    decide(rig, DecisionKind.SETTLE, "withdrawn_after_import")
    rig.consume()
    assert "withdrawn_after_import" in rig.attention()


def test_a_stale_read_after_the_settle_does_not_ask_again(rig: Rig) -> None:
    """One answer comes from a copy of Mirakl's data that is behind."""
    mirakl = rig.mirakl["alpha"]
    rig.imported()
    before = mirakl.listing.body("1-A")
    rig.clock.advance(60)
    refund(mirakl)
    rig.poll(60)
    for reason in rig.attention():
        rig.clock.advance(1)
        decide(rig, DecisionKind.SETTLE, reason)
    now = mirakl.listing.body("1-A")
    rig.clock.advance(25 * 3600)
    mirakl.listing.set_body("1-A", before)
    reads = len(rig.records(SNAPSHOTS))
    rig.poll(300)
    assert len(rig.records(SNAPSHOTS)) > reads
    mirakl.listing.set_body("1-A", now)
    rig.poll(300)
    assert rig.attention() == []


def test_another_tracking_of_the_oms_beside_a_foreign_one_that_was_settled_is_told(rig: Rig) -> None:
    """The parcel was lost, and another one left: Mirakl still shows the number of somebody else."""
    sent(rig)
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_tracking="F1")
    rig.poll(60)
    rig.switch(paused=())
    for number, told in (("T1", []), ("T2", ["foreign_tracking"]), ("T2", []), ("T1", ["foreign_tracking"])):
        if rig.attention():
            rig.clock.advance(60)
            decide(rig, DecisionKind.SETTLE, "foreign_tracking")
        tell(rig, 64 if told else 516, shipping_carrier="DPD", shipping_tracking=number)
        rig.poll(300)
        assert rig.attention() == told
    assert rig.state() == "shipped"
