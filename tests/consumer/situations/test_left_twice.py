"""Two orders of the OMS send the same goods: one piece cannot leave in both, so perhaps two parcels left."""

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from consumer.operations.causes import AttentionReason
from consumer.operations.listing import listed
from statemachine.facts import DecisionKind
from statemachine.urgency import Urgency
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import BARE, decide, details, explained

L1, L2 = "1-A-1", "1-A-2"
TOO_MANY = "quantity_exceeds_order"


def answer(rig: Rig, *parts: tuple[int, dict[str, int]]) -> None:
    """Let the OMS answer the import with these orders: their ids, each with the pieces of its lines."""
    shown = [
        {"id": oms_id, "ref": f"R{oms_id}", "external_ref": "1-A", "status": 1, "items": items_of(lines)}
        for oms_id, lines in parts
    ]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(shown)))


def items_of(lines: dict[str, int]) -> list[dict[str, Any]]:
    return [{"id": 1, "external_ref": line, "quantity": pieces} for line, pieces in lines.items()]


def tell(
    rig: Rig, oms_id: int, status: int = 8, parcel: dict[str, int] | None = None, *, number: str = "", **more: object
) -> None:
    """An order of the OMS reports, and orderflow reads the order at Mirakl afterwards. `number`: T and the order's id,
    if it is left out."""
    rig.clock.advance(60)
    number = number or f"T{oms_id}"
    shipments = [{"tracking": number, "items": items_of(parcel)}] if parcel else []
    body = {"id": oms_id, "external_ref": "1-A", "status": status, "new_shipments": shipments} | more
    rig.take_callback("http://alpha", {}, json.dumps(body | {"shipping_tracking": number}).encode())
    rig.consume()
    rig.work()
    rig.poll(600)
    rig.work()


def oms_id_of(rig: Rig) -> int:
    return rig.row().facts.parts[0].oms_id


def reason(rig: Rig, name: str = TOO_MANY) -> AttentionReason:
    found = explained(rig).attention
    return next(one for one in found if one.reason == name)


def settle(rig: Rig, *only: str) -> None:
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, *only)


# -- It is told ------------------------------------------------------------------------------------------------------


def test_two_orders_that_the_answer_shows_with_the_same_piece_stay_on_the_list_until_a_settle(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.imported()
    assert details(rig) == {"lines_not_imported": "1-A-1 (2 of 1)"}
    tell(rig, 7)
    assert TOO_MANY not in rig.attention()
    tell(rig, 8)
    assert (rig.state(), details(rig)) == ("shipped", {TOO_MANY: L1})
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert reason(rig).cause == (
        "1-A-1 (MUG-11OZ-WHT): 1 ordered, and sent by OMS order 7 (R7) and by OMS order 8 (R8): one piece cannot leave "
        "in two orders of the OMS, so perhaps two parcels left"
    )
    assert "If two parcels left, stop the second or arrange its return" in reason(rig).cure
    tell(rig, 8)
    settle(rig)
    tell(rig, 8, 64)  # the same goods once more
    assert rig.attention() == []


def test_an_order_of_which_nothing_is_known_beside_one_that_sent_all(rig: Rig) -> None:
    rig.imported(lines=2)
    ours = oms_id_of(rig)
    tell(rig, 99)
    assert TOO_MANY not in rig.attention()
    tell(rig, ours)
    assert rig.state() == "shipped"
    assert [one.detail for one in rig.row().attention if one.reason == TOO_MANY] == [L1, L2]
    settle(rig)
    assert rig.attention() == []
    tell(rig, 100)
    assert set(rig.attention()) == {TOO_MANY}, "a third one"


def test_an_order_that_reports_after_mirakl_shows_the_order_shipped(rig: Rig) -> None:
    rig.imported()
    tell(rig, oms_id_of(rig))
    tell(rig, 99, 1)
    assert (rig.state(), details(rig)) == ("shipped", {TOO_MANY: L1})
    settle(rig)
    tell(rig, 99, 4)
    assert rig.attention() == []
    tell(rig, 99)
    assert details(rig) == {TOO_MANY: L1}


@pytest.mark.parametrize("may_split", [True, False])
def test_a_piece_that_a_person_keyed_in_beside_an_import_that_had_landed(tmp_path: Path, may_split: bool) -> None:
    rig = Rig(tmp_path, oms_table={"may_split": may_split})
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HANDLED)
    tell(rig, 7)
    assert TOO_MANY not in rig.attention()
    tell(rig, 8)
    assert details(rig)[TOO_MANY] == L1


@pytest.mark.parametrize("first", [True, False])
def test_parcels_of_one_order_and_a_status_of_the_other(rig: Rig, first: bool) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.imported()
    tell(rig, 7, 512 if first else 8, {L1: 1} if first else None)
    tell(rig, 8, 8 if first else 512, None if first else {L1: 1})
    assert details(rig)[TOO_MANY] == L1


def test_pieces_without_a_number_that_two_orders_share(rig: Rig) -> None:
    """The answer names the line twice, and no pieces: nothing shows that they differ."""
    parts = [{"id": one, "external_ref": "1-A", "items": [{"external_ref": L1}]} for one in (7, 8)]
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=json.dumps(parts)))
    rig.imported(quantity=2)
    tell(rig, 7)
    tell(rig, 8)
    assert details(rig)[TOO_MANY] == L1


def test_more_pieces_of_one_order_than_were_handed_over_stay_when_they_left(rig: Rig) -> None:
    answer(rig, (7, {L1: 2}))
    rig.imported()
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW, "goods that nobody ordered are made"
    tell(rig, 7)
    assert (rig.state(), details(rig)) == ("shipped", {"lines_not_imported": "1-A-1 (2 of 1)"})
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW
    assert reason(rig, "lines_not_imported").cure.startswith("The OMS sent more than the import handed over")
    settle(rig)
    assert rig.attention() == []


# -- It is not told --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("may_split", [True, False])
@pytest.mark.parametrize(
    "parts", [({L1: 2}, {L2: 2}), ({L1: 1, L2: 2}, {L1: 1}), ({L1: 1}, {L1: 1, L2: 2})], ids=["lines", "pieces", "both"]
)
def test_orders_that_share_the_lines_or_pieces(
    tmp_path: Path, may_split: bool, parts: tuple[dict[str, int], dict[str, int]]
) -> None:
    rig = Rig(tmp_path, oms_table={"may_split": may_split})
    answer(rig, *enumerate(parts, 7))
    rig.imported(lines=2, quantity=2)
    tell(rig, 7)
    tell(rig, 8)
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("answered", [True, False])
def test_an_order_that_is_split_while_nothing_is_known_of_its_lines(tmp_path: Path, answered: bool) -> None:
    rig = Rig(tmp_path, oms_table={"may_split": True})
    if answered:
        rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=BARE.decode()))
    else:
        rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    tell(rig, 7)
    tell(rig, 8)
    assert TOO_MANY not in rig.attention()


@pytest.mark.parametrize("may_split", [True, False])
def test_parcels_that_name_other_lines(tmp_path: Path, may_split: bool) -> None:
    rig = Rig(tmp_path, oms_table={"may_split": may_split})
    rig.oms.knobs.faults.append(Fault("order", "answer_after", 1, "1-A", status=201, content=BARE.decode()))
    rig.imported(lines=2)
    tell(rig, 7, 8, {L1: 1})
    tell(rig, 8, 8, {L2: 1})
    assert TOO_MANY not in rig.attention()


def test_an_order_that_the_oms_canceled_and_made_again(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7, 128)
    settle(rig)
    tell(rig, 99)
    assert TOO_MANY not in rig.attention()


def test_a_line_that_was_added_and_keyed_in_beside_the_import(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, quantity=2)
    rig.poll(60)
    settle(rig, "lines_added_after_import")
    tell(rig, 7)
    tell(rig, 99, 8, {L1: 1})
    assert TOO_MANY not in rig.attention()
    tell(rig, 99, 64)
    assert TOO_MANY not in rig.attention()


def test_parcels_of_what_a_person_settled_by_the_statuses(rig: Rig) -> None:
    """A status 64 names the parcels of what a status 8 reported: the same goods."""
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    tell(rig, 8)
    settle(rig)
    tell(rig, 7, 64, {L1: 1})
    tell(rig, 8, 64, {L1: 1})
    assert rig.attention() == []
    tell(rig, 8, 64, {L1: 1}, shipping_tracking="T9", new_shipments=[{"tracking": "T9", "items": items_of({L1: 2})}])
    assert rig.attention() == [TOO_MANY], "more left"


# -- Around an order that is put back --------------------------------------------------------------------------------


def put_back(rig: Rig, *states: str) -> None:
    for state in states or ("SHIPPING",):
        rig.clock.advance(3_600)
        changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
        if state == "SHIPPING":
            changes.set_line(rig.mirakl["alpha"], "1-A", L1, shipped_date=None)
        rig.poll(60)
        rig.work()


@pytest.mark.parametrize("read", [True, False], ids=["the second after a read", "both before"])
def test_it_stays_when_mirakl_puts_the_order_back(rig: Rig, read: bool) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}) if not read else (7, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    assert rig.state() == ("shipped" if read else "imported")
    tell(rig, 8)
    put_back(rig)
    assert {TOO_MANY, "shipped_before"} <= set(rig.attention())
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [TOO_MANY])


def test_a_lost_parcel_that_is_made_again_before_anybody_releases_the_order(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    put_back(rig)
    assert rig.attention() == ["shipped_before"]
    tell(rig, 99)
    rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])


@pytest.mark.parametrize("first", [{L1: 1}, None], ids=["parcel", "status"])
@pytest.mark.parametrize("second", [{L1: 1}, None], ids=["parcel", "status"])
def test_a_lost_parcel_that_is_made_again_and_what_the_first_order_reports_late(
    rig: Rig, first: dict[str, int] | None, second: dict[str, int] | None
) -> None:
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7, 8, first)
    put_back(rig)
    tell(rig, 99, 1)  # made again, as the cure says: before the release
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    tell(rig, 99, 8, second)
    tell(rig, 7, 64, first)
    assert rig.attention() == []
    tell(rig, 100)
    assert rig.attention() == [TOO_MANY], "once more"


def left_without_a_number(rig: Rig, oms_id: int) -> None:
    rig.clock.advance(60)
    body = {"id": oms_id, "external_ref": "1-A", "status": 8}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()
    rig.poll(600)
    rig.work()


@pytest.mark.parametrize("second", [{L1: 1}, None], ids=["parcel", "status"])
@pytest.mark.parametrize("by_portal", [True, False], ids=["portal", "release"])
def test_an_order_that_was_put_back_by_mistake_and_that_a_second_order_of_the_oms_sends(
    rig: Rig, by_portal: bool, second: dict[str, int] | None
) -> None:
    """The person said that the goods left: a release has Mirakl marked again, or the person does so in the portal."""
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7, 8, second)
    put_back(rig)
    if by_portal:
        put_back(rig, "SHIPPED")
    else:
        decide(rig, DecisionKind.RELEASE, "shipped_before")
        rig.work()
        rig.poll(600)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    tell(rig, 99, 8, second) if second else left_without_a_number(rig, 99)
    assert details(rig) == {TOO_MANY: L1}
    rig.poll(600)
    assert details(rig) == {TOO_MANY: L1}
    settle(rig)
    tell(rig, 99, 64, second)
    assert rig.attention() == []


def test_an_order_of_the_answer_that_leaves_after_the_other_was_put_back_by_mistake(rig: Rig) -> None:
    """The OMS spoke of it before, so nobody had it made again."""
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.imported()
    tell(rig, 7, 8, {L1: 1})
    tell(rig, 8, 4)
    put_back(rig)
    tell(rig, 8, 512)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    put_back(rig, "SHIPPED")
    left_without_a_number(rig, 8)
    assert TOO_MANY in details(rig)


def test_a_lost_parcel_after_an_order_was_put_back_by_mistake(rig: Rig) -> None:
    """The release of the first time is not about the second one."""
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    put_back(rig)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    rig.poll(600)
    put_back(rig)
    assert rig.attention() == ["shipped_before"]
    tell(rig, 99)
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_second_order_without_a_number_stays_when_mirakl_puts_the_order_back(rig: Rig) -> None:
    """Without a number no OR23 is made, so Mirakl's date of the shipment is earlier than the report."""
    answer(rig, (7, {L1: 1}))
    rig.imported()
    tell(rig, 7)
    left_without_a_number(rig, 99)
    put_back(rig)
    assert (rig.attention(), rig.effects().count("shipped")) == ([TOO_MANY, "shipped_before"], 1)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    assert rig.effects().count("shipped") == 2
    rig.poll(600)
    assert (rig.state(), details(rig)) == ("shipped", {TOO_MANY: L1})
    settle(rig, TOO_MANY)
    assert rig.attention() == []


def test_where_mirakl_debits_one_parcel_before_the_rest_is_shipped_nobody_put_the_order_back(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}), (9, {L2: 1}))
    rig.imported(lines=2, workflow="PAY_ON_SHIPMENT")
    tell(rig, 7)
    changes.set_line(rig.mirakl["alpha"], "1-A", L1, order_line_state="SHIPPED", shipped_date="2026-03-01T12:00:00Z")
    put_back(rig, "WAITING_DEBIT_PAYMENT", "SHIPPING")
    assert TOO_MANY not in rig.attention()
    tell(rig, 8)
    assert TOO_MANY in rig.attention()
    tell(rig, 9)
    put_back(rig, "SHIPPED")
    assert (rig.state(), details(rig)[TOO_MANY]) == ("shipped", L1)


def test_the_second_order_that_the_oms_cancels_as_it_was_asked_is_not_made_again(rig: Rig) -> None:
    answer(rig, (7, {L1: 1}), (8, {L1: 1}))
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    tell(rig, 8, 128)
    cure = reason(rig, "oms_canceled").cure
    assert cure.startswith("The OMS did not cancel its other order")
    tell(rig, 7, 128)
    assert "The OMS did not cancel its other order" not in reason(rig, "oms_canceled").cure


def test_an_order_that_the_oms_splits_after_its_answer_asks_nobody_if_the_parcels_name_each_piece_once(
    rig: Rig,
) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    tell(rig, 7, 8, {L1: 1})
    tell(rig, 8, 8, {L2: 1})
    assert TOO_MANY not in details(rig)


@pytest.mark.parametrize("first", [True, False], ids=["parcel first", "status first"])
def test_a_status_under_another_number_than_the_parcels_sent_the_rest(rig: Rig, first: bool) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.imported(lines=2)
    each: list[tuple[int, dict[str, int] | None, str]] = [(512, {L1: 1}, "T7"), (8, None, "T7b")]
    for status, parcel, number in each if first else reversed(each):
        tell(rig, 7, status, parcel, number=number)
    assert rig.state() == "shipped"
    tell(rig, 99, 8, {L2: 1})
    assert details(rig) == {TOO_MANY: L2}
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.NOW


def test_pieces_that_statuses_send_beside_parcels_count(rig: Rig) -> None:
    answer(rig, (7, {L1: 2}), (8, {L1: 2}))
    rig.imported(quantity=2)
    tell(rig, 7, 512, {L1: 1})
    tell(rig, 7, 8, number="T7b")
    assert TOO_MANY not in rig.attention()
    tell(rig, 8, 512, {L1: 1})
    assert details(rig)[TOO_MANY] == L1


def test_a_status_before_the_parcels_under_their_number_leaves_a_doubt(rig: Rig) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7)
    tell(rig, 7, 64, {L1: 1})
    tell(rig, 99, 8, {L2: 1})
    assert details(rig) == {TOO_MANY: L2}
    assert listed(rig.row(), rig.policies["alpha"]).urgency is Urgency.BY_DEADLINE


def test_a_number_that_is_corrected_after_the_status_is_no_further_parcel(rig: Rig) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.imported(lines=2)
    tell(rig, 7, 8, {L1: 1})
    tell(rig, 99, 8, {L2: 1})
    tell(rig, 7, 64, number="T7b")
    assert rig.attention() == []


def test_it_asks_if_one_of_the_orders_names_no_items(rig: Rig) -> None:
    answer(rig, (7, {L1: 1, L2: 1}))
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    tell(rig, 8, 8, {L1: 1, L2: 1})
    tell(rig, 7, 8)
    assert TOO_MANY in details(rig)
