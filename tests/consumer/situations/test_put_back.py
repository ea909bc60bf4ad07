"""An order that Mirakl showed shipped, after our OR24 or somebody else's report, and that is put back to SHIPPING."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations import orders as operations
from consumer.operations.causes import AttentionReason
from statemachine.facts import DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import answer_with, decide, details, tell


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    rig.imported()
    return rig


def explained(rig: Rig) -> Sequence[AttentionReason]:
    return operations.explanation(rig.store, rig.row(), rig.policies["alpha"], rig.clock.now()).attention


def put_in_state(rig: Rig, state: str) -> None:
    mirakl = rig.mirakl["alpha"]
    changes.put_in_state(mirakl, "1-A", state)
    changes.set_line(mirakl, "1-A", "1-A-1", order_line_state=state, shipped_date=None)
    rig.poll()
    rig.work()


def shipped_and_put_back(rig: Rig) -> None:
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    rig.poll(300)
    assert rig.state() == "shipped"
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")


def test_it_is_not_marked_shipped_again_until_a_person_says_so(rig: Rig) -> None:
    shipped_and_put_back(rig)
    assert (rig.state(), rig.attention()) == ("dispatched", ["shipped_before"])
    assert rig.effects().count("shipped") == 1
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    rig.poll(300)
    assert (rig.state(), rig.attention(), rig.effects().count("shipped")) == ("shipped", [], 2)


def test_an_order_whose_debit_was_seen_is_not_marked_shipped_again_either(tmp_path: Path) -> None:
    """In PAY_ON_SHIPMENT Mirakl debits what our OR24 said had left: the first read after it may show that alone."""
    rig = Rig(tmp_path)
    rig.imported(workflow="PAY_ON_SHIPMENT")
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    rig.poll()
    assert rig.row().facts.snapshot.state.startswith("WAITING_DEBIT")  # type: ignore[union-attr]
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert (rig.attention(), rig.effects().count("shipped")) == (["shipped_before"], 1)


def on_shipment(rig: Rig) -> None:
    """An order in PAY_ON_SHIPMENT is shipped by our OR24, debited, paid and put back."""
    rig.imported(workflow="PAY_ON_SHIPMENT")
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(300)
    put_in_state(rig, "SHIPPED")
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert rig.attention() == ["shipped_before"]


def is_debited(rig: Rig) -> bool:
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_label=f"{rig.clock.now()}")
    rig.poll(300)
    snapshot = rig.row().facts.snapshot
    return snapshot is not None and snapshot.state.startswith("WAITING_DEBIT")


def test_the_debit_of_what_was_made_again_leaves_the_second_parcel_wanted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    on_shipment(rig)
    tell(rig, 8, id=8, shipping_tracking="T2")
    assert is_debited(rig)
    assert (rig.attention(), rig.effects().count("shipped")) == ([], 2)


def test_what_the_oms_first_reports_during_the_debit_after_a_release_is_one_too_many(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    on_shipment(rig)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    assert is_debited(rig)
    tell(rig, 1, id=8)
    assert is_debited(rig)
    tell(rig, 8, id=8, shipping_tracking="T2")
    assert "quantity_exceeds_order" in rig.attention()


def test_a_release_does_not_cover_that_it_is_put_back_once_more(rig: Rig) -> None:
    shipped_and_put_back(rig)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    rig.poll(300)
    put_in_state(rig, "SHIPPING")
    assert list(details(rig)) == ["shipped_before"]


def test_a_confirmed_call_that_no_read_shows_is_made_again_without_a_person(rig: Rig) -> None:
    """Mirakl takes OR24, and the order stays in SHIPPING (docs/rules.md 16)."""
    rig.fail("OR24", "answer", status=204, content="")
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    assert rig.effects().count("shipped") == 0
    for _ in range(2):
        rig.poll(600)
        rig.work()
    assert (rig.attention(), rig.effects().count("shipped")) == ([], 1)


def test_what_was_put_back_before_the_oms_sent_it_is_shipped_by_us(rig: Rig) -> None:
    """Somebody marked the order shipped in the portal by mistake. Our OR24 is the first that says that goods left."""
    put_in_state(rig, "SHIPPED")
    put_in_state(rig, "SHIPPING")
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    rig.poll(300)
    assert (rig.state(), rig.attention(), rig.effects().count("shipped")) == ("shipped", [], 1)


def test_what_the_oms_makes_and_sends_again_is_shipped_without_a_person(rig: Rig) -> None:
    shipped_and_put_back(rig)
    parcel = {"tracking": "T2", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    tell(rig, 8, id=8, new_shipments=[parcel])
    for _ in range(2):
        rig.poll(300)
        rig.work()
    assert (rig.attention(), rig.effects().count("shipped")) == ([], 2)


def test_what_somebody_else_reported_shipped_and_is_put_back_is_not_shipped_without_a_person(rig: Rig) -> None:
    tell(rig, 4)
    rig.mirakl["alpha"].ship_in_portal("1-A", "T1")
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    changes.set_fields(rig.mirakl["alpha"], "1-A")
    rig.poll(300)
    assert (rig.state(), rig.effects().count("shipped")) == ("shipped", 0)
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    rig.poll(300)
    rig.work()
    assert ("shipped_before" in rig.attention(), rig.effects().count("shipped")) == (True, 0)


def told_within_a_second(rig: Rig, oms_id: int | None = None) -> None:
    """OR24 follows the OMS's report within the same second, as it usually does."""
    rig.clock.advance(60.5)
    oms_id = oms_id or rig.row().facts.parts[0].oms_id
    body = {"id": oms_id, "external_ref": "1-A", "status": 8, "shipping_tracking": f"T{oms_id}"}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.clock.advance(0.2)
    rig.consume()
    rig.work()


def in_whole_seconds(rig: Rig) -> None:
    rig.mirakl["alpha"].knobs.update_date_in_whole_seconds = True


def two_seconds_behind(rig: Rig) -> None:
    mirakl = rig.mirakl["alpha"]
    now = mirakl.now
    mirakl.now = lambda: now() - timedelta(seconds=2)


@pytest.mark.parametrize("dates", [in_whole_seconds, two_seconds_behind])
def test_dates_of_mirakl_a_little_before_the_report_do_not_ship_it_twice(
    rig: Rig, dates: Callable[[Rig], None]
) -> None:
    dates(rig)
    told_within_a_second(rig)
    rig.poll(300)
    assert rig.state() == "shipped"
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    rig.poll(300)
    rig.work()
    assert (rig.attention(), rig.effects().count("shipped")) == (["shipped_before"], 1)


@pytest.mark.parametrize("dates", [in_whole_seconds, two_seconds_behind])
def test_an_order_that_is_put_back_and_made_again_several_times_asks_for_no_second_parcel(
    rig: Rig, dates: Callable[[Rig], None]
) -> None:
    """Each OR24 was applied, so the fourth of them is made too."""
    dates(rig)
    told_within_a_second(rig)
    for oms_id in (8, 9, 10, 11):
        rig.poll(300)
        rig.clock.advance(86_400)
        put_in_state(rig, "SHIPPING")
        tell(rig, 1, id=oms_id)
        decide(rig, DecisionKind.RELEASE, "shipped_before")
        told_within_a_second(rig, oms_id)
        rig.poll(300)
        rig.work()
        rig.poll(300)
        assert (rig.state(), rig.attention()) == ("shipped", []), "the second parcel is wanted"


def test_three_calls_in_vain_after_an_order_was_put_back_still_leave_it_to_a_person(rig: Rig) -> None:
    shipped_and_put_back(rig)
    rig.fail("OR24", "answer", 3, status=204, content="")
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    for number in range(3):
        assert "not_applied" not in rig.attention(), number
        rig.work()
        rig.poll(600)
    assert "not_applied" in rig.attention()
    (one,) = (one for one in explained(rig) if one.reason == "not_applied")
    assert one.cause.startswith("Mirakl said yes to OR24 (confirm_shipment) 3 times, "), "and to a fourth, applied one"
    assert rig.effects().count("shipped") == 1


# -- Pieces that were taken out before ---------------------------------------------------------------------------------


def leaves(rig: Rig, oms_id: int, pieces: int) -> None:
    parcel = {"tracking": f"T{oms_id}", "items": [{"external_ref": "1-A-1", "quantity": pieces}]}
    tell(rig, 8, id=oms_id, shipping_tracking=f"T{oms_id}", new_shipments=[parcel])
    for _ in range(2):
        rig.poll(300)
        rig.work()


def two_of_three_sent_and_put_back(tmp_path: Path, *, settled_first: bool) -> Rig:
    """Mirakl refunded the third piece, and order 7 of the OMS canceled it."""
    rig = Rig(tmp_path)
    answer_with(rig, ("1-A-1", 3))
    rig.imported(quantity=3)
    tell(rig, 4, new_cancellations=[{"items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    if settled_first:
        decide(rig, DecisionKind.SETTLE)
    rig.clock.advance(60)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    if not settled_first:
        decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7, 2)
    assert (rig.state(), rig.attention()) == ("shipped", [])
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    tell(rig, 1, id=9)
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    return rig


@pytest.mark.parametrize("settled_first", [True, False])
@pytest.mark.parametrize(("pieces", "reasons"), [(2, []), (3, ["lines_canceled_after_import"])])
def test_the_pieces_that_are_sent_again_are_not_added_to_those_that_left_before(
    tmp_path: Path, pieces: int, reasons: list[str], settled_first: bool
) -> None:
    rig = two_of_three_sent_and_put_back(tmp_path, settled_first=settled_first)
    leaves(rig, 9, pieces)
    assert (rig.state(), rig.attention()) == ("shipped", reasons)


def test_pieces_that_are_sent_though_nobody_asked_for_them_are_added(tmp_path: Path) -> None:
    """The order was put back by mistake: a person released it, and it was marked shipped again."""
    rig = two_of_three_sent_and_put_back(tmp_path, settled_first=False)
    tell(rig, 128, id=9)
    for reason in rig.attention():
        decide(rig, DecisionKind.SETTLE, reason)
    for _ in range(2):
        rig.poll(300)
        rig.work()
    assert (rig.state(), rig.attention()) == ("shipped", [])
    leaves(rig, 11, 2)
    assert rig.attention() == ["lines_canceled_after_import", "quantity_exceeds_order"]


def refunded_piece_settled_and_two_sent(tmp_path: Path) -> Rig:
    """The third piece is refunded, and a person says that the OMS takes it out. The OMS reports nothing of that."""
    rig = Rig(tmp_path)
    answer_with(rig, ("1-A-1", 3))
    rig.imported(quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE)
    leaves(rig, 7, 2)
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    return rig


def leaves_under_another_number(rig: Rig, pieces: int) -> None:
    parcel = {"tracking": "T77", "items": [{"external_ref": "1-A-1", "quantity": pieces}]}
    tell(rig, 8, id=7, shipping_tracking="T77", new_shipments=[parcel])


@pytest.mark.parametrize("released_first", [True, False])
@pytest.mark.parametrize(("pieces", "reasons"), [(1, ["lines_canceled_after_import"]), (2, [])])
def test_a_piece_that_one_order_had_not_sent_yet_is_no_second_one(
    tmp_path: Path, pieces: int, reasons: list[str], released_first: bool
) -> None:
    """Order 7 got three and sent two. One more is the piece that was to be taken out; two more are a second sending."""
    rig = refunded_piece_settled_and_two_sent(tmp_path)
    acts: list[Callable[[], None]] = [
        lambda: decide(rig, DecisionKind.RELEASE, "shipped_before"),
        lambda: leaves_under_another_number(rig, pieces),
    ]
    for act in acts if released_first else acts[::-1]:
        act()
    for _ in range(2):
        rig.poll(300)
        rig.work()
    assert rig.attention() == reasons


def test_the_debit_of_another_parcel_just_before_the_report_does_not_hold_our_or24(tmp_path: Path) -> None:
    """In PAY_ON_SHIPMENT Mirakl debits each parcel, so a debit that was over before our OR24 is no shipment of ours."""
    rig = Rig(tmp_path)
    rig.imported(workflow="PAY_ON_SHIPMENT", lines=2)
    mirakl = rig.mirakl["alpha"]
    changes.set_line(mirakl, "1-A", "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T10:00:00Z")
    for state in ("WAITING_DEBIT_PAYMENT", "SHIPPING"):
        changes.put_in_state(mirakl, "1-A", state)
        rig.poll()
    rig.clock.advance(1)
    body = {"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": 8, "shipping_tracking": "T1"}
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()
    assert rig.effects().count("shipped") == 1
    assert "shipped_before" not in rig.attention()


def sent_under_the_colleagues_number(rig: Rig) -> None:
    """A colleague reports the order shipped in the portal, and then the OMS reports the same parcel: no OR24 of ours is
    needed, and nothing changes at Mirakl."""
    tell(rig, 4)
    rig.mirakl["alpha"].ship_in_portal("1-A", "P9")
    if rig.mirakl["alpha"].order("1-A")["order_state"] != "SHIPPED":  # it is debited first
        rig.poll(60)
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
    rig.poll(60)
    tell(rig, 8, shipping_tracking="P9")
    rig.poll(300)
    rig.work()
    assert (rig.state(), rig.effects()) == ("shipped", ["imported"])
    rig.clock.advance(86_400)


@pytest.mark.parametrize("workflow", ["PAY_ON_ACCEPTANCE", "PAY_ON_SHIPMENT", "PAY_ON_DUE_DATE"])
def test_what_the_oms_sent_after_a_colleague_reported_it_is_not_shipped_again_without_a_person(
    tmp_path: Path, workflow: str
) -> None:
    rig = Rig(tmp_path)
    rig.imported(workflow=workflow)
    sent_under_the_colleagues_number(rig)
    put_in_state(rig, "SHIPPING")
    rig.poll(300)
    rig.work()
    assert (rig.state(), rig.attention(), rig.effects()) == ("dispatched", ["shipped_before"], ["imported"])
    decide(rig, DecisionKind.RELEASE, "shipped_before")
    rig.work()
    rig.poll(300)
    assert (rig.attention(), rig.effects()) == ([], ["imported", "shipped"])
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert rig.attention() == ["shipped_before"], "the release does not cover the second time"


@pytest.mark.parametrize("is_released", [True, False])
def test_what_is_made_again_then_is_wanted_and_what_leaves_after_that_is_one_too_many(
    rig: Rig, is_released: bool
) -> None:
    sent_under_the_colleagues_number(rig)
    put_in_state(rig, "SHIPPING")
    if is_released:
        tell(rig, 1, id=8)
        assert "shipped_before" in rig.attention(), "the OMS makes it again"
        decide(rig, DecisionKind.RELEASE, "shipped_before")
    tell(rig, 8, id=8, shipping_tracking="P8")
    rig.poll(300)
    assert (rig.state(), rig.effects()) == ("shipped", ["imported", "shipped"])
    assert "quantity_exceeds_order" not in rig.attention()
    tell(rig, 8, id=9, shipping_tracking="P7")
    assert "quantity_exceeds_order" in rig.attention()


def test_what_is_put_back_before_the_oms_sent_it_is_shipped_by_us_also_if_mirakl_changes_first(rig: Rig) -> None:
    """Our OR24 fails for some hours, and our OR23 changes the order at Mirakl. So does somebody else."""
    put_in_state(rig, "SHIPPED")
    put_in_state(rig, "SHIPPING")
    rig.fail("OR24", "answer", 2, status=503, content="")
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(60)
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_label="Other")
    rig.poll(60)
    assert (rig.attention(), rig.effects()) == ([], ["imported", "tracking"])
    rig.work(3600)
    rig.work(3600)
    rig.poll(300)
    assert (rig.state(), rig.attention(), rig.effects().count("shipped")) == ("shipped", [], 1)
    tell(rig, 8, id=8, shipping_tracking="T2")
    rig.poll(300)
    assert "quantity_exceeds_order" in rig.attention(), "the second parcel was not asked for"


def test_what_is_put_back_before_the_oms_sent_it_is_shipped_by_us_also_if_the_address_changes_first(rig: Rig) -> None:
    put_in_state(rig, "SHIPPED")
    put_in_state(rig, "SHIPPING")
    rig.fail("OR24", "answer", 1, status=503, content="")
    tell(rig, 8)
    rig.clock.advance(60)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll()
    assert rig.attention() == ["changed_after_import"]
    rig.work(3600)
    assert rig.effects() == ["imported", "shipped"]


def test_one_line_that_leaves_twice_after_a_put_back_is_one_too_many(tmp_path: Path) -> None:
    """The other line has not left, so SHIPPING is right, and nobody asked for a second parcel."""
    rig = Rig(tmp_path)
    rig.imported(lines=2)
    put_in_state(rig, "SHIPPED")
    put_in_state(rig, "SHIPPING")
    parcel = {"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}
    tell(rig, 512, new_shipments=[parcel])
    rig.clock.advance(60)
    changes.set_fields(rig.mirakl["alpha"], "1-A", shipping_type_label="Other")
    rig.poll(60)
    tell(rig, 512, id=8, new_shipments=[parcel | {"tracking": "T2"}])
    assert "quantity_exceeds_order" in rig.attention()


def test_what_is_put_back_while_a_part_has_not_left_waits_for_that_part(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    answer_with(rig, ("1-A-1", 1), ("1-A-2", 1))
    rig.imported(lines=2)
    put_in_state(rig, "SHIPPED")
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-1", "quantity": 1}]}])
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert "shipped_before" not in rig.attention()
    tell(rig, 512, new_shipments=[{"tracking": "T1", "items": [{"external_ref": "1-A-2", "quantity": 1}]}])
    assert rig.effects().count("shipped") == 1


def test_an_order_that_a_colleague_reported_just_before_our_or24_is_not_shipped_again_without_a_person(
    rig: Rig,
) -> None:
    """Mirakl refuses our OR24 then."""
    rig.mirakl["alpha"].ship_in_portal("1-A", "T1")
    tell(rig, 8, shipping_tracking="T1")
    rig.poll(300)
    assert rig.state() == "shipped"
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert "shipped_before" in rig.attention()
    assert "shipped" not in rig.effects()


def test_an_order_that_is_put_back_after_our_or24_and_once_more_after_a_colleagues_report(rig: Rig) -> None:
    shipped_and_put_back(rig)
    rig.mirakl["alpha"].ship_in_portal("1-A", "P9")
    rig.poll(60)
    tell(rig, 8, id=8, shipping_tracking="P9")
    rig.clock.advance(86_400)
    put_in_state(rig, "SHIPPING")
    assert "shipped_before" in rig.attention()
    assert rig.effects().count("shipped") == 1


def test_what_left_during_the_debit_of_another_parcel_is_shipped_by_us(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.imported(workflow="PAY_ON_SHIPMENT", lines=2)
    mirakl = rig.mirakl["alpha"]
    changes.set_line(mirakl, "1-A", "1-A-1", order_line_state="SHIPPED", shipped_date="2026-03-01T10:00:00Z")
    changes.put_in_state(mirakl, "1-A", "WAITING_DEBIT_PAYMENT")
    rig.poll()
    tell(rig, 8, shipping_tracking="T1")
    rig.clock.advance(60)
    changes.put_in_state(mirakl, "1-A", "SHIPPING")
    rig.poll()
    rig.work()
    assert ("shipped_before" in rig.attention(), rig.effects().count("shipped")) == (False, 1)
