"""An OMS that publishes its events to Kafka itself, instead of calling back (docs/kornitx.md 9).

Its client is not ours and chooses partitions by another rule: orderflow must not rely on which partition it is.
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
    """The rule that clients built on librdkafka use by default."""

    def partition(self, topic: str, _key: Any, serialized_key: bytes, *rest: Any) -> int:
        *_, cluster = rest
        partitions = sorted(cluster.partitions_for_topic(topic))
        return int(partitions[crc32(serialized_key) % len(partitions)])


def company_url(company_ref_id: int) -> str:
    """The receiver of a company's notifications, in place of a callback URL."""
    return f"kafka:{company_ref_id}"


class OmsPublisher:
    """The `send` of an OmsSimulator: publishes a notification. Returns 200, or 503 so that it is sent again later."""

    def __init__(self, bootstrap_servers: list[str], topic: str, **client: Any) -> None:
        """`client`: further settings of the OMS's client, as kafka-python names them."""
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
