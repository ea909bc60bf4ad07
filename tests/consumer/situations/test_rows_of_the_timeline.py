"""The timeline of an order that two calls of it fail for, and what is said of a report that could not be read."""

import json

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.ports import NewRecord
from adapters.simulators.orders import COMPANIES
from consumer import bootstrap
from consumer.operations.timeline import timeline
from tests.consumer.rig import OMS_EVENTS, Rig
from tests.consumer.situations.in_oms_hands import explained, tell


def test_two_calls_that_fail_in_turn_have_a_row_each(rig: Rig) -> None:
    rig.imported()
    rig.fail("OR23", "answer", 100, status=503)
    rig.fail("OR24", "answer", 100, status=503)
    tell(rig, 8, shipping_tracking="T1", shipping_carrier="DPD")
    housekeeping = bootstrap.new_housekeeping(rig.base)
    for _ in range(40):
        rig.work(1800)
        housekeeping.turn()  # OR24 does not wait for OR23 without end
        rig.work()
    journal = rig.journal()
    failed = [row for row in timeline(journal) if "is tried again" in row.what]
    assert {row.what.partition(" ")[0] for row in failed} == {"OR23", "OR24"}
    tries = sum(row.times for row in failed)
    assert len(failed) * 4 < tries, "one row for each call between two events that change something"


def cause(rig: Rig) -> str:
    found = explained(rig)
    return next(one.cause for one in found.attention if one.reason == "report_unreadable")


def test_a_report_that_is_read_in_part_names_its_order_in_the_oms(rig: Rig) -> None:
    rig.imported()
    (oms_id,) = {one.oms_id for one in rig.row().facts.parts}
    tell(rig, 4, new_shipments=[{"tracking": "T1", "items": "none"}])
    assert "report_unreadable" in rig.attention()
    said = cause(rig)
    assert said.startswith(f"OMS order {oms_id}")
    assert ", status 4, reported at 2026-03-01 12:01:" in said
    assert said.endswith("could not be read: a field has a value that it cannot have (bad_field): items")


def test_a_report_of_which_nothing_is_read_says_so(rig: Rig) -> None:
    rig.imported()
    report = oms_event(COMPANIES["alpha"], b'{"id": 7, "external_ref": "1-A", "status": 4}', rig.clock.now())
    event = json.loads(record_of(OMS_EVENTS, report).value)
    rig.clock.advance(60)
    event |= {"time": rig.clock.now().isoformat(), "data": event["data"] | {"id": 0}}
    rig.log.publish([NewRecord(OMS_EVENTS, b"k", json.dumps(event).encode())])
    rig.consume()
    assert cause(rig).startswith("nothing could be read of what was reported at 2026-03-01 12:01:")
    assert cause(rig).endswith(": a field has a value that it cannot have (bad_field): id")
