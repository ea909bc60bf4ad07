"""The published schemas: the decoder reads every event that fits its schema, and every event of orderflow fits."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.messages import contract, snapshots
from adapters.messages.cloudevents import from_record, record_of
from adapters.messages.contract import OMS, TRANSITIONS, Complaint, complaints, forgiven, kind_of
from adapters.messages.oms_events import OmsEventType, ShopIds, callback_of, decode_oms, oms_event
from adapters.messages.transitions import dead_letter_record, transition_event, transition_record
from statemachine.events import Event, Trigger
from statemachine.reasons import REASONS
from statemachine.states import State

SAMPLES = Path(__file__).resolve().parents[3].parent / "shared" / "mirakl" / "samples"
NOW = datetime(2026, 3, 6, 12, 0, tzinfo=UTC)
SCHEMAS = {name: jsonschema.Draft202012Validator(contract.schema(name)) for name in contract.MODELS}
CAUSE = Event("/kornitx/company/99999", "n1", "alpha", "A-1", Trigger.OMS_EVENT, NOW)
CALLBACK: dict[str, Any] = {"id": 7, "external_ref": "A-1", "status": 4}


def oms(**changes: Any) -> dict[str, Any]:
    event = oms_event(99999, json.dumps(CALLBACK).encode(), NOW)
    return {**json.loads(record_of("t", event).value), **changes}


def transition(cause: Event = CAUSE, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "before": "imported",
        "after": "dispatched",
        "version": 9,
        "at": NOW,
        "attention": ["oms_canceled"],
    }
    record = transition_record("orderflow.transitions", 4711, cause, **(arguments | changes))
    assert record.topic == "orderflow.transitions"
    assert record.key == f"{cause.shop}:{cause.order_id}".encode()
    return dict(json.loads(record.value))


def fields_of(kind: contract.Kind, envelope: dict[str, Any]) -> list[str]:
    return [complaint.field for complaint in complaints(kind, envelope)]


# -- Events that break the contract --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": "x" * 301}, "id"),
        ({"id": "a\nb"}, "id"),
        ({"source": "/kornitx/company/1"}, "source"),
        ({"source": "urn:oms"}, "source"),
        ({"type": "net.kornitx.order.sent"}, "type"),
        ({"time": "2026-03-06T12:04:20"}, "time"),
        ({"time": "2026-02-30T12:04:20Z"}, "time"),
        ({"time": "2026-03-06T12:04:20Z\n"}, "time"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
        ({"partitionkey": "A-1"}, "partitionkey"),
        ({"companyrefid": 99999}, "companyrefid"),
        ({"data": {**CALLBACK, "status": "eight"}}, "data.status"),
    ],
)
def test_the_field_that_breaks_the_contract_is_named(change: dict[str, Any], field: str) -> None:
    assert fields_of(OMS, oms(**change)) == [field]


def test_a_missing_attribute_is_named_once() -> None:
    for name in ("partitionkey", "source", "subject", "companyrefid"):
        event = oms()
        del event[name]
        assert complaints(OMS, event) == [Complaint(name, "is missing")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"correlationid": "A-1"}, "correlationid"),
        ({"sequence": "0000000008"}, "sequence"),
        ({"data": transition()["data"] | {"shop": "beta"}}, "data.shop"),
        ({"data": transition()["data"] | {"order_id": "A-2"}}, "data.order_id"),
        ({"dataschema": "urn:orderflow:schema:transition:2"}, "dataschema"),
    ],
)
def test_the_field_that_contradicts_another_is_named(change: dict[str, Any], field: str) -> None:
    assert fields_of(TRANSITIONS, transition() | change) == [field]


def test_a_field_that_cannot_be_read_and_counts_as_absent_is_named() -> None:
    received = CALLBACK | {
        "ref": None,
        "status_name": "  ",
        "shipping_carrier": {"name": "P"},
        "shipping_tracking": 12,
        "new_shipments": [{"dispatch_datetime": "0000-00-00 00:00:00", "tracking": [], "items": None}],
    }
    received["new_cancellations"] = [{"items": [{"external_ref": "l", "quantity": 0}, {"quantity": 1}]}, 7]
    found = forgiven(callback_of(json.dumps(received).encode()), received, "data")
    assert [complaint.field for complaint in found] == [
        "data.shipping_carrier",
        "data.new_shipments.0.dispatch_datetime",
        "data.new_shipments.0.tracking",
        "data.new_cancellations.0.items.0.quantity",
        "data.new_cancellations.0.items.1.external_ref",
        "data.new_cancellations.1",
    ]
    no_list = CALLBACK | {"new_shipments": {}}
    (found_in_list,) = forgiven(callback_of(json.dumps(no_list).encode()), no_list, "data")
    assert found_in_list == Complaint("data.new_shipments", "should be a list, and counts as empty")


@pytest.mark.parametrize("type_", [None, 5, "", "net.kornitx.stock", "io.orderflow.other"])
def test_a_type_of_no_topic_has_no_kind(type_: object) -> None:
    assert kind_of(type_) is None


# -- The schemas and the decoders ----------------------------------------------------------------------------------

TEXTS = st.text(max_size=5) | st.sampled_from([".", "..", " ", "A-1", "x" * 201, "a\x85b", "8", "-3", "08", "8.0"])
NUMBERS = st.sampled_from([0, 1, -1, 8, 2**63, 2**63 - 1, 10**9 + 1, 0.5])
ANYTHING: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBERS | TEXTS | st.just([]) | st.just({})
ITEMS = st.fixed_dictionaries(
    {}, optional={"external_ref": TEXTS | ANYTHING, "quantity": st.sampled_from([1, 2]) | ANYTHING, "ref": ANYTHING}
)
PARCELS = st.fixed_dictionaries(
    {},
    optional={
        "dispatch_datetime": TEXTS | st.none(),
        "tracking": TEXTS | ANYTHING,
        "items": st.lists(ITEMS, max_size=2) | ANYTHING,
    },
)
CALLBACKS = st.fixed_dictionaries(
    {"id": st.integers() | ANYTHING, "external_ref": TEXTS | ANYTHING, "status": st.integers() | TEXTS | ANYTHING},
    optional={
        "shipping_tracking": TEXTS | ANYTHING,
        "new_shipments": st.lists(PARCELS, max_size=2) | ANYTHING,
        "new_cancellations": st.lists(st.fixed_dictionaries({"items": st.lists(ITEMS, max_size=2)}), max_size=2),
        "shipping_method": ANYTHING,
    },
)


@given(CALLBACKS)
def test_the_decoder_reads_every_callback_that_fits_its_schema(payload: dict[str, Any]) -> None:
    if SCHEMAS["kornitx-callback"].is_valid(payload):
        assert callback_of(json.dumps(payload).encode()).external_ref == payload["external_ref"]


TIMES = st.sampled_from(["2026-03-06T12:04:20Z", "2026-03-06T12:04:20.123456789+01:00", "2026-03-06", "now"])
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "id": TEXTS | st.sampled_from(["x" * 300, "x" * 301]) | ANYTHING,
        "type": st.sampled_from([*get_args(contract.OmsType), "net.kornitx.order.other"]),
        "time": TIMES | ANYTHING,
        "dataschema": TEXTS | st.none(),
        "traceparent": TEXTS,
    },
)


@given(ENVELOPES)
def test_schema_and_model_agree_and_the_decoder_reads_every_event_that_fits_them(change: dict[str, Any]) -> None:
    event = oms(**change)
    good = SCHEMAS["oms-order-event"].is_valid(event)
    assert good == (complaints(OMS, event) == [])
    if good:
        assert decode_oms(json.dumps(event).encode(), (), (ShopIds("alpha", 99999),)) is not None


def test_the_mandatory_fields() -> None:
    envelope = {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "partitionkey", "data"}
    assert set(contract.schema("oms-order-event")["required"]) == envelope | {"companyrefid"}
    made = contract.schema("kornitx-callback")
    assert set(made["required"]) == {"id", "external_ref", "status"}
    assert set(made["$defs"]["KornitXItem"]["required"]) == {"external_ref", "quantity"}
    assert "required" not in made["$defs"]["KornitXParcel"]
    assert contract.schema("mirakl-order")["required"] == ["order_id"]


def test_the_types_of_the_schemas_are_those_of_the_decoder() -> None:
    types = {*OmsEventType}
    assert set(get_args(contract.OmsType)) == types
    assert {kind_of(type_) for type_ in types} == {OMS}
    assert get_args(contract.OrderSnapshotEvent.model_fields["type"].annotation) == (snapshots.SNAPSHOT_TYPE,)


@pytest.mark.skipif(not SAMPLES.exists(), reason="needs ../shared")
def test_real_orders_fit_the_schema_of_an_order() -> None:
    orders = [
        order
        for path in sorted(SAMPLES.rglob("*.json"))
        if isinstance(page := json.loads(path.read_text()), dict)
        for order in page.get("orders", ())
    ]
    assert orders
    for order in orders:
        assert [error.message for error in SCHEMAS["mirakl-order"].iter_errors(order)] == []


# -- Records that orderflow writes ---------------------------------------------------------------------------------


@given(
    order_id=st.from_regex(r"[A-Za-z0-9é€-]{1,200}", fullmatch=True),
    states=st.tuples(st.sampled_from(State), st.sampled_from(State)),
    trigger=st.sampled_from(Trigger),
    version=st.integers(1, 10**9),
    at=st.datetimes(timezones=st.just(UTC)),
    attention=st.lists(st.sampled_from(sorted(REASONS))),
    source=st.from_regex(r"/[a-z/]{1,299}", fullmatch=True),
    event_id=st.from_regex(r"\w{1,300}", fullmatch=True),
)
def test_every_transition_fits_its_schema(
    order_id: str, states: tuple[str, str], trigger: Trigger, source: str, event_id: str, **more: Any
) -> None:
    cause = Event(source, event_id, "alpha", order_id, trigger, NOW)
    event = transition(cause, before=states[0], after=states[1], **more)
    assert [error.message for error in SCHEMAS["order-transitioned-event"].iter_errors(event)] == []
    assert complaints(TRANSITIONS, event) == []


def test_every_field_of_a_transition() -> None:
    assert transition() == {
        "specversion": "1.0",
        "id": "4711",
        "source": "/orderflow",
        "type": "io.orderflow.order.transitioned",
        "subject": "A-1",
        "time": "2026-03-06T12:00:00.000000Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:orderflow:schema:transition:1",
        "partitionkey": "alpha:A-1",
        "shop": "alpha",
        "correlationid": "alpha:A-1",
        "causationid": "/kornitx/company/99999#n1",
        "sequence": "0000000009",
        "data": {
            "shop": "alpha",
            "order_id": "A-1",
            "from_state": "imported",
            "to_state": "dispatched",
            "trigger": "oms_event",
            "version": 9,
            "at": "2026-03-06T12:00:00.000000Z",
            "attention": ["oms_canceled"],
        },
    }


def test_a_transition_is_read_back_as_it_was_written() -> None:
    cause = Event("/s", "i", "a", "ß", Trigger.CALL, NOW)
    event = transition_event(1, cause, before="new", after="shipped", version=1, attention=(), at=NOW)
    record = record_of("t", event)
    assert from_record(record.value, record.headers) == event


def test_causes_that_are_too_long_for_an_attribute_stay_different() -> None:
    first, second = ("/s" * 100, "i" * 200 + "1"), ("/s" * 100, "i" * 200 + "2")
    third = ("/s", "i" * 297)
    causes = [replace(CAUSE, source=source, event_id=event_id) for source, event_id in (first, second, third)]
    ids = [transition(cause)["causationid"] for cause in causes]
    assert [len(one) for one in ids] == [300, 300, 300]
    assert len(set(ids)) == 3
    assert ids[0].startswith("/s/s")
    assert ids[2] == "/s#" + "i" * 297


def test_the_record_of_a_dead_letter() -> None:
    own = (("content-type", b"x"), ("orderflow-reason", b"not_json"))
    place = "oms.order-events/3/1842"
    record = dead_letter_record(
        "orderflow.dead-letters",
        key=b"k",
        value=b"\xff",
        headers=own,
        source="oms.order-events",
        place=place,
        reason="bad_field",
        detail="status",
    )
    assert record.topic == "orderflow.dead-letters"
    assert record.key == b"k"
    assert record.value == b"\xff"
    assert record.headers == (
        *own,
        ("orderflow-place", place.encode()),
        ("orderflow-source", b"oms.order-events"),
        ("orderflow-reason", b"bad_field"),
        ("orderflow-detail", b"status"),
    )
    last = {name: value.decode() for name, value in record.headers}
    assert SCHEMAS["dead-letter-headers"].is_valid(last)
    assert last["orderflow-reason"] == "bad_field"


def test_a_detail_with_a_lone_surrogate_can_be_written() -> None:
    record = dead_letter_record(
        "t", key=None, value=None, headers=(), source="t", place="t/0/0", reason="bad_field", detail="a\ud800"
    )
    assert record.headers[-1] == ("orderflow-detail", b"a?")


def test_every_schema_has_its_id_and_needs_no_other() -> None:
    for name in contract.MODELS:
        made = contract.schema(name)
        jsonschema.Draft202012Validator.check_schema(made)
        assert made["$id"] == f"urn:orderflow:schema:{name}:1"
        assert made["description"]
    assert '"#/$defs' not in json.dumps(contract.components())
