"""Which adapter stands behind the store and the log. For the service (bootstrap.py) and for the commands of the CLI."""

from collections.abc import Collection
from typing import Final

from adapters.log.embedded import EmbeddedLog
from adapters.log.kafka import DELIVERY_SECONDS, KafkaLog
from adapters.messages.transitions import OutboxTopics
from adapters.ports import Clock
from adapters.store.transaction import Store
from consumer import secrets
from consumer.config import KafkaOption, Settings

#: The group of the embedded log; Kafka's is a setting.
GROUP: Final = "orderflow"
#: Threads that use the store beside the workers, each with a connection at a time.
OTHER_THREADS: Final = 8


def open_store(settings: Settings, roles: Collection[str] = ("worker", "poller")) -> Store:
    """The store, with as many connections as these roles can use at a time. Nothing is made or migrated.

    Raises ConfigError.
    """
    threads = {"worker": settings.worker.threads, "poller": len(settings.shops)}
    connections = sum(threads.get(role, 0) for role in roles) + OTHER_THREADS
    return Store(settings.store.url, password=secrets.store_password(settings), connections=connections)


def open_log(settings: Settings, store: Store, clock: Clock) -> EmbeddedLog | KafkaLog:
    """The log that the settings name. Raises ConfigError."""
    if settings.log.kind == "embedded":
        return EmbeddedLog(store, clock)
    return KafkaLog(
        secrets.kafka_options(settings),
        consumer=settings.kafka.options(KafkaOption.OF_CONSUMERS),
        producer=settings.kafka.options(KafkaOption.OF_PRODUCERS),
        # The relay publishes with at least two thirds of its lease before it.
        delivery_seconds=min(DELIVERY_SECONDS, settings.leases.seconds / 2),
    )


def group_of(settings: Settings) -> str:
    """The consumer group."""
    return GROUP if settings.log.kind == "embedded" else settings.kafka.group_id


def outbox_of(settings: Settings) -> OutboxTopics | None:
    """Where changes of state are told; nobody else can read the embedded log."""
    topics = settings.topics
    return None if settings.log.kind == "embedded" else OutboxTopics(topics.transitions, topics.dead_letters)
