"""Several orders of the OMS report goods sent, and it is not known whether a piece left twice."""

import json

import pytest

from adapters.simulators.faults import Fault
from consumer.operations.listing import listed
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import details
from tests.consumer.situations.test_left_twice import L1, L2, TOO_MANY, answer, items_of, reason, settle, tell

NOW, LATER = Urgency.NOW, Urgency.BY_DEADLINE


def urgency(rig: Rig) -> Urgency | None:
    assert TOO_MANY in rig.attention()
    return listed(rig.row(), rig.policies["alpha"]).urgency


def lose_the_answer(rig: Rig, lines: int = 2) -> None:
    """The import lands, its answer is lost, and the OMS says that the repeat is a duplicate."""
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", lines=lines)
    rig.poll()
    rig.work()
    rig.work(600)
    assert rig.results[-1] == ("import_order", "already_done")


def answer_without_items(rig: Rig, *oms_ids: int) -> None:
    shown = [{"id": one, "ref": f"R{one}", "external_ref": "1-A", "status": 1} for one in oms_ids]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(shown)))


# -- Nothing shows what each order sent ------------------------------------------------------------------------------


def test_orders_of_which_nothing_is_known_may_have_split_the_lines(rig: Rig) -> None:
    lose_the_answer(rig)
    tell(rig, 7)
    assert rig.attention() == []
    tell(rig, 8)
    assert (rig.attention(), urgency(rig)) == ([TOO_MANY, TOO_MANY], LATER)
    assert reason(rig).cause == (
        "1-A-1 (MUG-11OZ-WHT): 1 ordered, and sent by OMS order 7 and by OMS order 8: it is not known what each of "
        "these orders sent. Perhaps each piece left once, perhaps one left twice"
    )
    assert "If it split the order and each piece left once, nothing is to be done" in reason(rig).cure
    settle(rig)
    tell(rig, 7, 64)
    assert rig.attention() == []


def test_it_ends_if_parcels_name_each_piece_once(rig: Rig) -> None:
    lose_the_answer(rig)
    tell(rig, 7)
    tell(rig, 8)
    tell(rig, 7, 64, {L1: 1})
    tell(rig, 8, 64, {L2: 1})
    assert rig.attention() == []


def test_parcels_that_name_one_piece_twice_are_asked_for_though_a_person_settled_the_doubt(rig: Rig) -> None:
    lose_the_answer(rig)
    tell(rig, 7)
    tell(rig, 8)
    settle(rig)
    tell(rig, 7, 64, {L1: 1})
    assert rig.attention() == []
    tell(rig, 8, 64, {L1: 1})
    assert (details(rig), urgency(rig)) == ({TOO_MANY: L1}, NOW)


@pytest.mark.parametrize(("lines", "orders"), [(1, (7, 8)), (2, (7, 8, 9))])
def test_more_orders_than_pieces_cannot_have_split_them(rig: Rig, lines: int, orders: tuple[int, ...]) -> None:
    lose_the_answer(rig, lines)
    for oms_id in orders:
        tell(rig, oms_id)
    assert urgency(rig) is NOW
    assert "so perhaps two parcels left" in reason(rig).cause


def test_orders_that_the_answer_names_without_their_items_ask_nobody(rig: Rig) -> None:
    answer_without_items(rig, 7, 8)
    rig.imported(lines=2)
    tell(rig, 7)
    tell(rig, 8)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    tell(rig, 9)
    assert urgency(rig) is NOW, "there is no piece for a third one"


def test_one_of_which_the_answer_does_not_speak_is_asked_for(rig: Rig) -> None:
    answer_without_items(rig, 7)
    rig.imported(lines=2)
    tell(rig, 7)
    tell(rig, 8)
    assert urgency(rig) is LATER


def test_an_order_that_is_canceled_and_made_again_as_two(rig: Rig) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7, 128)
    settle(rig)
    tell(rig, 8)
    tell(rig, 9)
    assert (rig.state(), urgency(rig)) == ("shipped", LATER)


@pytest.mark.parametrize(("quantity", "expected"), [(1, NOW), (2, LATER)])
def test_a_line_that_two_orders_have_in_unknown_pieces(rig: Rig, quantity: int, expected: Urgency) -> None:
    parts = [{"id": one, "external_ref": "1-A", "items": [{"external_ref": L1}]} for one in (7, 8)]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(quantity=quantity)
    tell(rig, 7)
    tell(rig, 8)
    assert urgency(rig) is expected


# -- One number ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [{L1: 1, L2: 1}, None], ids=["parcel", "status"])
def test_orders_with_one_number_sent_one_parcel(rig: Rig, second: dict[str, int] | None) -> None:
    answer(rig, (7, {L1: 1}), (8, {L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7, 8, {L1: 1, L2: 1}, number="C1")
    tell(rig, 8, 8, second, number="c 1")
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_one_number_in_parcels_of_orders_of_which_nothing_else_is_known(rig: Rig) -> None:
    lose_the_answer(rig)
    tell(rig, 7, 512, {L1: 1, L2: 1}, number="C1")
    tell(rig, 8, 512, {L1: 1, L2: 1}, number="C1")
    assert TOO_MANY not in rig.attention()


@pytest.mark.parametrize("number", ["n/a", "000"])
def test_a_word_in_place_of_a_number_shows_no_parcel(rig: Rig, number: str) -> None:
    answer(rig, (7, {L1: 1}), (8, {L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7, 8, {L1: 1, L2: 1}, number=number)
    tell(rig, 8, 8, number=number)
    assert details(rig)[TOO_MANY] == L2


@pytest.mark.parametrize("shown", [((7, {L1: 1}),), ((7, {L1: 1}), (8, {L1: 1}))], ids=["one", "both"])
@pytest.mark.parametrize("parcel", [{L1: 1}, None], ids=["parcels", "statuses"])
def test_one_number_of_more_pieces_than_were_ordered(
    rig: Rig, shown: tuple[tuple[int, dict[str, int]], ...], parcel: dict[str, int] | None
) -> None:
    answer(rig, *shown)
    rig.imported()
    tell(rig, 7, 8, parcel, number="N1")
    tell(rig, 8, 8, parcel if len(shown) > 1 else None, number="N1")
    assert (details(rig), urgency(rig)) == ({TOO_MANY: L1}, LATER)
    assert reason(rig).cause.endswith(
        "they report one number, so perhaps one parcel left; it is not known what it holds"
    )
    settle(rig)
    assert rig.attention() == []
    tell(rig, 8, 64, number="N8")
    assert rig.attention() == ([] if parcel and len(shown) > 1 else [TOO_MANY]), "the parcels keep their number"


def test_what_one_of_the_orders_sent_under_another_number_too_counts(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7, 512, {L1: 1}, number="C1")
    tell(rig, 8, 8, {L1: 1, L2: 1}, number="C1")
    assert TOO_MANY not in rig.attention()
    both = [{"tracking": number, "items": items_of({L1: 1})} for number in ("C1", "C7")]
    tell(rig, 7, 8, number="C1", new_shipments=both)
    assert details(rig)[TOO_MANY] == L1


# -- Pieces that the OMS canceled in one order and made in another ---------------------------------------------------


def test_equal_cancellations_in_two_reports_are_two(rig: Rig) -> None:
    answer(rig, (7, {L1: 3}))
    rig.imported(quantity=3)
    for status in (1, 4):
        tell(rig, 7, status, new_cancellations=[{"items": [{"external_ref": L1, "quantity": 1}]}])
        settle(rig)
    tell(rig, 7)
    tell(rig, 9, 8, {L1: 2})
    assert TOO_MANY not in rig.attention()
    tell(rig, 9, 8, {L1: 3})
    assert TOO_MANY in rig.attention()
