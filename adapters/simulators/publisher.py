"""The OMS's own publisher: what the callback would have carried, straight to Kafka (docs/kornitx.md 9).

With a client of its own, which deals records to partitions by its own rule: nothing of ours may rely on which.
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
    """As librdkafka's clients do by default."""

    def partition(self, topic: str, _key: Any, serialized_key: bytes, *rest: Any) -> int:
        *_, cluster = rest
        places = sorted(cluster.partitions_for_topic(topic))
        return int(places[crc32(serialized_key) % len(places)])


def company_url(company_ref_id: int) -> str:
    """How the simulator names the receiver of a company's notifications."""
    return f"kafka:{company_ref_id}"


class OmsPublisher:
    """For OmsSimulator: publishes a notification, and answers as HTTP would, so that what failed is sent again."""

    def __init__(self, bootstrap_servers: list[str], topic: str, **client: Any) -> None:
        """`client`: whatever else the OMS's client needs, as kafka-python names it."""
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
