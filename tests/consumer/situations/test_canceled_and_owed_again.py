"""Mirakl took a line or pieces back, the OMS canceled them too, and they are to be sent again: one reason asks."""

import json
from collections.abc import Callable

import pytest

from adapters.messages.text import iso
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import (
    answer_with,
    decide,
    details,
    explained,
    lower,
    tell,
)

LINE, OTHER = "1-A-1", "1-A-2"
TAKEN_OUT = "lines_canceled_after_import"
ADDED = "lines_added_after_import"
Step = Callable[[Rig], None]


def oms_cancels(rig: Rig, pieces: int = 1) -> None:
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": LINE, "quantity": pieces}]}])


def refund(rig: Rig, pieces: int | None = None, line: str = LINE) -> None:
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)
    rig.poll(60)


def refund_of_the_price(rig: Rig) -> None:
    """A goodwill: a part of the price goes back, and no piece."""
    rig.clock.advance(60)
    one = {"id": "price-1", "amount": 1.0, "shipping_amount": 0.0, "quantity": 0, "state": "WAITING_REFUND"}
    changes.set_line(rig.mirakl["alpha"], "1-A", LINE, refunds=[one | {"created_date": iso(rig.clock.now())}])
    rig.poll(60)


def reject_refund(rig: Rig, line: str = LINE) -> None:
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", line, refunds=[])
    rig.poll(60)


def settle_all(rig: Rig) -> None:
    for reason in dict.fromkeys(rig.attention()):
        if reason in rig.attention():
            decide(rig, DecisionKind.SETTLE, reason)
    assert rig.attention() == []


def cure(rig: Rig, reason: str) -> str:
    found = explained(rig)
    return next(one.cure for one in found.attention if one.reason == reason)


def settled_after_both(rig: Rig, pieces: int | None) -> None:
    refund(rig, pieces)
    assert list(details(rig)) == [TAKEN_OUT]
    oms_cancels(rig)
    settle_all(rig)


def settled_between(rig: Rig, pieces: int | None) -> None:
    refund(rig, pieces)
    settle_all(rig)
    oms_cancels(rig)
    settle_all(rig)


def not_settled(rig: Rig, pieces: int | None) -> None:
    refund(rig, pieces)
    oms_cancels(rig)


def oms_first_and_settled(rig: Rig, pieces: int | None) -> None:
    oms_cancels(rig)
    settle_all(rig)
    refund(rig, pieces)
    assert rig.attention() == []


def oms_first(rig: Rig, pieces: int | None) -> None:
    oms_cancels(rig)
    refund(rig, pieces)
    settle_all(rig)


BEFORE = (settled_after_both, settled_between, not_settled, oms_first_and_settled, oms_first)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize(("ordered", "pieces"), [(1, None), (2, 1)], ids=["a line", "pieces"])
def test_a_refund_that_is_rejected_is_asked_about_once(
    rig: Rig, before: Callable[[Rig, int | None], None], ordered: int, pieces: int | None
) -> None:
    answer_with(rig, (LINE, ordered), (OTHER, ordered))
    rig.imported(lines=2, quantity=ordered)
    before(rig, pieces)
    reject_refund(rig)
    assert list(details(rig)) == ["oms_canceled"]
    assert f"to be sent is {ordered} of {LINE} (MUG-11OZ-WHT). Ask the people of the OMS how many pieces they make" in (
        cure(rig, "oms_canceled")
    )
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == [], "one settle is enough"
    rig.poll(86400)
    assert rig.attention() == []


def test_pieces_that_mirakl_shows_again_are_asked_about_once(rig: Rig) -> None:
    answer_with(rig, (LINE, 3))
    rig.imported(quantity=3)
    lower(rig, 2)
    oms_cancels(rig)
    settle_all(rig)
    lower(rig, 3)
    assert list(details(rig)) == ["oms_canceled"]
    settle_all(rig)


def test_a_line_that_the_oms_did_not_cancel_keeps_a_reason_of_its_own(rig: Rig) -> None:
    answer_with(rig, (LINE, 2), (OTHER, 2))
    rig.imported(lines=2, quantity=2)
    refund(rig, 1)
    refund(rig, 1, OTHER)
    oms_cancels(rig)
    settle_all(rig)
    reject_refund(rig)
    reject_refund(rig, OTHER)
    assert sorted(details(rig)) == [ADDED, "oms_canceled"]
    assert details(rig)[ADDED] == f"{OTHER} (part of 2, now 2)"
    assert f"to be sent is 2 of {LINE} (MUG-11OZ-WHT). Ask" in cure(rig, "oms_canceled")
    settle_all(rig)


def test_more_than_the_oms_got_is_another_event(rig: Rig) -> None:
    rig.imported(lines=2)
    oms_cancels(rig)
    lower(rig, 2)
    assert sorted(details(rig)) == [ADDED, "oms_canceled"]
    assert "Have made in all only what Mirakl shows" in cure(rig, ADDED)


def made_again_first(rig: Rig) -> None:
    tell(rig, 1, id=9)
    assert list(details(rig)) == ["oms_canceled"], "it is not asked for a second time"
    settle_all(rig)


def settled_first(rig: Rig) -> None:
    settle_all(rig)
    tell(rig, 1, id=9)


@pytest.mark.parametrize("made_again", [made_again_first, settled_first])
@pytest.mark.parametrize(("ordered", "pieces"), [(1, None), (2, 1)], ids=["a line", "pieces"])
def test_what_is_made_again_is_taken_out_when_it_is_refunded_again(
    rig: Rig, made_again: Step, ordered: int, pieces: int | None
) -> None:
    answer_with(rig, (LINE, ordered), (OTHER, ordered))
    rig.imported(lines=2, quantity=ordered)
    settled_between(rig, pieces)
    reject_refund(rig)
    made_again(rig)
    assert rig.attention() == []
    refund(rig, pieces)
    assert TAKEN_OUT in rig.attention()


def test_a_line_that_is_refunded_as_agreed_asks_nobody_and_is_asked_about_when_that_is_rejected_too(rig: Rig) -> None:
    rig.imported(lines=2)
    settled_between(rig, None)
    reject_refund(rig)
    settle_all(rig)
    refund(rig)
    assert rig.attention() == []
    reject_refund(rig)
    assert list(details(rig)) == ["oms_canceled"]


@pytest.mark.parametrize(("ordered", "pieces"), [(1, None), (2, 1)], ids=["a line", "pieces"])
def test_after_our_or24_what_only_or24_marked_shipped_is_asked_about_once(
    rig: Rig, ordered: int, pieces: int | None
) -> None:
    answer_with(rig, (LINE, ordered), (OTHER, ordered))
    rig.imported(lines=2, quantity=ordered)
    settled_after_both(rig, pieces)
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(600)
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipped", [])
    reject_refund(rig)
    assert list(details(rig)) == [ADDED]
    settle_all(rig)


def orders_of_the_oms(rig: Rig, *orders: dict[str, object]) -> None:
    """The OMS answers the import with these orders. One without items does not show its lines."""
    content = json.dumps([{"external_ref": "1-A"} | one for one in orders])
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=content))


def a_line_in_each_order(rig: Rig) -> None:
    held = {7: LINE, 8: OTHER}
    items = {oms_id: [{"id": 1, "external_ref": line, "quantity": 1}] for oms_id, line in held.items()}
    orders_of_the_oms(rig, *({"id": oms_id, "items": items[oms_id]} for oms_id in held))
    rig.imported(lines=2)


def sent_by_status(rig: Rig, *oms_ids: int) -> None:
    for oms_id in oms_ids or (7,):
        tell(rig, 8, id=oms_id, shipping_tracking=f"T{oms_id}")
    rig.poll(600)
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipped", [])


def settled_piece(rig: Rig) -> None:
    settled_after_both(rig, 1)


@pytest.mark.parametrize("taken_back", [refund_of_the_price, settled_piece])
def test_what_the_oms_cancels_after_our_or24_is_missing_though_mirakl_takes_another_part_back(
    rig: Rig, taken_back: Step
) -> None:
    answer_with(rig, (LINE, 3))
    rig.imported(quantity=3)
    taken_back(rig)
    settle_all(rig)
    sent_by_status(rig)
    oms_cancels(rig, 2)
    assert rig.attention() == ["oms_canceled"]
    settle_all(rig)
    tell(rig, 128)
    assert rig.attention() == ["oms_canceled"]


def test_what_the_oms_cancels_after_our_or24_stays_when_the_refund_of_another_piece_is_rejected(rig: Rig) -> None:
    answer_with(rig, (LINE, 3))
    rig.imported(quantity=3)
    settled_after_both(rig, 1)
    sent_by_status(rig)
    oms_cancels(rig, 2)
    reject_refund(rig)
    assert sorted(rig.attention()) == [ADDED, "oms_canceled"], "ADDED is about the piece that was taken out"
    decide(rig, DecisionKind.SETTLE, ADDED)
    assert rig.attention() == ["oms_canceled"]
    settle_all(rig)


def test_what_is_made_again_and_canceled_after_our_or24_is_missing(rig: Rig) -> None:
    a_line_in_each_order(rig)
    refund_of_the_price(rig)
    tell(rig, 128)
    settle_all(rig)
    sent_by_status(rig, 8)
    tell(rig, 1, id=20)
    assert rig.attention() == []
    tell(rig, 128, id=20)
    assert rig.attention() == ["oms_canceled"]


def test_a_line_that_a_status_of_the_rest_perhaps_sent_is_missing_when_its_refund_is_rejected(rig: Rig) -> None:
    orders_of_the_oms(rig, {"id": 7})
    rig.imported(lines=2)
    settled_after_both(rig, None)
    sent_by_status(rig)
    reject_refund(rig)
    assert rig.attention() == ["oms_canceled"], "the lines of the order that left are not known"
    settle_all(rig)


def test_what_was_made_again_after_our_or24_is_asked_about_once_more_if_the_oms_cancels_that_too(rig: Rig) -> None:
    a_line_in_each_order(rig)
    refund(rig)
    tell(rig, 128)
    settle_all(rig)
    sent_by_status(rig, 8)
    reject_refund(rig)
    assert list(details(rig)) == [ADDED]
    settle_all(rig)
    tell(rig, 1, id=20)
    assert rig.attention() == []
    tell(rig, 128, id=20)
    assert rig.attention() == ["oms_canceled"]


def test_a_line_that_was_taken_out_and_canceled_after_our_or24_is_asked_about_once(rig: Rig) -> None:
    a_line_in_each_order(rig)
    refund(rig)
    settle_all(rig)
    sent_by_status(rig, 8)
    tell(rig, 128)
    assert rig.attention() == []
    reject_refund(rig)
    assert list(details(rig)) == [ADDED]
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_a_refund_as_agreed_that_is_rejected_after_our_or24_asks_again_about_what_was_to_be_made(rig: Rig) -> None:
    a_line_in_each_order(rig)
    refund(rig)
    settle_all(rig)
    tell(rig, 128)
    reject_refund(rig)
    settle_all(rig)
    refund(rig)
    sent_by_status(rig, 8)
    reject_refund(rig)
    assert rig.attention() == ["oms_canceled"]


def test_a_cure_names_no_line_alone_if_another_one_is_missing_too(rig: Rig) -> None:
    answer_with(rig, (LINE, 1), (OTHER, 1))
    rig.imported(lines=2)
    settled_between(rig, None)
    tell(rig, 128)
    reject_refund(rig)
    assert list(details(rig)) == ["oms_canceled"]
    assert "to be sent is" not in cure(rig, "oms_canceled")
    assert "made again" in cure(rig, "oms_canceled")


def test_an_order_whose_lines_are_not_known_does_not_answer_for_a_line_of_another_one(rig: Rig) -> None:
    orders_of_the_oms(rig, {"id": 7}, {"id": 8})
    rig.imported(lines=2)
    refund(rig)
    settle_all(rig)
    tell(rig, 128, id=8)
    reject_refund(rig)
    assert sorted(details(rig)) == [ADDED, "oms_canceled"], "the line is perhaps in the other order"
    assert "to be sent is" not in cure(rig, "oms_canceled")
    tell(rig, 128, id=7)
    assert all("to be sent is" not in one.cure for one in explained(rig).attention), "both lines are missing"


def test_the_people_who_look_later_read_one_sentence_of_it(rig: Rig) -> None:
    rig.imported(lines=2)
    settled_between(rig, None)
    reject_refund(rig)
    settle_all(rig)
    waits = explained(rig).waits_for
    assert f"settled oms_canceled at 2026-03-01 12:05 UTC (seen): Mirakl still shows {LINE} to be sent" in waits
    assert "the OMS makes what was added" not in waits


def test_the_only_line_of_an_order_is_in_each_order_of_the_oms_that_shows_no_lines(rig: Rig) -> None:
    orders_of_the_oms(rig, {"id": 7}, {"id": 8})
    rig.imported(quantity=2)
    refund(rig, 1)
    settle_all(rig)
    tell(rig, 128, id=7)
    reject_refund(rig)
    assert list(details(rig)) == ["oms_canceled"]
