"""The OMS has a second order for one piece: it is asked for before it leaves."""

import pytest

from consumer.operations.listing import listed
from statemachine.facts import DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details
from tests.consumer.situations.test_left_twice import L1, L2, TOO_MANY, answer, put_back, reason, settle, tell


def test_a_second_order_of_one_piece_is_asked_for_before_it_leaves(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 99, 1)
    assert details(rig) == {TOO_MANY: L1}
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert reason(rig).cause == (
        "1-A-1 (MUG-11OZ-WHT): 1 ordered, and more orders of the OMS than pieces are to be sent: OMS order 7 (R7), "
        "status 1 at 2026-03-01 12:00:01 UTC and OMS order 99, status 1 at 2026-03-01 12:01:01 UTC"
    )
    assert "have what is too much canceled there before it leaves" in reason(rig).cure
    settle(rig)
    tell(rig, 99, 4)
    assert rig.attention() == []
    tell(rig, 100, 1)
    assert details(rig) == {TOO_MANY: L1}, "one more"


def test_the_wait_for_it_is_not_called_the_rest(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 99, 1)
    tell(rig, 7)
    assert (rig.state(), set(rig.attention())) == ("dispatched", {TOO_MANY, "partly_sent"})
    assert reason(rig, "partly_sent").cure.startswith("One piece was ordered, one order of the OMS sent it")
    tell(rig, 99, 128)
    assert rig.attention() == ["oms_canceled"]
    settle(rig)
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_it_is_asked_for_again_when_both_left_though_a_person_settled_it(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 99, 1)
    settle(rig)
    tell(rig, 7)
    assert TOO_MANY not in rig.attention()
    tell(rig, 99)
    assert details(rig) == {TOO_MANY: L1}


def test_a_line_that_is_to_be_sent_is_the_rest_though_another_left_twice(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}), (9, {L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7)
    tell(rig, 8)
    assert reason(rig, "partly_sent").cure.startswith("Ask the OMS when the rest leaves")


def test_a_piece_that_a_person_keyed_in_beside_an_import_that_had_landed(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HANDLED)
    tell(rig, 7, 1)
    assert TOO_MANY not in rig.attention()
    tell(rig, 8, 1)
    assert details(rig)[TOO_MANY] == L1


def test_where_the_answer_shows_the_piece_twice_another_reason_asks(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.imported()
    assert details(rig) == {"lines_not_imported": "1-A-1 (2 of 1)"}
    tell(rig, 7)
    assert set(rig.attention()) == {"lines_not_imported", "partly_sent"}
    assert reason(rig, "partly_sent").cure.startswith("One piece was ordered, one order of the OMS sent it")


@pytest.mark.parametrize(("lines", "quantity"), [(2, 1), (1, 2)])
def test_an_order_that_may_have_some_of_the_pieces_asks_nobody(rig: Rig, lines: int, quantity: int) -> None:
    answer(rig, (7, {L1: quantity} | ({L2: 1} if lines > 1 else {})))
    rig.imported(lines=lines, quantity=quantity)
    tell(rig, 8, 1)
    assert rig.attention() == []
    tell(rig, 7)
    assert reason(rig, "partly_sent").cure.startswith("Ask the OMS when the rest leaves")
    tell(rig, 9, 1)
    assert TOO_MANY in rig.attention(), "more orders than pieces"


@pytest.mark.parametrize("whole", [True, False], ids=["order", "line"])
def test_an_order_that_the_oms_makes_again_in_place_of_one_that_it_canceled(rig: Rig, whole: bool) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    if whole:
        tell(rig, 7, 128)
    else:
        tell(rig, 7, 1, new_cancellations=[{"items": [{"external_ref": L1, "quantity": 1}]}])
    settle(rig)
    tell(rig, 99, 1)
    assert rig.attention() == []


def test_a_lost_parcel_that_is_made_again_after_the_order_was_put_back(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    put_back(rig)
    tell(rig, 99, 1)
    assert TOO_MANY not in rig.attention()
    tell(rig, 100, 1)
    assert TOO_MANY in rig.attention(), "a second one"
