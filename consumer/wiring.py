"""Which adapter stands behind the store and the log. For the service (bootstrap.py) and for the commands of the CLI."""

from typing import Final

from adapters.kafka import KafkaLog
from adapters.log import EmbeddedLog
from adapters.ports import Clock
from adapters.store import Store
from consumer import config
from consumer.config import Settings

#: The group of the embedded log; Kafka's is a setting.
GROUP: Final = "orderflow"
#: Threads that use the store beside the workers, each with a connection at a time.
OTHER_THREADS: Final = 8


def open_store(settings: Settings) -> Store:
    """The store. Nothing is made or migrated. Raises ConfigError."""
    connections = settings.worker.threads + len(settings.shops) + OTHER_THREADS
    return Store(settings.store.url, password=config.store_password(settings), connections=connections)


def open_log(settings: Settings, store: Store, clock: Clock) -> EmbeddedLog | KafkaLog:
    """The log that the settings name. Raises ConfigError."""
    if settings.log.kind == "embedded":
        return EmbeddedLog(store, clock)
    table = settings.kafka.model_dump(exclude_none=True)
    return KafkaLog(
        config.kafka_client(settings),
        consumer={name: table[name] for name in config.KAFKA_CONSUMER if name in table},
        producer={name: table[name] for name in config.KAFKA_PRODUCER if name in table},
    )


def group_of(settings: Settings) -> str:
    """The consumer group."""
    return GROUP if settings.log.kind == "embedded" else settings.kafka.group_id
