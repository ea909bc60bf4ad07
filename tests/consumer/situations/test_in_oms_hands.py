"""Changes by Mirakl of an order that the OMS has or may have, compared with what the import sent."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.simulators.faults import Fault
from adapters.simulators.mirakl import changes
from adapters.simulators.orders import COMPANIES
from adapters.store.facts_json import facts_from_json, facts_to_json
from consumer.operations import orders as operations
from statemachine.events import Event, Trigger
from statemachine.facts import DecisionKind, Facts, OmsStatus
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.consumer.situations.in_oms_hands import (
    IMPORTS,
    answer_lost_then_duplicate,
    answer_with,
    decide,
    details,
    lost_then_refused,
    lower,
    tell,
)


@pytest.mark.parametrize("imported", IMPORTS)
def test_a_lowered_quantity_is_told_however_the_import_ended(rig: Rig, imported) -> None:  # type: ignore[no-untyped-def]
    imported(rig)
    assert rig.state() == "imported"
    lower(rig)
    assert details(rig) == {"lines_canceled_after_import": "1-A-1 (1 of 3)"}


@pytest.mark.parametrize("imported", IMPORTS)
def test_a_canceled_line_is_told_however_the_import_ended(rig: Rig, imported) -> None:  # type: ignore[no-untyped-def]
    imported(rig)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1")
    rig.poll()
    assert [one for one in details(rig) if "after_import" in one] == ["withdrawn_after_import"], "one cause, one reason"
    decide(rig, DecisionKind.SETTLE, "withdrawn_after_import")
    assert [one for one in details(rig) if "after_import" in one] == []
    rig.clock.advance(60)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", refunds=[])
    changes.set_fields(rig.mirakl["alpha"], "1-A", fully_refunded=False)
    rig.poll()
    assert details(rig)["lines_added_after_import"] == "1-A-1 (0, now 3)", "a person stopped it in the OMS"


def test_a_line_canceled_while_the_answer_is_lost_is_told_at_once(rig: Rig) -> None:
    rig.fail("order", "timeout_after")
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    lower(rig)
    assert rig.state() == "shipping"
    assert details(rig) == {"lines_canceled_after_import": "1-A-1 (1 of 3)"}


def test_what_the_oms_refused_is_not_in_its_hands(rig: Rig) -> None:
    words = '{"error": {"message": "no", "code": 0}}'
    rig.oms.knobs.faults.append(Fault("order", "answer", 1, "1-A", status=400, content=words))
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.poll()
    rig.work()
    lower(rig)
    assert rig.attention() == []  # a changed order is tried again
    rig.work()
    assert rig.state() == "imported"
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 3),), (("1-A-1", 1),)]
    assert rig.attention() == []


def test_what_was_sent_is_a_fact_of_its_own_event_before_the_call(rig: Rig) -> None:
    seen: list[int] = []

    def hook(_: object) -> None:
        seen.append(len(rig.row().facts.handovers))

    rig.oms_net.hook = hook
    rig.imported(quantity=3)
    assert seen == [1]
    assert [row.event.note["step"] for row in rig.journal() if "step" in row.event.note] == [
        "claimed",
        "handover",
        "result",
    ]


def test_a_payload_that_is_sent_again_leaves_one_handover(rig: Rig) -> None:
    answer_lost_then_duplicate(rig)
    assert len(rig.row().facts.handovers) == 1


def test_a_part_withdrawn_before_the_import_is_not_told_again_and_a_later_one_is(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", quantity=3)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert rig.attention() == ["partly_withdrawn"]
    decide(rig, DecisionKind.RELEASE)
    rig.work()
    rig.poll()
    assert (rig.state(), rig.attention()) == ("imported", [])
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert rig.attention() == ["lines_canceled_after_import"]


def test_a_changed_address_is_told_by_its_name_until_it_is_settled_and_a_second_change_anew(rig: Rig) -> None:
    rig.imported()
    for street in ("95 Canary Row", "96 Canary Row"):
        changes.set_address(rig.mirakl["alpha"], "1-A", street_1=street)
        rig.poll()
        assert list(details(rig)) == ["changed_after_import"]
        assert details(rig)["changed_after_import"].startswith("shipping address ")
        assert "Canary" not in details(rig)["changed_after_import"]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_an_address_that_changes_after_a_person_made_the_order_in_the_oms_is_told(rig: Rig) -> None:
    rig.fail("order", "answer", status=400, content='{"error": {"message": "no", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    decide(rig, DecisionKind.HANDLED)
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="95 Canary Row")
    rig.poll()
    assert rig.attention() == ["changed_after_import"]


@pytest.mark.parametrize("what", ["null field", "line order", "country code", "boolean", "name of the account"])
def test_what_an_import_would_carry_as_before_is_no_change(rig: Rig, what: str) -> None:
    rig.add("1-A", state="SHIPPING", lines=2)
    mirakl = rig.mirakl["alpha"]
    if what == "country code":
        changes.set_address(mirakl, "1-A", country_iso_code=None)
    rig.poll()
    rig.work()
    gift = {"code": "gift-wrap", "type": "BOOLEAN", "value": "true"}
    new = {"code": "new", "type": "STRING", "value": None}
    edits: dict[str, Callable[[dict[str, Any]], None]] = {
        "null field": lambda order: order.update(order_additional_fields=[gift, new]),
        "line order": lambda order: order["order_lines"].reverse(),
        "country code": lambda order: order["customer"]["shipping_address"].update(country_iso_code="GBR"),
        "name of the account": lambda order: order["customer"].update(firstname="Other", lastname="Canary"),
        "boolean": lambda order: order.update(order_additional_fields=[gift | {"value": True}]),
    }
    mirakl.change("1-A", "edited", "marketplace", edits[what])
    rig.poll()
    assert rig.state() == "imported"
    assert rig.attention() == []


def test_a_changed_field_that_the_shop_leaves_out_is_told_only_if_it_names_the_pick_up_point(tmp_path: Path) -> None:
    left_out = {"internal": "", "depot": ""}
    rig = Rig(tmp_path, oms_table={"custom_fields": left_out, "pickup_point_fields": ["depot"]})
    rig.imported()
    for code, told in (("internal", []), ("depot", ["changed_after_import"])):
        raw = rig.mirakl["alpha"].order("1-A")["order_additional_fields"]
        fields = [*raw, {"code": code, "type": "STRING", "value": "A new text"}]
        changes.set_fields(rig.mirakl["alpha"], "1-A", order_additional_fields=fields)
        rig.poll()
        assert rig.attention() == told


def test_a_changed_text_on_the_goods_is_told(rig: Rig) -> None:
    rig.imported()
    fields = [{"code": "personalisation-text", "type": "STRING", "value": "Another text"}]
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", order_line_additional_fields=fields)
    rig.poll()
    assert details(rig)["changed_after_import"].startswith("custom fields of lines ")


def test_an_address_that_one_read_does_not_show_is_no_change(rig: Rig) -> None:
    rig.imported()
    nothing = dict.fromkeys(("street_1", "street_2", "city"), "")
    changes.set_address(rig.mirakl["alpha"], "1-A", **nothing)
    rig.poll()
    assert rig.attention() == []


def test_the_first_message_after_the_import_is_told(rig: Rig) -> None:
    rig.imported()
    rig.mirakl["alpha"].post_message("1-A", "Canary asks for red.")
    changes.set_fields(rig.mirakl["alpha"], "1-A", "customer")
    rig.poll()
    assert rig.attention() == ["message_after_import"]


def test_a_message_that_the_import_carries_is_not_told(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.mirakl["alpha"].post_message("1-A", "Canary asks for red.")
    rig.poll()
    rig.work()
    rig.poll()
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_data_that_mirakl_removes_long_after_the_shipment_are_no_change(rig: Rig) -> None:
    rig.imported()
    rig.oms.dispatch("1-A", tracking="T1")
    rig.consume()
    rig.work()
    rig.poll(timedelta(minutes=10).total_seconds())
    assert rig.state() == "shipped"
    changes.set_address(rig.mirakl["alpha"], "1-A", street_1="removed", lastname="removed")
    rig.poll()
    assert rig.attention() == []


def test_a_line_that_the_answer_leaves_out_is_told_and_no_status_covers_it(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1))
    rig.imported(lines=2)
    assert details(rig) == {"lines_not_imported": "1-A-2"}
    rig.oms.dispatch("1-A", tracking="T1", shipments=[])
    rig.consume()
    rig.work()
    assert rig.state() == "imported"
    assert details(rig) == {"lines_not_imported": "1-A-2", "partly_sent": ""}
    assert "ship" not in rig.effects()


def test_other_pieces_than_were_sent_are_told(rig: Rig) -> None:
    answer_with(rig, ("1-A-1", 1))
    rig.imported(quantity=3)
    assert details(rig) == {"lines_not_imported": "1-A-1 (1 of 3)"}


def test_a_hold_in_the_oms_is_told_while_it_stands(rig: Rig) -> None:
    rig.imported()
    for status, told in ((256, ["oms_on_hold"]), (32, ["oms_query"]), (4, [])):
        rig.clock.advance(1)
        rig.oms.progress("1-A", status)
        rig.consume()
        assert rig.attention() == told


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=30)])
def test_a_hold_ends_though_its_clock_is_ahead_or_both_reports_have_one_second(rig: Rig, ahead: timedelta) -> None:
    rig.imported()
    for status, later in ((256, ahead), (4, timedelta(0))):
        report(rig, status, rig.clock.now() + later)
    assert rig.attention() == []


def report(rig: Rig, status: int, at: datetime) -> None:
    """The OMS publishes a status that its clock dates so."""
    raw = json.dumps({"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": status}).encode()
    rig.log.publish([record_of(OMS_EVENTS, oms_event(COMPANIES["alpha"], raw, at))])
    rig.consume()


def test_a_stored_hold_of_the_future_ends_when_all_has_left(rig: Rig) -> None:
    rig.imported()
    now, oms_id = rig.clock.now(), rig.row().facts.parts[0].oms_id
    stop = Facts(statuses=(OmsStatus(oms_id, now + timedelta(days=30), 256),))
    rig.orders.apply([Event("/t", "ahead", "alpha", "1-A", Trigger.OMS_EVENT, now, stop)])
    assert rig.attention() == ["oms_on_hold"]
    report(rig, 8, rig.clock.now())
    assert rig.attention() == []


def test_a_quantity_that_mirakl_leaves_out_after_the_import_is_told_and_the_sent_pieces_count(rig: Rig) -> None:
    rig.imported(quantity=3)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=None)
    rig.poll()
    assert details(rig) == {"quantity_missing": "1-A-1"}
    for number, told in (("T1", ["partly_sent", "quantity_missing"]), ("T2", ["quantity_missing"])):
        items = [{"external_ref": "1-A-1", "quantity": 1 if number == "T1" else 2}]
        tell(rig, 512, new_shipments=[{"tracking": number, "items": items}])
        assert rig.attention() == told
        assert ("shipped" in rig.effects()) == (number == "T2")


def test_a_line_state_that_we_do_not_know_is_told_after_the_import_until_a_person_has_seen_it(rig: Rig) -> None:
    rig.imported(lines=2)
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-2", order_line_state="CANCELLATION_REQUESTED")
    rig.poll()
    assert details(rig) == {"unknown_line_state": "1-A-2 CANCELLATION_REQUESTED"}
    decide(rig, DecisionKind.RELEASE)
    assert rig.attention() == []


def test_a_release_does_not_cover_a_refund_that_comes_later(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING", quantity=3)
    rig.switch(paused=("import",))
    for _ in range(2):
        changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
        rig.poll()
        assert rig.attention() == ["partly_withdrawn"]
        decide(rig, DecisionKind.RELEASE)
        assert rig.attention() == []
    rig.switch()
    rig.work(60)
    rig.poll()
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_a_release_does_not_cover_that_mirakl_shows_the_order_shipped_again(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPED")
    rig.switch(paused=("import",))
    for _ in range(2):
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPED")
        rig.poll(60)
        changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
        rig.poll(60)
        assert rig.attention() == ["shipped_before"]
        decide(rig, DecisionKind.RELEASE)
        assert rig.attention() == []


@pytest.mark.parametrize(
    ("workflow", "state"), [("PAY_ON_DELIVERY", "WAITING_DEBIT"), ("PAY_ON_DUE_DATE", "WAITING_DEBIT_PAYMENT")]
)
def test_a_refund_after_the_delivery_is_no_cancelation(rig: Rig, workflow: str, state: str) -> None:
    rig.imported(workflow=workflow, quantity=2)
    rig.oms.dispatch("1-A", tracking="T1")
    rig.consume()
    rig.work()
    rig.poll(600)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-1", 1)
    rig.poll()
    assert (rig.state(), rig.attention()) == ("shipped", [])


def test_a_second_equal_cancelation_is_told_and_holds_again(rig: Rig) -> None:
    rig.imported(quantity=3)
    for _ in range(2):
        rig.clock.advance(60)
        rig.oms.progress("1-A", 4)  # without it the same bytes would be a repeat of the first report
        rig.clock.advance(60)
        rig.oms.cancel_line("1-A", "1-A-1", 1)
        rig.consume()
        assert rig.attention() == ["oms_canceled"]
        decide(rig, DecisionKind.SETTLE)
        assert rig.attention() == []


def test_an_order_that_the_oms_makes_again_under_its_id_is_alive_when_mirakl_cancels(rig: Rig) -> None:
    rig.imported()
    for status in (128, 4):
        rig.clock.advance(60)
        report(rig, status, rig.clock.now())
        if status == 128:
            decide(rig, DecisionKind.SETTLE)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll()
    assert rig.attention() == ["canceled_after_import"]


def test_a_stored_cancelation_without_a_time_keeps_its_settle(rig: Rig) -> None:
    rig.imported()
    now, oms_id = rig.clock.now(), rig.row().facts.parts[0].oms_id
    stored = facts_from_json(f'{{"cancellations":[{{"oms_id":{oms_id}}}]}}')
    assert facts_to_json(stored) == f'{{"cancellations":[{{"oms_id":{oms_id}}}]}}'
    rig.orders.apply([Event("/t", "of before", "alpha", "1-A", Trigger.OMS_EVENT, now, stored)])
    assert details(rig) == {"oms_canceled": str(oms_id)}
    decide(rig, DecisionKind.SETTLE)
    assert rig.attention() == []


def test_an_order_that_may_have_landed_before_the_refusal_is_told_when_mirakl_cancels_it(rig: Rig) -> None:
    lost_then_refused(rig)
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll()
    assert rig.attention() == ["canceled_after_import"]


def test_a_line_that_may_have_landed_before_the_refusal_is_told_when_it_is_refunded(rig: Rig) -> None:
    lost_then_refused(rig, lines=2)
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    assert "lines_canceled_after_import" in rig.attention()


def test_an_order_that_never_landed_is_not_told_when_mirakl_cancels_it(rig: Rig) -> None:
    rig.fail("order", "answer", status=400, content='{"error": {"message": "no", "code": 0}}')
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "CANCELED")
    rig.poll()
    assert rig.attention() == []


def refund_and_shrink(rig: Rig) -> None:
    """One of two pieces is refunded, and Mirakl shows the piece that is left, with its price."""
    refund = {"id": "R1", "amount": 10.0, "quantity": 1, "refund_state": "WAITING_REFUND", "state": "WAITING_REFUND"}
    changes.set_line(rig.mirakl["alpha"], "1-A", "1-A-1", quantity=1, price=10.0, refunds=[refund])
    rig.poll()


def test_a_refunded_piece_that_mirakl_takes_out_of_quantity_and_price_is_a_part_before_the_import(rig: Rig) -> None:
    rig.switch(paused=("import",))
    rig.add("1-A", state="SHIPPING", quantity=2)
    rig.poll()
    refund_and_shrink(rig)
    rig.switch()
    rig.work()
    assert (rig.state(), rig.attention()) == ("shipping", ["partly_withdrawn"])
    decide(rig, DecisionKind.RELEASE)
    rig.work()
    assert [one.items for one in rig.row().facts.handovers] == [(("1-A-1", 1),)]
    assert (rig.state(), rig.attention()) == ("imported", [])


def test_a_refunded_piece_that_mirakl_takes_out_of_quantity_and_price_is_told_after_the_import(rig: Rig) -> None:
    rig.imported(quantity=2)
    refund_and_shrink(rig)
    assert list(details(rig)) == ["lines_canceled_after_import"]
    assert details(rig)["lines_canceled_after_import"].startswith("1-A-1 (part of 1, ")
    decide(rig, DecisionKind.SETTLE)
    tell(rig, 8)
    assert "shipped" in rig.effects()


@pytest.mark.parametrize("state", ["WAITING_DEBIT", "WAITING_DEBIT_PAYMENT"])
def test_an_imported_order_whose_money_is_awaited_again_is_told_until_mirakl_shows_it_paid(
    rig: Rig, state: str
) -> None:
    rig.imported(workflow="PAY_ON_DUE_DATE")
    changes.set_fields(rig.mirakl["alpha"], "1-A", payment_workflow="PAY_ON_ACCEPTANCE")
    changes.put_in_state(rig.mirakl["alpha"], "1-A", state)
    rig.poll()
    assert (rig.state(), details(rig)) == ("imported", {"payment_awaited_again": state})
    changes.put_in_state(rig.mirakl["alpha"], "1-A", "SHIPPING")
    rig.poll()
    assert (rig.state(), rig.attention()) == ("imported", ["go_on_in_oms"]), "also in the instant of the import"


# -- The payload of an earlier try goes out again -----------------------------------------------------------------


def settle_lines(rig: Rig) -> None:
    only = ["lines_canceled_after_import"]
    act = operations.Act(DecisionKind.SETTLE, "ana", "not in the OMS", rig.clock.now(), only=only)
    operations.decide(rig.store, rig.orders, rig.row(), act, shops=["alpha"])


def test_a_line_that_was_refunded_and_settled_is_told_again_when_the_first_payload_goes_out_again(rig: Rig) -> None:
    """The person found nothing in the OMS, because the first try had not landed."""
    rig.fail("order", "timeout_before")
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    rig.work()
    changes.refund(rig.mirakl["alpha"], "1-A", "1-A-2")
    rig.poll()
    settle_lines(rig)
    assert rig.attention() == []
    rig.work(900)
    rig.poll()
    assert rig.effects() == ["imported"]
    assert rig.attention() == ["lines_canceled_after_import"]
    settle_lines(rig)
    assert rig.attention() == []


def test_a_payload_that_goes_out_again_tells_nothing_twice_by_itself(rig: Rig) -> None:
    rig.fail("order", "timeout_before", 3)
    rig.add("1-A", state="SHIPPING", lines=2)
    rig.poll()
    for _ in range(4):
        rig.work(900)
    assert rig.effects() == ["imported"]
    assert len(rig.row().facts.handovers) == 1
    assert rig.attention() == []
