"""Publishes the events of the OMS to Kafka, as an OMS that does not use callbacks would (docs/kornitx.md 9).

The client of a real OMS is not ours, and may choose partitions by another rule. So this client uses another rule too,
to show that orderflow does not depend on the partition of a key.
"""

from datetime import UTC, datetime
from typing import Any, Final
from zlib import crc32

import kafka
from kafka.partitioner import Partitioner

from adapters.messages.cloudevents import record_of
from adapters.messages.oms_events import oms_event

ANSWER_SECONDS: Final = 15


class _ForeignPartitioner(Partitioner):  # type: ignore[misc]  # untyped
    """Chooses partitions by a CRC-32 of the key, as clients that are built on librdkafka do by default."""

    def partition(self, topic: str, _key: Any, serialized_key: bytes, *rest: Any) -> int:
        *_, cluster = rest
        partitions = sorted(cluster.partitions_for_topic(topic))
        return int(partitions[crc32(serialized_key) % len(partitions)])


def company_url(company_ref_id: int) -> str:
    """Return the address of a company's notifications, which takes the place of a callback URL."""
    return f"kafka:{company_ref_id}"


class OmsPublisher:
    """Publishes each notification of an OmsSimulator, as its `send`.

    A call returns 200, or 503 if Kafka did not take the notification, so that the simulator sends it again later.
    """

    def __init__(self, bootstrap_servers: list[str], topic: str, **client: Any) -> None:
        """`client`: other settings of the Kafka client, named as in kafka-python."""
        self._topic = topic
        self._producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap_servers, acks="all", partitioner=_ForeignPartitioner(), **client
        )

    def __call__(self, url: str, _headers: dict[str, str], body: bytes) -> int:
        event = oms_event(int(url.removeprefix("kafka:")), body, datetime.now(UTC))
        record = record_of(self._topic, event)
        headers = list(record.headers)
        try:
            sent = self._producer.send(record.topic, key=record.key, value=record.value, headers=headers)
            sent.get(timeout=ANSWER_SECONDS)
        except kafka.errors.KafkaError:
            return 503
        return 200

    def close(self) -> None:
        self._producer.close()
