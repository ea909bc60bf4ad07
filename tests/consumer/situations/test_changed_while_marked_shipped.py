"""Somebody reported the order shipped while the OMS still had it: what the customer asks for is told all the same."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from adapters.simulators.mirakl import changes
from adapters.store import journal as journal_rows
from adapters.store import schema as s
from adapters.store.facts_json import facts_to_json
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from consumer.operations.changed import changed_values
from consumer.operations.verify import differences
from statemachine.facts import DecisionKind, Tracking
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, tell

CHANGED, WROTE, ELSEWHERE = "changed_after_import", "message_after_import", "shipped_elsewhere"
Step = Callable[[Rig], None]


def set_fields(rig: Rig, **fields: Any) -> None:
    rig.clock.advance(60)
    changes.set_fields(rig.mirakl["alpha"], "1-A", **fields)
    rig.poll(60)


def moves(rig: Rig, street: str = "95 Canary Row") -> None:
    rig.clock.advance(60)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
    rig.poll(60)


def goes_to_a_pick_up_point(rig: Rig) -> None:
    set_fields(rig, shipping_pudo_id="P7")


def engraves(rig: Rig) -> None:
    set_fields(rig, order_additional_fields=[{"code": "engraving", "type": "STRING", "value": "Canary"}])


def engraves_a_line(rig: Rig) -> None:
    rig.clock.advance(60)
    field = {"code": "engraving", "type": "STRING", "value": "Canary"}
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_additional_fields=[field])
    rig.poll(60)


def writes(rig: Rig) -> None:
    rig.clock.advance(60)
    rig.mirakl["alpha"].post_message("1-A", "Canary asks for red.")
    set_fields(rig)


ASKS = [
    (moves, CHANGED),
    (goes_to_a_pick_up_point, CHANGED),
    (engraves, CHANGED),
    (engraves_a_line, CHANGED),
    (writes, WROTE),
]


def put_in_state(rig: Rig, state: str) -> None:
    rig.clock.advance(3600)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll(60)
    rig.work()


def marked_too_early(rig: Rig, workflow: str = "PAY_ON_ACCEPTANCE") -> None:
    """A person settles that the OMS's own goods were meant, and that the OMS goes on."""
    rig.imported(workflow=workflow)
    put_in_state(rig, "SHIPPED")
    assert rig.attention() == [ELSEWHERE]
    decide(rig, DecisionKind.SETTLE)


def explained(rig: Rig, reason: str) -> AttentionReason:
    found = operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now())
    return next(one for one in found.attention if one.reason == reason)


def sends(rig: Rig) -> None:
    tell(rig, 8, shipping_tracking="T1")
    if ELSEWHERE in details(rig):
        decide(rig, DecisionKind.SETTLE, ELSEWHERE)


@pytest.mark.parametrize("workflow", ["PAY_ON_ACCEPTANCE", "PAY_ON_DELIVERY", "PAY_ON_SHIPMENT"])
@pytest.mark.parametrize(("asks", "reason"), ASKS)
def test_what_the_customer_asks_for_is_told_while_the_oms_has_the_order(
    rig: Rig, workflow: str, asks: Step, reason: str
) -> None:
    marked_too_early(rig, workflow)
    asks(rig)
    assert list(details(rig)) == [reason]
    one = explained(rig, reason)
    assert "The goods have left" not in one.cure
    assert ("correct the order in the OMS" if reason == CHANGED else "tell the OMS what it asks for") in one.cure
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


@pytest.mark.parametrize(("asks", "reason"), ASKS)
def test_it_stands_until_a_settle_when_the_oms_sends_it_and_the_customer_has_it(
    rig: Rig, asks: Step, reason: str
) -> None:
    marked_too_early(rig)
    asks(rig)
    before = details(rig)
    sends(rig)
    assert details(rig) == before
    assert explained(rig, reason).cure.startswith("The goods have left.")
    for state in ("RECEIVED", "CLOSED"):
        put_in_state(rig, state)
        assert details(rig) == before
    moves(rig, "removed")
    assert details(rig) == before, "what Mirakl removes changes nothing"
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_both_values_are_shown_when_the_customer_has_the_parcel(rig: Rig) -> None:
    marked_too_early(rig)
    old = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    moves(rig)
    put_in_state(rig, "RECEIVED")
    moves(rig, "removed")
    shown = [(one.field, one.oms, one.mirakl) for one in changed_values(rig.store, rig.row())]
    assert ("street_1", old, "95 Canary Row") in shown


def test_a_change_before_the_settle_of_the_mark_is_told_too(rig: Rig) -> None:
    rig.imported()
    put_in_state(rig, "SHIPPED")
    moves(rig)
    assert sorted(details(rig)) == [CHANGED, ELSEWHERE]


def test_a_change_that_was_settled_is_told_again_if_it_changes_once_more(rig: Rig) -> None:
    marked_too_early(rig)
    moves(rig)
    decide(rig, DecisionKind.SETTLE)
    moves(rig, "96 Canary Row")
    assert list(details(rig)) == [CHANGED]


def marked_after_a_report(rig: Rig, status: int, **more: Any) -> None:
    """The portal's report comes before our OR24, and a read shows it after the OMS's report."""
    rig.mirakl["alpha"].ship_in_portal("1-A", "T1")
    rig.clock.advance(60)
    oms_id = next(part.oms_id for part in rig.row().facts.parts)
    body = {"id": oms_id, "external_ref": "1-A", "status": status} | more
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.poll(60)
    rig.work()
    assert rig.state() == "shipped"


def of_one_piece(line: str) -> list[dict[str, Any]]:
    return [{"tracking": "T1", "items": [{"external_ref": line, "quantity": 1}]}]


def sent_before(rig: Rig) -> None:
    rig.imported()
    marked_after_a_report(rig, 8, shipping_tracking="T1")


def rest_taken_back_before(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll(60)
    marked_after_a_report(rig, 4, new_shipments=of_one_piece("1-A-1"))


def rest_canceled_before_the_import(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="CANCELED")
    rig.poll()
    rig.work()
    marked_after_a_report(rig, 4, new_shipments=of_one_piece("1-A-1"))


def canceled_in_the_oms(rig: Rig) -> None:
    rig.imported()
    tell(rig, 128)
    put_in_state(rig, "SHIPPED")
    decide(rig, DecisionKind.SETTLE)


def arrived(rig: Rig) -> None:
    marked_too_early(rig)
    put_in_state(rig, "RECEIVED")


def rest_in_an_incident_when_we_reported_it(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="INCIDENT_OPEN")
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 4, new_shipments=of_one_piece("1-A-1"))
    rig.poll(600)
    assert rig.state() == "shipped"


def vouched(rig: Rig) -> None:
    rig.imported()
    tell(rig, 4)
    decide(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(600)


def vouched_and_repeated(rig: Rig) -> None:
    vouched(rig)
    tell(rig, 4)


def vouched_and_sent(rig: Rig) -> None:
    vouched(rig)
    tell(rig, 8)


BEFORE = [
    sent_before,
    rest_taken_back_before,
    rest_canceled_before_the_import,
    canceled_in_the_oms,
    arrived,
    rest_in_an_incident_when_we_reported_it,
    vouched_and_repeated,
    vouched_and_sent,
]


@pytest.mark.parametrize("begins", BEFORE)
@pytest.mark.parametrize(("asks", "reason"), ASKS)
def test_it_is_not_told_if_the_goods_had_left_or_arrived_or_nobody_makes_them(
    rig: Rig, begins: Step, asks: Step, reason: str
) -> None:
    begins(rig)
    asks(rig)
    assert reason not in rig.attention()


def test_goods_of_which_a_person_said_too_early_that_they_left(rig: Rig) -> None:
    rig.imported()
    decide(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(600)
    assert rig.state() == "shipped"
    moves(rig)
    assert rig.attention() == [], "they are on their way"
    tell(rig, 4)
    assert sorted(details(rig)) == [CHANGED, ELSEWHERE], "the OMS makes them"


def test_the_rest_of_goods_of_which_a_person_said_too_early_that_all_left(rig: Rig) -> None:
    """A report that a part left is progress, too: the OMS has the rest."""
    rig.imported(lines=2)
    decide(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(600)
    tell(rig, 512, new_shipments=of_one_piece("1-A-1"))
    decide(rig, DecisionKind.SETTLE)
    moves(rig)
    assert CHANGED in details(rig)


def canceled(rig: Rig) -> None:
    tell(rig, 128)


def vouched_for(rig: Rig) -> None:
    act = operations.Act(DecisionKind.SENT, "ana", "seen", rig.clock.now(), tracking=Tracking("DPD", "V1"))
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=("alpha",))
    rig.work()


def left_and_refused(rig: Rig) -> None:
    sends(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll(60)


def left_and_fewer_are_shown(rig: Rig) -> None:
    sends(rig)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=0)
    rig.poll(60)


def left_and_address_removed(rig: Rig) -> None:
    sends(rig)
    removed: dict[str, Any] = dict.fromkeys(("street_1", "street_2", "firstname", "lastname", "zip_code", "city"))
    changes.set_address(rig.mirakl["alpha"], "1-A", **removed)
    rig.poll(60)


def arrived_and_debited(rig: Rig) -> None:
    sends(rig)
    put_in_state(rig, "RECEIVED")
    put_in_state(rig, "WAITING_DEBIT")
    moves(rig, "removed")


LATER = [
    canceled,
    vouched_for,
    left_and_refused,
    left_and_fewer_are_shown,
    left_and_address_removed,
    arrived_and_debited,
]


@pytest.mark.parametrize("is_settled", [True, False])
@pytest.mark.parametrize("happens", LATER)
def test_the_read_before_the_mark_is_never_compared_again(rig: Rig, happens: Step, is_settled: bool) -> None:
    marked_too_early(rig, "PAY_ON_DUE_DATE")
    moves(rig)
    told = details(rig)[CHANGED]
    if is_settled:
        decide(rig, DecisionKind.SETTLE)
    happens(rig)
    assert details(rig).get(CHANGED) == (None if is_settled else told)
    assert [one.mirakl for one in changed_values(rig.store, rig.row())] == ([] if is_settled else ["95 Canary Row"])


@pytest.mark.parametrize("is_settled", [True, False])
def test_nor_if_the_oms_sends_what_a_person_vouched_for_too_early(rig: Rig, is_settled: bool) -> None:
    rig.imported()
    decide(rig, DecisionKind.SENT)
    rig.work()
    rig.poll(600)
    tell(rig, 4)
    decide(rig, DecisionKind.SETTLE)
    moves(rig)
    told = details(rig)
    if is_settled:
        decide(rig, DecisionKind.SETTLE)
    tell(rig, 8)
    assert details(rig).get(CHANGED) == (None if is_settled else told[CHANGED])


@pytest.mark.parametrize("state", ["WAITING_DEBIT", "WAITING_DEBIT_PAYMENT"])
@pytest.mark.parametrize("workflow", ["PAY_ON_DELIVERY", "PAY_ON_DUE_DATE"])
@pytest.mark.parametrize(("asks", "reason"), ASKS)
def test_a_debit_that_follows_the_arrival_tells_nothing(
    rig: Rig, workflow: str, state: str, asks: Step, reason: str
) -> None:
    marked_too_early(rig, workflow)
    sends(rig)
    put_in_state(rig, "RECEIVED")
    put_in_state(rig, state)
    asks(rig)
    assert rig.attention() == []


@pytest.mark.parametrize(("asks", "reason"), ASKS)
def test_nor_does_what_changes_weeks_later_though_mirakl_never_shows_that_it_arrived(
    rig: Rig, asks: Step, reason: str
) -> None:
    marked_too_early(rig)
    sends(rig)
    rig.clock.advance(18 * 86400)
    asks(rig)
    assert rig.attention() == []


def test_what_the_customer_asks_for_is_told_also_if_the_oms_canceled_it_and_may_make_it_again(rig: Rig) -> None:
    marked_too_early(rig)
    canceled(rig)
    decide(rig, DecisionKind.SETTLE)
    moves(rig)
    assert list(details(rig)) == [CHANGED]


@pytest.mark.parametrize("is_settled", [True, False])
def test_nor_if_mirakl_shows_fewer_pieces_after_a_part_left_before_the_mark(rig: Rig, is_settled: bool) -> None:
    rig.imported(quantity=2)
    marked_after_a_report(rig, 4, new_shipments=of_one_piece("1-A-1"))
    decide(rig, DecisionKind.SETTLE)
    moves(rig)
    told = details(rig)
    if is_settled:
        decide(rig, DecisionKind.SETTLE)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1)
    rig.poll(60)
    assert details(rig).get(CHANGED) == (None if is_settled else told[CHANGED])


def test_an_order_whose_shipment_an_earlier_version_stored(rig: Rig) -> None:
    marked_too_early(rig)
    row = rig.row()
    assert row.facts.snapshot is not None
    facts = replace(row.facts, snapshot=replace(row.facts.snapshot, is_followed=False))
    with rig.store.transaction() as tx:
        tx.execute(sa.update(s.orders).where(s.orders.c.id == row.key).values(facts=facts_to_json(facts)))
    rig.orders.replan([(row.shop, row.order_id)])
    assert rig.attention() == []
    moves(rig)
    assert list(details(rig)) == [CHANGED]


def test_the_order_is_what_its_journal_adds_up_to(rig: Rig) -> None:
    marked_too_early(rig)
    moves(rig)
    for state in ("RECEIVED", "CLOSED"):
        put_in_state(rig, state)
    assert differences(rig.row(), journal_rows.of_order(rig.store, rig.row().key)) == []
