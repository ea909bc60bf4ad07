"""The clients of kafka-python: their options, how they are created and closed, and what their errors mean."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from kafka.errors import KafkaConfigurationError
from kafka.net.compat import KafkaNetClient
from kafka.structs import TopicPartition

from adapters.errors import ConfigError, LogUnavailable
from adapters.ports import Partition

log = structlog.get_logger("orderflow.kafka")

T = TypeVar("T")

#: A lost connection is tried again after at most this time. The client's default is 30 s.
RECONNECT_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 10
#: How long a client waits for the first answer of any broker.
BOOTSTRAP_SECONDS: Final = 10
#: The longest time until a new topic or partition is noticed. With the client's default of five minutes, a group whose
#: leader has no metadata of a topic when it assigns partitions leaves the topic out for as long.
METADATA_SECONDS: Final = 30
READ_COMMITTED: Final = "read_committed"

#: Options of every client, whatever it is used for. Settings may replace them.
CLIENT_OPTIONS: Final[dict[str, Any]] = {
    "reconnect_backoff_max_ms": int(RECONNECT_SECONDS * 1000),
    "request_timeout_ms": REQUEST_SECONDS * 1000,
    "bootstrap_timeout_ms": BOOTSTRAP_SECONDS * 1000,
    "metadata_max_age_ms": METADATA_SECONDS * 1000,
}


def new_client(kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """A client of this class. Raises LogUnavailable, and ConfigError for options that the class does not take."""
    connections: list[Any] = []

    def connection(**given: Any) -> Any:
        connections.append(KafkaNetClient(**given))
        return connections[-1]

    try:
        return kind(**options, kafka_client=connection)
    except Exception as error:
        # Its thread runs already and would try to connect for ever: one more thread with each client that fails.
        for one in connections:
            close_quietly(one.close)
        if isinstance(error, KafkaConfigurationError | ValueError | AssertionError):
            raise ConfigError(f"kafka: the client does not take these settings ({type(error).__name__})") from error
        raise LogUnavailable(error_text(error)) from error


def close_quietly(close: Callable[[], object]) -> None:
    """Close a client that is not used any more. An error of `close` is logged for debugging only."""
    try:
        close()
    except Exception as error:
        log.debug("close_failed", error=type(error).__name__)


def error_text(error: BaseException) -> str:
    """The kind of error. Where the client only says that time ran out, also what to check: it names no cause."""
    name = type(error).__name__
    if "Timeout" in name or "NoBrokers" in name:
        return f"{name}: no broker answered; is it there, and are user, password and certificate right?"
    return name


def topic_partition(partition: Partition) -> TopicPartition:
    """A partition as kafka-python names it."""
    return TopicPartition(partition.topic, partition.number)
