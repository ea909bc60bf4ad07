"""CloudEvents in records, in both modes."""

import json

from adapters.messages.cloudevents import CloudEvent, from_record, record_of
from adapters.messages.oms_events import decode_oms
from adapters.messages.snapshots import decode_snapshot
from tests.adapters.messages.helpers import NOW, SHOPS


def test_inlined_data_keeps_its_bytes_and_binary_mode_is_read() -> None:
    event = CloudEvent("1", "/s", "t", "x", NOW, b'{ "a" : 1.50 }', {"companyrefid": "9", "partitionkey": "9:x"})
    record = record_of("t", event)
    value, headers = record.value, record.headers
    assert record.key == b"9:x"
    assert headers[0][1].startswith(b"application/cloudevents+json")
    assert json.loads(value)["data"] == {"a": 1.5}
    assert from_record(value, headers) == event
    assert from_record(value, ()) == event  # a publisher forgot the header
    binary = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/s"),
        ("CE_type", b"t"),
        ("ce_subject", b"x"),
        ("ce_time", b"2026-03-06T12:00:00Z"),
        ("ce_companyrefid", b"9"),
        ("ce_partitionkey", b"9:x"),
        ("content-type", b"application/json"),
    ]
    assert from_record(event.data, binary) == event


def test_a_record_without_a_value_is_skipped() -> None:
    assert from_record(None, ()) is None
    assert decode_oms(None, (), SHOPS) is None
    assert decode_snapshot(None, (), {"alpha"}) is None
