"""Opens the store that the settings name, for the service and for every command.

The module imports no client of a remote and no log, so that a command that only reads starts fast.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from adapters.store import engine
from adapters.store.transaction import Store
from consumer.config import Settings
from consumer.config.secrets import store_password

if TYPE_CHECKING:
    from adapters.messages.transitions import OutboxTopics

#: The consumer group of the embedded log; that of Kafka is a setting.
GROUP: Final = "orderflow"
#: How many threads use the store besides workers and pollers. Each uses one connection at a time.
OTHER_THREADS: Final = 9


def open_store(
    settings: Settings, roles: Collection[str] = ("worker", "poller"), *, busy_seconds: float = engine.BUSY_SECONDS
) -> Store:
    """Open the store with as many connections as these roles can use at a time. The schema is not migrated.

    `busy_seconds`: on SQLite, how long a statement waits for the lock of another process. Raises ConfigError.
    """
    threads = {"worker": settings.worker.threads, "poller": min(settings.poller.threads, len(settings.shops))}
    connections = sum(threads.get(role, 0) for role in roles) + OTHER_THREADS
    return Store(settings.store.url, busy_seconds, password=store_password(settings), connections=connections)


def group_of(settings: Settings) -> str:
    """Return the name of the consumer group."""
    return GROUP if settings.log.kind == "embedded" else settings.kafka.group_id


def outbox_of(settings: Settings) -> "OutboxTopics | None":
    """Return the topics to which the relay publishes. None with the embedded log, which no other process reads."""
    from adapters.messages.transitions import OutboxTopics  # noqa: PLC0415 - a command that only reads needs none

    topics = settings.topics
    return None if settings.log.kind == "embedded" else OutboxTopics(topics.transitions, topics.dead_letters)
