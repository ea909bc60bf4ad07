"""The contract with other teams: models of the messages of the four topics. docs/events is generated from them.

They are a part of what docs/rules.md 34 promises. The decoder reads an event's data with the same model, so the
published schema of the data cannot ask for less than the decoder. The models of the envelopes ask for more than the
decoder needs. If an event breaks only these rules, it is applied, and `orderflow events check` warns. A minor version
only adds to the contract. A new major version gets new topics.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from adapters.errors import UnreadableReason
from adapters.messages import cloudevents, snapshots
from adapters.messages.cloudevents import schema_id
from adapters.messages.fields import Id, Loose, Message
from adapters.messages.oms_events import KornitXCallback
from adapters.messages.text import CONTROL_CHARACTER, instant
from adapters.messages.transitions import TRANSITION_SOURCE, TRANSITION_TYPE
from statemachine.events import Trigger
from statemachine.reasons import REASONS
from statemachine.states import State

# -- Envelopes -----------------------------------------------------------------------------------------------------

_DATE_TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$"


def _on_one_line(text: str) -> str:
    if re.search(CONTROL_CHARACTER, text):
        raise ValueError("has to be without control characters")
    return text


def _with_offset(text: str) -> str:
    if not re.fullmatch(_DATE_TIME, text) or instant(text) is None:
        raise ValueError("has to be a date-time of RFC 3339 with its offset, as 2026-03-06T12:04:20Z")
    return text


Attribute = Annotated[
    StrictStr,
    Field(
        min_length=1,
        max_length=cloudevents.LONGEST_ATTRIBUTE,
        json_schema_extra={"not": {"pattern": CONTROL_CHARACTER}},
    ),
    AfterValidator(_on_one_line),
]
When = Annotated[
    StrictStr,
    Field(json_schema_extra={"format": "date-time", "pattern": _DATE_TIME}),
    AfterValidator(_with_offset),
]
ShopName = Annotated[StrictStr, Field(pattern="^[a-z0-9][a-z0-9_-]{0,39}$")]


class Envelope(BaseModel):
    """CloudEvents 1.0 in structured mode. Further extension attributes are allowed."""

    model_config = ConfigDict(frozen=True)

    specversion: Literal["1.0"]
    id: Attribute = Field(description="Unique within its source. A notification that is sent again keeps its id.")
    source: Attribute
    type: Attribute
    subject: Attribute
    time: When
    datacontenttype: Literal["application/json"]
    dataschema: Attribute | None = Field(default=None, description="A URI that ends in the major version of the data.")
    partitionkey: Attribute


OmsType = Literal["net.kornitx.order.dispatched", "net.kornitx.order.cancelled", "net.kornitx.order.status_changed"]


class OmsOrderEvent(Envelope):
    """A report of the OMS about one order. The data is KornitX's callback, as the OMS would send it over HTTP."""

    source: StrictStr = Field(description="/kornitx/company/{companyrefid}", pattern="^/kornitx/company/[1-9][0-9]*$")
    type: OmsType = Field(
        description="For filtering; orderflow decides by the data. dispatched: status is 8, 64 or 516, or "
        "new_shipments is not empty. cancelled: otherwise, if status is 128 or new_cancellations is not empty. "
        "status_changed: otherwise."
    )
    subject: Attribute = Field(description="Equal to data.external_ref.")
    time: When = Field(description="When the OMS changed the order.")
    partitionkey: Attribute = Field(description="{companyrefid}:{subject}, and the record's key.")
    companyrefid: StrictStr = Field(
        description="The company of the sales channel at the OMS, as text. The shop is found by it.",
        pattern="^[1-9][0-9]*$",
    )
    data: KornitXCallback


class Order(snapshots.MiraklOrder):
    """An order, byte for byte as OR11 returned it: the members that orderflow reads. Mirakl adds many others."""

    order_id: Id


class OrderSnapshotEvent(Envelope):
    """One read of one order at Mirakl. The order contains personal data."""

    id: Attribute = Field(description="The order's id, the digest of its canonical JSON and the start of the read.")
    source: StrictStr = Field(description="/mirakl/{shop}", pattern="^/mirakl/[a-z0-9][a-z0-9_-]{0,39}$")
    type: Literal["io.orderflow.mirakl.order-snapshot"]
    subject: Attribute = Field(description="Mirakl's order id.")
    time: When = Field(description="The start of the read.")
    partitionkey: Attribute = Field(description="{shop}:{subject}, and the record's key.")
    shop: ShopName = Field(description="The shop's name in orderflow's configuration.")
    readat: When = Field(description="The start of the read.")
    data_base64: StrictStr = Field(
        description="The order's bytes. Their schema is mirakl-order.",
        min_length=1,
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "application/json"},
    )


class Transition(BaseModel):
    """One change of an order's state. No personal data.

    A minor version may add states, triggers and reasons, so a reader has to accept values that it does not know.
    """

    model_config = ConfigDict(frozen=True)

    shop: ShopName
    order_id: Id = Field(description="Mirakl's order id.")
    from_state: str = Field(examples=[*State])
    to_state: str = Field(examples=[*State])
    trigger: str = Field(description="The kind of event that caused the change.", examples=[*Trigger])
    version: int = Field(ge=1, description="The order's version after the change. It also grows with other changes.")
    at: When = Field(description="When it was recorded.")
    attention: tuple[str, ...] = Field(
        description="Why the order needs a person now (docs/attention.md). Empty if it needs none.",
        examples=[[reason] for reason in REASONS],
    )


class OrderTransitionedEvent(Envelope):
    """An order changed its state."""

    id: StrictStr = Field(
        description="A number as text. A later change of an order has a greater number.", pattern="^[1-9][0-9]{0,18}$"
    )
    source: Literal["/orderflow"]
    type: Literal["io.orderflow.order.transitioned"]
    subject: Attribute = Field(description="Mirakl's order id.")
    time: When = Field(description="When it was recorded.")
    dataschema: Literal["urn:orderflow:schema:transition:1"]
    partitionkey: Attribute = Field(description="{shop}:{subject}, and the record's key.")
    shop: ShopName = Field(description="The shop's name in orderflow's configuration.")
    correlationid: Attribute = Field(description="The order: {shop}:{subject}.")
    causationid: Attribute = Field(
        description="The event that caused the change: {source}#{id}. If that is longer than 300 characters, a digest "
        "of the whole replaces its end."
    )
    sequence: StrictStr = Field(
        description="data.version with leading zeros, so that it sorts as text. Gaps are normal.", pattern="^[0-9]{10}$"
    )
    data: Transition


class DeadLetterHeaders(BaseModel):
    """The headers that orderflow adds to a record when it dead-letters it, after the headers that the record has."""

    model_config = ConfigDict(frozen=True)

    place: str = Field(alias="orderflow-place", description="topic/partition/offset", pattern=".+/[0-9]+/[0-9]+$")
    source: str = Field(alias="orderflow-source", description="The topic from which the record was read.", min_length=1)
    reason: str = Field(
        alias="orderflow-reason",
        examples=[*sorted(UnreadableReason), "not_applicable", "quarantined", "record_unreadable", "set_aside"],
        min_length=1,
    )
    detail: str = Field(alias="orderflow-detail", description="Names fields, never values. May be empty.")


# -- Rules that an event breaks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Complaint:
    """A field of an event and the rule that the field breaks, without the field's value."""

    field: str
    rule: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event."""

    topic: str  # its topic's key in the settings [topics]
    begins: str  # the start of its CloudEvents types
    model: type[Envelope]
    owner: str  # the attribute that names the company or the shop; the partition key begins with its value
    source: str  # the form of the attribute `source`; {} stands for the owner


OMS: Final = Kind("oms_events", "net.kornitx.order.", OmsOrderEvent, "companyrefid", "/kornitx/company/{}")
SNAPSHOTS: Final = Kind("snapshots", snapshots.SNAPSHOT_TYPE, OrderSnapshotEvent, "shop", "/mirakl/{}")
TRANSITIONS: Final = Kind("transitions", TRANSITION_TYPE, OrderTransitionedEvent, "shop", TRANSITION_SOURCE)


def kind_of(type_: object) -> Kind | None:
    """The kind of event that has this CloudEvents type, or None."""
    kinds = (OMS, SNAPSHOTS, TRANSITIONS)
    return next((kind for kind in kinds if isinstance(type_, str) and type_.startswith(kind.begins)), None)


def complaints(kind: Kind, envelope: Mapping[str, Any]) -> list[Complaint]:
    """List every field of an event in structured mode that breaks the schema or contradicts another field."""
    try:
        kind.model.model_validate(envelope)
    except ValidationError as errors:
        found = [
            Complaint(".".join(str(step) for step in error["loc"]), _rule(error["type"], error["msg"]))
            for error in errors.errors(include_url=False, include_context=False, include_input=False)
        ]
    else:
        found = []
    wrong = {complaint.field for complaint in found}
    return found + [one for one in _contradictions(kind, envelope) if one.field not in wrong]


MISSING: Final = "is missing"


def _rule(kind: str, message: str) -> str:
    if kind == "missing":
        return MISSING
    if kind == "tuple_type":
        return "should be a list"
    return re.sub("^(Value error, |Input (?=should)|String (?=should))", "", message)


def _contradictions(kind: Kind, envelope: Mapping[str, Any]) -> Iterator[Complaint]:
    owner, subject = envelope.get(kind.owner), envelope.get("subject")
    if not isinstance(owner, str) or not isinstance(subject, str):
        return
    if envelope.get("source") != kind.source.format(owner):
        yield Complaint("source", f"has to be {kind.source.format('{' + kind.owner + '}')}")
    if envelope.get("partitionkey") != f"{owner}:{subject}":
        yield Complaint("partitionkey", f"has to be {{{kind.owner}}}:{{subject}}, which is the record's key too")
    if kind is TRANSITIONS and isinstance(data := envelope.get("data"), dict):
        yield from _contradictions_of_a_transition(envelope, data)


def _contradictions_of_a_transition(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Complaint]:
    if envelope.get("correlationid") != envelope.get("partitionkey"):
        yield Complaint("correlationid", "has to be {shop}:{subject}")
    if data.get("shop") != envelope.get("shop"):
        yield Complaint("data.shop", "has to equal shop")
    if data.get("order_id") != envelope.get("subject"):
        yield Complaint("data.order_id", "has to equal subject")
    if str(data.get("version")).zfill(10) != envelope.get("sequence"):
        yield Complaint("sequence", "has to be data.version with leading zeros")


def forgiven(message: Message, received: Mapping[str, Any], path: str) -> Iterator[Complaint]:
    """Yield the fields of `received` that could not be read and that count as absent in `message`.

    `path` is the place of `received` in its event, such as "data".
    """
    for name, field in type(message).model_fields.items():
        given, read = received.get(name), getattr(message, name)
        if any(isinstance(mark, Loose) for mark in field.metadata):
            empty = given is None or (isinstance(given, str) and not given.strip())
            if not empty and given != read and read == field.default:
                yield Complaint(f"{path}.{name}", "cannot be read, and counts as absent")
        elif isinstance(read, tuple):
            yield from _left_out(field.annotation, given, f"{path}.{name}")


def _left_out(annotation: Any, given: object, path: str) -> Iterator[Complaint]:
    """Yield the elements that were left out of a list, and for each other element the fields that `forgiven` yields."""
    if not isinstance(given, list):
        if given is not None:
            yield Complaint(path, "should be a list, and counts as empty")
        return
    element: type[Message] = get_args(annotation)[0]
    for number, inner in enumerate(given):
        try:
            one = element.model_validate(inner)
        except ValidationError as errors:
            first = errors.errors(include_url=False, include_context=False, include_input=False)[0]
            field = ".".join(str(step) for step in (path, number, *first["loc"]))
            yield Complaint(field, "cannot be read, and what it belongs to is left out")
        else:
            yield from forgiven(one, inner, f"{path}.{number}")


# -- Schemas -------------------------------------------------------------------------------------------------------


class _Generator(GenerateJsonSchema):
    """Leaves out the titles that pydantic derives from field names, because they only repeat the names."""

    def field_title_should_be_set(self, schema: object) -> bool:
        del schema
        return False


#: The published schemas by the name of their file.
MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "oms-order-event": OmsOrderEvent,
    "kornitx-callback": KornitXCallback,
    "order-snapshot-event": OrderSnapshotEvent,
    "mirakl-order": Order,
    "order-transitioned-event": OrderTransitionedEvent,
    "transition": Transition,
    "dead-letter-headers": DeadLetterHeaders,
}


def schema(name: str) -> JsonSchemaValue:
    """The schema with this name. It contains every schema that it refers to."""
    model_schema = MODELS[name].model_json_schema(schema_generator=_Generator)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": schema_id(name), **model_schema}


def components() -> dict[str, JsonSchemaValue]:
    """All schemas by the name of their model, with the references that an AsyncAPI document needs."""
    _, found = models_json_schema(
        [(model, "validation") for model in MODELS.values()],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Generator,
    )
    return dict(found["$defs"])
