"""Ids of the OMS's orders: an id is above 0. 0 stands for a person who vouches that everything left."""

import json

import pytest

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event
from adapters.ports import NewRecord
from adapters.simulators.faults import Fault
from adapters.simulators.orders import COMPANIES
from tests.consumer.rig import OMS_EVENTS, Rig


def test_a_report_with_the_id_0_ships_nothing_and_is_shown_on_its_order(rig: Rig) -> None:
    rig.imported(lines=2)
    (part,) = rig.row().facts.parts
    body = {"id": part.oms_id, "external_ref": "1-A", "status": 8}
    report = oms_event(COMPANIES["alpha"], json.dumps(body).encode(), rig.clock.now())
    event = json.loads(record_of(OMS_EVENTS, report).value)
    for oms_id in (0, "0", -7):
        rig.clock.advance(60)
        event |= {"time": rig.clock.now().isoformat(), "data": event["data"] | {"id": oms_id}}
        rig.log.publish([NewRecord(OMS_EVENTS, b"k", json.dumps(event).encode())])
    rig.consume()
    rig.work()
    assert rig.effects() == ["imported"]
    assert rig.attention() == ["report_unreadable"] * 3
    assert {one.oms_id for one in rig.row().facts.parts} == {part.oms_id}


@pytest.mark.parametrize("oms_id", [0, "0", -1])
def test_an_answer_without_an_id_above_0_shows_no_order(rig: Rig, oms_id: object) -> None:
    content = json.dumps([{"id": oms_id, "ref": "0007", "external_ref": "1-A", "status": 1}])
    rig.oms.knobs.faults.append(Fault("order", "answer", 1, "1-A", status=201, content=content))
    rig.add("1-A", state="SHIPPING")
    rig.poll()
    rig.work()
    assert rig.state() == "shipping"
    assert rig.results[-1] == ("import_order", "unknown")
