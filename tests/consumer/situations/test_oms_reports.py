"""What the OMS answers to an import, and what it reports later: from the poll or the event to the row of the order."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.ports import NewRecord
from adapters.simulators.orders import COMPANIES
from adapters.store import dead_letters as dead_letter_rows
from statemachine.questions.trackings import best_tracking
from statemachine.reasons import REASONS, Reason
from tests.consumer.rig import OMS_EVENTS, Rig

CALLBACK = b'{"id":7,"external_ref":"1-A","status":8}'


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"false",
        b'{"success":false}',
        b'{"errors":["no"]}',
        b'[{"id":null,"external_ref":"1-A"}]',
        b'[{"id":7,"external_ref":"2-B"}]',
    ],
)
def test_a_success_that_shows_no_order_is_not_imported_but_sent_again(rig: Rig, content: bytes) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "answer", status=201, content=content)
    rig.work()
    assert rig.state() == "shipping"
    assert rig.results[-1] == ("import_order", "unknown")
    assert rig.effects() == []
    rig.work(900)
    assert rig.state() == "imported"
    assert rig.effects() == ["imported"]


def test_an_answer_with_lines_and_quantities_is_kept(rig: Rig) -> None:
    rig.imported(lines=2)
    (part,) = rig.row().facts.parts
    assert part.quantities == tuple((line, 1) for line in part.lines)
    assert len(part.quantities) == 2
    assert [one.status for one in rig.row().facts.statuses] == [1]


def test_an_answer_that_shows_the_order_canceled_is_told(rig: Rig) -> None:
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    content = json.dumps([{"id": 7, "external_ref": "1-A", "status": 128}]).encode()
    rig.fail("order", "answer", status=201, content=content)
    rig.work()
    assert "oms_canceled" in rig.attention()


def test_a_customer_that_exists_already_is_no_duplicate_of_the_order(rig: Rig) -> None:
    """The first try may have reached the OMS, so a duplicate would count as our import. This refusal is none."""
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.fail("order", "timeout_before")
    rig.work()
    content = b'{"error":{"message":"A customer with this email already exists","code":0}}'
    rig.fail("order", "answer", status=400, content=content)
    rig.work(900)
    assert rig.state() == "shipping"
    assert rig.results[-1] == ("import_order", "rejected")
    assert "import_rejected" in rig.attention()


# -- Reports -----------------------------------------------------------------------------------------------------


def tell(rig: Rig, status: object = 8, **fields: object) -> None:
    """Let the OMS report on the order 1-A a minute later."""
    rig.clock.advance(60)
    body = {"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": status} | fields
    rig.take_callback("http://alpha", {}, json.dumps(body).encode())
    rig.consume()
    rig.work()


def publish(rig: Rig, value: bytes) -> None:
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", value)])
    rig.consume()


def test_a_record_that_cannot_be_read_is_told_on_the_order_that_it_names(rig: Rig) -> None:
    rig.imported()
    event = json.loads(record_of(OMS_EVENTS, oms_event(COMPANIES["alpha"], CALLBACK, rig.clock.now())).value)
    del event["data"]["status"]
    for _ in range(2):
        publish(rig, json.dumps(event).encode())
    (told,) = rig.row().facts.unread
    assert told.reason == "missing_field"
    assert [one.times for one in dead_letter_rows.newest(rig.store)] == [2]
    publish(rig, b"{")
    assert len(rig.row().facts.unread) == 1, "it names no order"


def test_the_mended_report_is_applied_under_its_own_id(rig: Rig) -> None:
    rig.imported()
    event = json.loads(record_of(OMS_EVENTS, oms_event(COMPANIES["alpha"], CALLBACK, rig.clock.now())).value)
    publish(rig, json.dumps(event | {"data": {"external_ref": "1-A", "id": 7}}).encode())
    assert rig.state() == "imported"
    publish(rig, json.dumps(event).encode())
    assert rig.state() == "dispatched"


def test_one_item_without_a_reference_does_not_cost_the_dispatch(rig: Rig) -> None:
    rig.imported()
    (line,) = (line.id for line in rig.row().facts.snapshot.lines)  # type: ignore[union-attr]
    items = [{"external_ref": line, "quantity": "1"}, {"quantity": 1}]
    tell(rig, shipping_tracking="T1", new_shipments=[{"tracking": "T1", "items": items}])
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert sum(int(entry.event.note.get("left_out", 0)) for entry in rig.journal()) == 1
    assert dead_letter_rows.newest(rig.store) == []


AT = "2020-01-01 12:00:00"


def parcel(line: str, number: str) -> dict[str, object]:
    return {"dispatch_datetime": AT, "tracking": number, "items": [{"external_ref": line, "quantity": 1}]}


def line_of(rig: Rig) -> str:
    snapshot = rig.row().facts.snapshot
    assert snapshot is not None
    return snapshot.lines[0].id


@pytest.mark.parametrize("second", [("Parcel Post", "A1"), ("Courier", "Z9")])
def test_a_correction_under_the_same_time_is_sent_again(rig: Rig, second: tuple[str, str]) -> None:
    """The correction has another number, or another carrier with the same number. Its text always sorts first."""
    rig.imported()
    for carrier, number in (("Royal Mail", "Z9"), second):
        tell(rig, shipping_carrier=carrier, new_shipments=[parcel(line_of(rig), number)])
    assert [(one.carrier, one.number) for one in rig.row().facts.sent] == sorted([("Royal Mail", "Z9"), second])
    best = best_tracking(rig.row().facts)
    assert (best.carrier, best.number) == second


def test_a_parcel_under_another_number_does_not_count_twice(rig: Rig) -> None:
    rig.imported(quantity=2)
    for number in ("T1", "T2"):
        tell(rig, status=512, new_shipments=[parcel(line_of(rig), number)])
    assert rig.state() == "imported"
    assert "shipped" not in rig.effects()


@pytest.mark.parametrize("date", [{}, {"dispatch_datetime": None}, {"dispatch_datetime": "2999-01-01 00:00:00"}])
def test_a_parcel_without_a_time_under_another_number_ships_nothing_too_early(
    rig: Rig, date: dict[str, object]
) -> None:
    rig.imported(quantity=2)
    for number in ("T1", "T2"):
        undated = {"tracking": number, "items": [{"external_ref": line_of(rig), "quantity": 1}]}
        tell(rig, status=512, new_shipments=[undated | date])
    assert rig.attention() == ["partly_sent"]
    assert "shipped" not in rig.effects()
    tell(rig, status=8)
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert rig.row().facts.sent[0].number == "T2"


def test_parcels_without_a_time_add_up_if_they_hold_other_items(rig: Rig) -> None:
    rig.imported(quantity=3)
    for pieces in (1, 2):
        parcels = [{"tracking": f"T{pieces}", "items": [{"external_ref": line_of(rig), "quantity": pieces}]}]
        tell(rig, status=512, new_shipments=parcels)
    assert rig.state() == "dispatched"


def test_two_numbers_in_one_report_are_two_parcels(rig: Rig) -> None:
    rig.imported(quantity=2)
    tell(rig, status=512, new_shipments=[parcel(line_of(rig), number) for number in ("T1", "T2")])
    assert rig.state() == "dispatched"


def test_a_parcel_dated_in_the_future_counts_once_when_it_is_told_again(rig: Rig) -> None:
    rig.imported(quantity=2)
    soon = (rig.clock.now() + timedelta(seconds=90)).strftime("%Y-%m-%d %H:%M:%S")
    for _ in range(3):
        tell(rig, status=512, new_shipments=[parcel(line_of(rig), "T1") | {"dispatch_datetime": soon}], ref=str(_))
    assert rig.state() == "imported"


def test_a_tracking_of_thousands_of_characters_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    """Seen before: an index refused it, and no order of any shop was applied any more."""
    rig = Rig(tmp_path)
    rig.imported()
    tell(rig, new_shipments=[parcel(line_of(rig), "T" * 1900)], shipping_carrier="C" * 1900)
    assert rig.effects() == ["imported", "tracking", "shipped"]
    assert max(len(command.carries) for command in rig.commands()) < 100


@pytest.mark.parametrize(("status", "reason"), [(32, "oms_query"), (256, "oms_on_hold")])
def test_a_stop_of_an_order_shipped_in_the_portal_ends_when_the_oms_cancels_it(
    rig: Rig, status: int, reason: str
) -> None:
    """The OMS reports nothing more of an order that stands still, so the cure says what makes it report."""

    def reports(number: int) -> None:
        body = {"id": rig.row().facts.parts[0].oms_id, "external_ref": "1-A", "status": number}
        rig.clock.advance(60)
        rig.take_callback("http://alpha", {}, json.dumps(body).encode())
        rig.poll(3600)

    rig.imported()
    reports(status)
    rig.mirakl["alpha"].ship_in_portal("1-A")
    rig.poll(3600)
    assert rig.attention() == [reason, "shipped_elsewhere"]
    assert "cancel" in REASONS[Reason(reason)].cure
    reports(128)
    assert reason not in rig.attention()
    assert "oms_canceled" in rig.attention()


def test_a_parcel_reported_without_a_time_and_then_with_one_and_another_number_is_one_parcel(rig: Rig) -> None:
    """Seen before: it counted twice, so OR24 went out while the third piece was still made."""
    rig.imported(quantity=3)
    undated = {key: value for key, value in parcel(line_of(rig), "A1").items() if key != "dispatch_datetime"}
    second = rig.clock.now().strftime("%Y-%m-%d %H:%M:%S")
    shipments = (undated, parcel(line_of(rig), "B2"), parcel(line_of(rig), "C3") | {"dispatch_datetime": second})
    for shipment in shipments:
        rig.clock.advance(60)
        tell(rig, status=512, new_shipments=[shipment])
    assert (rig.state(), rig.attention()) == ("imported", ["partly_sent"])
    tell(rig, status=512, new_shipments=[parcel(line_of(rig), "D4") | {"dispatch_datetime": "2026-01-01 00:00:00"}])
    assert "shipped" in rig.effects()
