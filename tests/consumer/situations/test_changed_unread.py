"""What Mirakl changes between the last read and the shipment is on the list, though OR24 goes out without a read."""

from collections.abc import Callable
from typing import Any

import pytest

from adapters.simulators.mirakl import changes
from consumer.operations.changed import changed_values
from statemachine.facts import PAY_ON_DELIVERY, DecisionKind
from tests.consumer.rig import Rig
from tests.consumer.situations.in_oms_hands import decide, details, explained, tell

LINE, OTHER = "1-A-1", "1-A-2"
CANCELED = "lines_canceled_after_import"
Change = Callable[[Rig], None]


def refund(rig: Rig, line: str = OTHER, pieces: int | None = None) -> None:
    changes.refund(rig.mirakl["alpha"], "1-A", line, pieces)


def cancel(rig: Rig) -> None:
    assert rig.mirakl["alpha"].cancel_line("1-A", OTHER)


def refund_all(rig: Rig) -> None:
    for line in (LINE, OTHER):
        refund(rig, line)


def refund_a_piece(rig: Rig) -> None:
    refund(rig, OTHER, 1)


def cancel_a_piece(rig: Rig) -> None:
    changes.cancel_pieces(rig.mirakl["alpha"], "1-A", OTHER, 1)


def ships(rig: Rig) -> None:
    """The OMS sends everything and OR24 goes out before the next read."""
    tell(rig, 8, new_shipments=[{"tracking": "T1"}])
    assert rig.effects() == ["imported", "tracking", "shipped"]


def shown(rig: Rig) -> dict[str, str]:
    rig.poll(300)
    rig.work()
    assert rig.state() == "shipped"
    return details(rig)


def shipped_after(rig: Rig, change: Change, **fields: Any) -> dict[str, str]:
    """Import two lines, make the change, and ship. Returns what the list shows of the first read after that."""
    rig.imported(lines=2, quantity=2, **fields)
    rig.clock.advance(60)
    change(rig)
    ships(rig)
    return shown(rig)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (cancel, OTHER),
        (refund, OTHER),
        (refund_all, f"{LINE},{OTHER}"),
        (refund_a_piece, f"{OTHER} (part of 2, "),
        (cancel_a_piece, f"{OTHER} (part of 2, "),
    ],
)
def test_a_line_that_was_taken_back_is_on_the_list_until_a_person_settles_it(
    rig: Rig, change: Change, named: str
) -> None:
    reasons = shipped_after(rig, change)
    assert list(reasons) == [CANCELED]
    assert reasons[CANCELED].startswith(named)
    explanation = explained(rig)
    assert explanation.attention[0].cure.startswith("The goods have left. ")
    of_both = "Stop the parcel" if change is refund_all else "What is to arrive is perhaps in the same parcel: "
    assert of_both in explanation.attention[0].cure
    assert shown(rig) == reasons
    decide(rig, DecisionKind.SETTLE, CANCELED)
    assert rig.attention() == []
    changes.pay_refunds(rig.mirakl["alpha"], "1-A")
    assert shown(rig) == {}
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    assert shown(rig) == {}


def test_of_a_line_that_was_taken_back_in_part_the_part_is_named(rig: Rig) -> None:
    shipped_after(rig, refund_a_piece)
    explanation = explained(rig)
    assert "2 went to the OMS, Mirakl shows 2 pieces, and" in explanation.attention[0].cause
    assert "refund" in explanation.attention[0].cause


def test_a_return_after_the_shipment_needs_nobody(rig: Rig) -> None:
    rig.imported(lines=2, quantity=2)
    ships(rig)
    rig.clock.advance(60)
    refund_a_piece(rig)
    assert shown(rig) == {}
    refund(rig)
    assert shown(rig) == {}
    changes.pay_refunds(rig.mirakl["alpha"], "1-A")
    assert shown(rig) == {}


def test_a_return_of_a_line_that_was_settled_needs_nobody(rig: Rig) -> None:
    assert list(shipped_after(rig, refund_a_piece)) == [CANCELED]
    decide(rig, DecisionKind.SETTLE, CANCELED)
    rig.clock.advance(60)
    refund(rig)
    assert shown(rig) == {}


@pytest.mark.parametrize("change", [refund, cancel])
def test_what_was_taken_back_before_the_import_stays_off_the_list(rig: Rig, change: Change) -> None:
    rig.add("1-A", state="SHIPPING", lines=2, quantity=2)
    change(rig)
    rig.poll()
    rig.work()
    assert [items for one in rig.row().facts.handovers for items in one.items] == [(LINE, 2)]
    ships(rig)
    assert shown(rig) == {}
    refund(rig, LINE)
    assert shown(rig) == {}


def test_a_part_that_a_person_released_for_the_import_stays_off_the_list(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", lines=2, quantity=2)
    refund_a_piece(rig)
    rig.poll()
    assert rig.attention() == ["partly_withdrawn"]
    decide(rig, DecisionKind.RELEASE)
    rig.work()
    ships(rig)
    assert shown(rig) == {}
    refund_a_piece(rig)
    assert shown(rig) == {}, "the customer sends the other piece back"


def test_a_settle_that_was_made_on_an_earlier_read_does_not_cover_it(rig: Rig) -> None:
    rig.imported(lines=2, quantity=3)
    rig.clock.advance(60)
    refund_a_piece(rig)
    rig.poll(60)
    rig.clock.advance(60)
    refund_a_piece(rig)
    rig.clock.advance(60)
    decide(rig, DecisionKind.SETTLE, CANCELED)
    ships(rig)
    assert list(shown(rig)) == [CANCELED]
    decide(rig, DecisionKind.SETTLE, CANCELED)
    assert shown(rig) == {}


def end_line(rig: Rig) -> None:
    changes.set_line(rig.mirakl["alpha"], "1-A", OTHER, order_line_state="CANCELED")


def test_a_canceled_line_without_a_date_counts_where_the_debit_comes_first(rig: Rig) -> None:
    assert list(shipped_after(rig, end_line)) == [CANCELED]


def test_where_the_debit_comes_late_only_a_date_tells_a_cancelation_from_a_return(rig: Rig) -> None:
    assert shipped_after(rig, end_line, workflow=PAY_ON_DELIVERY) == {}


def test_where_the_debit_comes_late_a_dated_cancelation_before_the_shipment_counts(rig: Rig) -> None:
    assert list(shipped_after(rig, cancel, workflow=PAY_ON_DELIVERY)) == [CANCELED]


def test_a_line_that_the_oms_canceled_did_not_leave(rig: Rig) -> None:
    rig.imported(lines=2)
    tell(rig, 512, new_cancellations=[{"items": [{"external_ref": OTHER, "quantity": 1}]}])
    assert rig.attention() == ["oms_canceled"]
    decide(rig, DecisionKind.SETTLE, "oms_canceled")
    cancel(rig)
    ships(rig)
    assert shown(rig) == {}


# -- Where the parcel goes ---------------------------------------------------------------------------------------

ADDRESS = "changed_after_import"


def street(name: str) -> Change:
    return lambda rig: changes.set_address(rig.mirakl["alpha"], "1-A", street_1=name)


def pick_up_point(rig: Rig) -> None:
    changes.set_fields(rig.mirakl["alpha"], "1-A", "customer", shipping_pudo_id="P9")


def remove(rig: Rig) -> None:
    """Mirakl removes the customer's data."""
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="removed", lastname="removed")


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [(street("95 Canary Row"), "street_1", "95 Canary Row"), (pick_up_point, "", "P9")],
    ids=["address", "pick-up point"],
)
def test_where_the_parcel_should_have_gone_is_on_the_list_until_a_person_settles_it(
    rig: Rig, change: Change, field: str, value: str
) -> None:
    reasons = shipped_after(rig, change)
    assert list(reasons) == [ADDRESS]
    explanation = explained(rig)
    assert explanation.attention[0].cure.startswith("The goods have left. Compare both.")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "RECEIVED")
    remove(rig)
    assert shown(rig) == reasons
    rig.pass_time(days=2)
    assert [(one.field, one.mirakl) for one in changed_values(rig.store, rig.row())] == [(field, value)]
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    assert shown(rig) == {}


def test_data_that_mirakl_removed_before_the_first_read_after_the_shipment_need_nobody(rig: Rig) -> None:
    rig.imported()
    ships(rig)
    rig.clock.advance(2 * 86400)
    remove(rig)
    assert shown(rig) == {}


def test_what_the_shipment_itself_may_change_needs_nobody(rig: Rig) -> None:
    def edit(rig: Rig) -> None:
        rig.mirakl["alpha"].post_message("1-A", "Canary asks where the parcel is.")
        fields = [{"code": "parcel", "type": "STRING", "value": "T1"}]
        changes.set_fields(rig.mirakl["alpha"], "1-A", order_additional_fields=fields)

    assert shipped_after(rig, edit) == {}


def test_an_address_that_changes_back_before_the_first_read_stays_on_the_list(rig: Rig) -> None:
    rig.imported(lines=2)
    old = rig.mirakl["alpha"].order("1-A")["customer"]["shipping_address"]["street_1"]
    street("95 Canary Row")(rig)
    rig.poll(60)
    assert rig.attention() == [ADDRESS]
    rig.clock.advance(60)
    street(old)(rig)
    ships(rig)
    assert list(shown(rig)) == [ADDRESS]
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    assert shown(rig) == {}


def test_an_address_that_changes_once_more_after_its_settle_is_on_the_list_again(rig: Rig) -> None:
    rig.imported(lines=2)
    street("95 Canary Row")(rig)
    rig.poll(60)
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    assert rig.attention() == []
    rig.clock.advance(60)
    street("96 Canary Row")(rig)
    ships(rig)
    assert list(shown(rig)) == [ADDRESS]
    decide(rig, DecisionKind.SETTLE, ADDRESS)
    assert shown(rig) == {}
