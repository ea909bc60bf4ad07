"""The AsyncAPI document of the four topics. `make docs` writes it to docs/events/asyncapi.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.messages import cloudevents, contract

_KAFKA_BINDING: Final = "0.5.0"
_DAYS: Final = 86_400_000  # in milliseconds

_ABOUT: Final = """\
The messages that orderflow reads from Kafka and writes to it. The names of the topics are settings; these are the
defaults.

Events are CloudEvents 1.0 in structured mode, JSON in UTF-8. orderflow also reads binary mode (`ce_` headers). Each
event is delivered at least once. The events of one order have the same key, so they are in one partition and stay in
order. A minor version only adds to the contract, so ignore members that you do not know. `README.md` in this folder
says how to publish, check and read events.\
"""


@dataclass(frozen=True, slots=True)
class _Topic:
    """A topic, its only message, and what orderflow does with it."""

    setting: str  # the topic's key in the settings [topics]
    message: str
    title: str
    about: str
    key: str
    key_example: str
    actions: tuple[str, ...]
    keep_days: int


_TOPICS: Final = (
    _Topic(
        "oms_events",
        "OmsOrderEvent",
        "Reports of the OMS about orders",
        "The OMS publishes the data of KornitX's status callback. A record without a value is skipped.",
        "{companyrefid}:{external_ref}",
        "99999:00000012-A",
        ("receive",),
        7,
    ),
    _Topic(
        "snapshots",
        "OrderSnapshotEvent",
        "Orders as they were read at Mirakl",
        "orderflow writes and reads them. They contain personal data: names, addresses, phone numbers. Give access "
        "only to people who need it.",
        "{shop}:{order_id}",
        "alpha:00000012-A",
        ("send", "receive"),
        7,
    ),
    _Topic(
        "transitions",
        "OrderTransitionedEvent",
        "Changes of an order's state",
        "One event per change of state, at least once. No personal data.",
        "{shop}:{order_id}",
        "alpha:00000012-A",
        ("send",),
        7,
    ),
    _Topic(
        "dead_letters",
        "DeadLetter",
        "Records that could not be applied",
        "Value and key of the record as received, byte for byte. They may contain personal data. The headers give the "
        "reason, and the record's topic, partition and offset.",
        "the record's own key, or none",
        "99999:00000012-A",
        ("send",),
        30,
    ),
)


def document(
    names: Mapping[str, str], group: str, examples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """The AsyncAPI document. `names` are the topics' names by their keys in [topics]. `examples` are, for each message,
    objects with a `name`, a `payload`, and `headers` if the message has some."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "orderflow events",
            "version": cloudevents.VERSION,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {names[topic.setting]: _channel(topic, names[topic.setting]) for topic in _TOPICS},
        "operations": {
            f"{action}-{topic.setting.replace('_', '-')}": _operation(action, names[topic.setting], topic, group)
            for topic in _TOPICS
            for action in topic.actions
        },
        "components": {
            "messages": {topic.message: _message(topic, examples[topic.message]) for topic in _TOPICS},
            "schemas": contract.components(),
        },
    }


def _channel(topic: _Topic, name: str) -> dict[str, Any]:
    return {
        "address": name,
        "title": topic.title,
        "description": topic.about,
        "messages": {topic.message: {"$ref": f"#/components/messages/{topic.message}"}},
        "bindings": {
            "kafka": {
                "topic": name,
                "partitions": 12,  # this and the next two values are suggestions; one shop needs fewer
                "replicas": 3,
                "topicConfiguration": {"cleanup.policy": ["delete"], "retention.ms": topic.keep_days * _DAYS},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _operation(action: str, name: str, topic: _Topic, group: str) -> dict[str, Any]:
    """The entry for one thing that orderflow does with a topic: "send" or "receive"."""
    bindings = {"groupId": {"type": "string", "default": group}} if action == "receive" else {}
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "summary": f"orderflow {'reads' if action == 'receive' else 'writes'}: {topic.title.lower()}",
        "messages": [{"$ref": f"#/channels/{name}/messages/{topic.message}"}],
        "bindings": {"kafka": {**bindings, "bindingVersion": _KAFKA_BINDING}},
    }


def _message(topic: _Topic, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    key = {"type": "string", "description": topic.key, "examples": [topic.key_example]}
    return {
        "name": topic.message,
        "title": topic.title,
        **(_AS_RECEIVED if topic.setting == "dead_letters" else _as_event(topic.message)),
        "bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA_BINDING}},
        "examples": [dict(example) for example in examples],
    }


_AS_RECEIVED: Final = {
    "contentType": "application/octet-stream",
    "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
    "payload": {"description": "Any bytes, or none."},
}


def _as_event(message: str) -> dict[str, Any]:
    content_type = {"type": "string", "const": "application/cloudevents+json; charset=UTF-8"}
    return {
        "contentType": "application/cloudevents+json",
        "headers": {"type": "object", "properties": {"content-type": content_type}, "required": ["content-type"]},
        "payload": {"$ref": f"#/components/schemas/{message}"},
    }
