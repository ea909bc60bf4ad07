"""Somebody else marks one line of an order shipped while the OMS makes it."""

import json
from pathlib import Path

import pytest

from adapters.messages.text import iso
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, lost_then_refused, tell


def mark(rig: Rig, state: str = "SHIPPED") -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_state=state)
    rig.poll()


def test_a_line_shipped_in_the_portal_while_the_oms_has_it_is_shown_until_a_settle(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []
    tell(rig, 8)
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)


def test_it_stays_when_the_oms_reports_the_line_sent(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    assert rig.attention() == ["partly_sent", "shipped_elsewhere"]
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    assert rig.attention() == ["partly_sent"]


def test_a_line_shipped_again_after_a_settle_is_shown_again(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(60)
    mark(rig, "SHIPPING")
    rig.clock.advance(60)
    mark(rig)
    assert "shipped_elsewhere" in rig.attention()


def test_a_line_of_an_import_that_may_have_landed_is_shown(rig: Rig) -> None:
    lost_then_refused(rig, lines=2)
    mark(rig)
    assert "shipped_elsewhere" in rig.attention()


def test_a_line_that_was_shipped_before_the_import_is_not_shown(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    mark(rig)
    rig.work()
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-2", 1),)]
    assert rig.attention() == []


def test_lines_that_mirakl_marks_after_our_shipment_are_not_shown(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 8)
    mark(rig)
    assert "shipped_elsewhere" not in rig.attention()


def test_only_that_line_is_to_be_stopped_in_the_oms(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    (one,) = explained(rig).attention
    assert "stop only these lines there: the others are still to be made" in one.cure
    act = operations.Act(DecisionKind.SETTLE, "ana", "seen", rig.clock.now(), only=("shipped_elsewhere",))
    question = operations.question_of(rig.store, rig.row(), act, rig.policies["alpha"], prefix="")
    assert "stop only that there first; it still has to make 1-A-2" in question


def parcel_of_both(rig: Rig) -> None:
    items = [{"external_ref": line, "quantity": 1} for line in ("1-A-1", "1-A-2")]
    tell(rig, 8, new_shipments=[{"tracking": "T1", "items": items}])


def test_a_line_that_leaves_after_a_settle_is_told_until_another_settle(rig: Rig) -> None:
    """Our OR24 for the other line, which marks all lines shipped, does not end it."""
    rig.imported(lines=2)
    mark(rig)
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    parcel_of_both(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    assert "the OMS reported since that it sent the goods under T1, so perhaps two parcels left" in cause(rig)
    rig.poll(600)
    rig.work()
    assert (rig.state(), details(rig)) == ("shipped", {"shipped_elsewhere": "1-A-1"})
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    rig.poll(600)
    assert rig.attention() == []


def test_a_line_that_is_to_be_sent_after_a_settle_and_leaves_needs_nobody(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    rig.clock.advance(60)
    mark(rig, "SHIPPING")
    assert rig.attention() == ["go_on_in_oms"]
    parcel_of_both(rig)
    rig.poll(600)
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipped", [])


def dates(rig: Rig) -> None:
    """Mirakl debits the customer after our OR24, and dates the shipment of every line."""
    rig.poll(600)
    for line in ("1-A-1", "1-A-2"):
        changes.set_line(rig.mirakl["alpha"], "1-A", line, shipped_date=iso(rig.clock.now()))
    rig.poll(60)
    rig.work()
    assert str(rig.row().facts.snapshot.state).startswith("WAITING_DEBIT")  # type: ignore[union-attr]


@pytest.mark.parametrize("again", [True, False])
def test_the_debit_of_our_own_shipment_does_not_bring_a_settled_line_back(tmp_path: Path, again: bool) -> None:
    """Where Mirakl debits after the shipment. It does if the line was not to be sent."""
    rig = Rig(tmp_path)
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    mark(rig)
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    rig.clock.advance(60)
    if again:
        mark(rig, "SHIPPING")
    parcel_of_both(rig)
    told = {} if again else {"shipped_elsewhere": "1-A-1"}
    assert details(rig) == told
    dates(rig)
    assert details(rig) == told


def test_of_two_lines_of_one_settle_only_the_one_that_leaves_is_told(rig: Rig) -> None:
    rig.imported(lines=3)
    mark(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="SHIPPED")
    rig.poll()
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    items = [{"external_ref": "1-A-1", "quantity": 1}]
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": items}])
    assert details(rig)["shipped_elsewhere"] == "1-A-1"
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    assert rig.attention() == ["partly_sent"]


# -- The OMS sends a marked line before anybody acts -----------------------------------------------------------------


def cause(rig: Rig) -> str:
    found = explained(rig).attention
    return next(one.cause for one in found if one.reason == "shipped_elsewhere")


def read_on(rig: Rig) -> None:
    for _ in range(2):
        rig.poll(600)
        rig.work()


@pytest.mark.parametrize("workflow", ["PAY_ON_ACCEPTANCE", "PAY_ON_SHIPMENT"])
@pytest.mark.parametrize("is_dated", [True, False])
@pytest.mark.parametrize("parcel", [True, False])
def test_a_marked_line_that_the_oms_sends_too_stays_until_a_settle(
    tmp_path: Path, workflow: str, is_dated: bool, parcel: bool
) -> None:
    rig = Rig(tmp_path)
    rig.imported(lines=2, workflow=workflow)
    rig.clock.advance(60)
    if is_dated:
        changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", shipped_date=iso(rig.clock.now()))
        rig.poll()
    else:
        mark(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    if parcel:
        parcel_of_both(rig)
    else:
        tell(rig, 8, shipping_carrier="UPS", shipping_tracking="T1")
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    assert "the OMS reported since that it sent the goods under " in cause(rig)
    assert "T1, so perhaps two parcels left" in cause(rig)
    dates(rig) if workflow == "PAY_ON_SHIPMENT" else read_on(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    if workflow == "PAY_ON_SHIPMENT":
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
        read_on(rig)
    assert (rig.state(), details(rig)) == ("shipped", {"shipped_elsewhere": "1-A-1"})
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    tell(rig, 64, shipping_carrier="UPS", shipping_tracking="T1")
    read_on(rig)
    assert rig.attention() == []


@pytest.mark.parametrize("again", [True, False])
def test_reads_between_the_report_and_our_shipment_do_not_end_it(rig: Rig, again: bool) -> None:
    """OR24 waits, and Mirakl changes the order: the mark is older than the report all the same."""
    rig.imported(lines=2)
    rig.clock.advance(60)
    mark(rig)
    rig.switch(paused=("ship",))
    tell(rig, 8)
    if again:
        rig.clock.advance(60)
        changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_label="Other")
    read_on(rig)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    rig.switch()
    read_on(rig)
    assert (rig.state(), details(rig)) == ("shipped", {"shipped_elsewhere": "1-A-1"})


def test_a_line_that_is_marked_after_the_oms_sent_it_asks_nobody(rig: Rig) -> None:
    """OR24 waits, so a person marks it by hand."""
    rig.imported(lines=2)
    rig.switch(paused=("ship",))
    tell(rig, 8)
    rig.clock.advance(60)
    mark(rig)
    assert rig.attention() == []
    rig.switch()
    read_on(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_line_under_the_number_of_the_oms_from_the_first_is_one_parcel(rig: Rig) -> None:
    rig.imported(lines=2)
    rig.clock.advance(60)
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_company="UPS", shipping_tracking="T1")
    mark(rig)
    tell(rig, 8, shipping_carrier="UPS", shipping_tracking="T1")
    read_on(rig)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_the_debit_of_our_own_shipment_marks_no_line_of_somebody_else(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    parcel_of_both(rig)
    dates(rig)
    assert rig.attention() == []


def test_one_parcel_that_mirakl_debits_and_the_oms_sends_too(tmp_path: Path) -> None:
    """PAY_ON_SHIPMENT: somebody ships one line, Mirakl debits it, and the OMS sends both lines meanwhile."""
    rig = Rig(tmp_path)
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", shipped_date=iso(rig.clock.now()))
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll()
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    tell(rig, 8)
    assert details(rig) == {"shipped_elsewhere": "1-A-1"}
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    read_on(rig)
    assert ("shipped" in rig.effects(), details(rig)) == (True, {"shipped_elsewhere": "1-A-1"})
    decide(rig, DecisionKind.SETTLE, "shipped_elsewhere")
    read_on(rig)
    assert rig.attention() == []


def test_the_report_of_another_order_of_the_oms_is_no_news_of_a_line_that_left_before(rig: Rig) -> None:
    """A colleague marks what the OMS reported sent. Its other order sends the other line then."""
    items = [{"id": 1, "external_ref": "1-A-1", "quantity": 1}], [{"id": 2, "external_ref": "1-A-2", "quantity": 1}]
    parts = [{"id": oms_id, "external_ref": "1-A", "items": own} for oms_id, own in zip((7, 8), items, strict=True)]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(lines=2)
    tell(rig, 8, id=7)
    rig.clock.advance(60)
    mark(rig)
    tell(rig, 8, id=8)
    assert (rig.attention(), "shipped" in rig.effects()) == ([], True)


def test_one_more_parcel_of_a_line_that_parcels_and_a_status_sent_is_news_of_it(rig: Rig) -> None:
    rig.imported(lines=2)
    mark(rig)
    for number, line, status in (("T1", "1-A-1", 512), ("T2", "1-A-2", 8), ("T3", "1-A-1", 64)):
        assert "shipped_elsewhere" in rig.attention()
        items = [{"external_ref": line, "quantity": 1}]
        parcel = {"tracking": number, "items": items, "dispatch_datetime": iso(rig.clock.now())}
        tell(rig, status, new_shipments=[parcel])
    assert details(rig) == {"quantity_exceeds_order": "1-A-1", "shipped_elsewhere": "1-A-1"}
