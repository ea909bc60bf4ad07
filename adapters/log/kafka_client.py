"""The clients of kafka-python: how they are created and closed, what their errors mean, and the options that all share.

The options of the producer, the consumer and the admin client are in kafka.py.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from kafka import codec
from kafka.errors import KafkaConfigurationError
from kafka.net.compat import KafkaNetClient
from kafka.structs import TopicPartition

from adapters.errors import Cause, ConfigError, LogUnavailable
from adapters.ports import Partition

log = structlog.get_logger("orderflow.kafka")

T = TypeVar("T")

#: The longest wait before a client connects again. Its own default is 30 s.
RECONNECT_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 10
#: How long a new client waits until any broker answers.
BOOTSTRAP_SECONDS: Final = 10
#: The longest time until a client notices a new topic or partition. The client's default is five minutes. If a group's
#: leader has no metadata of a topic when it assigns partitions, no member reads this topic until then.
METADATA_SECONDS: Final = 30
READ_COMMITTED: Final = "read_committed"

#: Options of every client: producer, consumer and admin client. The settings in [kafka] replace them.
CLIENT_OPTIONS: Final[dict[str, Any]] = {
    "reconnect_backoff_max_ms": int(RECONNECT_SECONDS * 1000),
    "request_timeout_ms": REQUEST_SECONDS * 1000,
    "bootstrap_timeout_ms": BOOTSTRAP_SECONDS * 1000,
    "metadata_max_age_ms": METADATA_SECONDS * 1000,
}


def new_client(kind: Callable[..., T], options: Mapping[str, Any]) -> T:
    """Create a client of the class `kind`.

    Raises LogUnavailable, and ConfigError for options that the class does not accept.
    """
    connections: list[Any] = []

    def connection(**given: Any) -> Any:
        connections.append(KafkaNetClient(**given))
        return connections[-1]

    try:
        return kind(**options, kafka_client=connection)
    except Exception as error:
        # The client's thread runs already, and would try to connect for ever. If it were not closed, each failure would
        # leave one more thread.
        for one in connections:
            close_quietly(one.close)
        if isinstance(error, KafkaConfigurationError | ValueError | AssertionError):
            raise ConfigError(f"kafka: the client does not accept these settings ({type(error).__name__})") from error
        raise unavailable(error) from error


def check_codec(compression_type: str | None) -> None:
    """Raise ConfigError if the library of this compression is not installed.

    Otherwise the first publication would notice it, when orders wait already.
    """
    has = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
    if compression_type is not None and not has[compression_type]():
        raise ConfigError(
            f"kafka.compression_type: the library of {compression_type} is not installed; install orderflow again, "
            "with its dependencies"
        )


def close_quietly(close: Callable[[], object]) -> None:
    """Close a client that is no longer used. An error of `close` is only logged, at level debug."""
    try:
        close()
    except Exception as error:
        log.debug("close_failed", error=type(error).__name__)


def error_text(error: BaseException) -> str:
    """The name of the error's class. A time-out names no cause, so its text also says what a person can check."""
    name = type(error).__name__
    if "Timeout" in name or "NoBrokers" in name:
        return f"{name}: no broker answered; does the broker run, and are user, password and certificate right?"
    return name


#: The causes of errors by what is in the name of their class, the first that fits.
_CAUSES: Final[Mapping[str, Cause]] = {
    "Authentication": Cause.LOGIN,
    "Authorization": Cause.LOGIN,
    "Sasl": Cause.LOGIN,
    "SSL": Cause.TLS,
    "Certificate": Cause.TLS,
    "gaierror": Cause.DNS,
    "Timeout": Cause.TIMEOUT,
    "TimedOut": Cause.TIMEOUT,
    "NoBrokers": Cause.TIMEOUT,
    "Connection": Cause.CONNECTION,
    "Disconnect": Cause.CONNECTION,
    "Network": Cause.CONNECTION,
    "NotAvailable": Cause.CONNECTION,
    "NotLeader": Cause.CONNECTION,
    "Closed": Cause.CONNECTION,
    "KafkaStorage": Cause.DISK_FULL,
}


def unavailable(error: BaseException) -> LogUnavailable:
    """Return what an error of the client means for the caller, with its cause.

    The error loses its traceback. The client keeps the error in a future that this traceback leads to, so both would
    keep the records of the publication until Python looks for such cycles (consumer/garbage.py).
    """
    name = type(error).__name__
    cause = next((cause for part, cause in _CAUSES.items() if part in name), Cause.OTHER)
    error.__traceback__ = None
    return LogUnavailable(error_text(error), cause)


def topic_partition(partition: Partition) -> TopicPartition:
    """A partition as kafka-python names it."""
    return TopicPartition(partition.topic, partition.number)
