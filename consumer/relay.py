"""The relay: publishes the outbox to the log, at least once, in order for each key, from one process at a time."""

from collections.abc import Callable
from typing import Final

import structlog

from adapters.errors import LogUnavailable, RecordRefused, TooLarge
from adapters.ports import LogWriter, NewRecord
from adapters.store import outbox as outbox_rows
from adapters.store.leases import Lease
from adapters.store.outbox import OutboxRow
from adapters.store.transaction import Store

log = structlog.get_logger("orderflow.relay")

#: The largest number of records of one publication.
BATCH: Final = 500
#: The header of a dead letter that is published without its value, because the log does not take that size.
LEFT_OUT: Final = ("orderflow-value", b"too large; orderflow dead-letters show has it")


#: How long the loop waits after a turn that found less than a batch. Each publication costs the same whether it has one
#: record or a hundred, so without the wait a steady load of single records takes the most CPU.
IDLE_SECONDS: Final = 0.25


class RelayLoop:
    """Runs the relay in the process that holds its lease. One thread calls `turn`.

    It is a loop beside the housekeeping: a log that does not answer must not stop the housekeeping, and many orders to
    plan again must not stop the publication.
    """

    def __init__(self, relay: "Relay", take: Callable[[], Lease | None], other_seconds: float) -> None:
        """`take` takes or renews the relay's lease; None: another process has it. Then this process looks again after
        `other_seconds`."""
        self._relay = relay
        self._take = take
        self._other_seconds = other_seconds

    def turn(self) -> float:
        """Publish what waits. Returns how many seconds to wait. Raises StoreUnavailable, LogUnavailable, Fenced."""
        if self._take() is None:
            return self._other_seconds
        return 0.0 if self._relay.turn() >= BATCH else IDLE_SECONDS


class Relay:
    """Publishes the outbox. Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, writer: LogWriter, lease: Callable[[], Lease]) -> None:
        """`lease` returns the relay's lease, renewed. It raises Fenced if another process has taken the lease."""
        self._store = store
        self._writer = writer
        self._lease = lease
        self._failing: frozenset[str] = frozenset()  # topics whose last publication failed

    def turn(self) -> int:
        """Publish the oldest records, topic by topic. Returns how many left the outbox, also refused ones.

        If a topic fails, for example because this user may no longer write to it, the other topics go on. From then on,
        the failed topic is tried after the others, in each turn that finds less than a batch of their records.

        Raises StoreUnavailable and Fenced at once, and LogUnavailable after the other topics were served. Records that
        failed stay in the outbox, and are published later in the same order.
        """
        failed: dict[str, LogUnavailable] = {}
        sent = self._send(outbox_rows.oldest(self._store, BATCH, without=self._failing), failed)
        if sent == BATCH:
            return sent
        for topic in sorted(self._failing):
            sent += self._send(outbox_rows.oldest(self._store, BATCH, topic=topic), failed)
        self._failing = frozenset(failed)
        for topic, error in failed.items():
            log.warning("topic_failed", topic=topic, error=str(error))
        if failed:
            raise next(iter(failed.values()))
        return sent

    def _send(self, found: list[OutboxRow], failed: dict[str, LogUnavailable]) -> int:
        """Publish these records and delete their rows, topic by topic. Puts the error of a topic into `failed`."""
        sent = 0
        for topic in dict.fromkeys(row.record.topic for row in found):
            mine = [row for row in found if row.record.topic == topic]
            try:
                self._publish([row.record for row in mine])
            except LogUnavailable as error:
                failed[topic] = error
                continue
            with self._store.transaction() as tx:
                outbox_rows.delete(tx, [row.id for row in mine])
            sent += len(mine)
        return sent

    def _publish(self, records: list[NewRecord]) -> None:
        while records:  # if a record is refused, the next round has it without its value, or not at all
            self._lease()  # renewed, so that the lease lasts longer than one publication (bootstrap.open_log)
            try:
                self._writer.publish(records)
                return
            except RecordRefused as error:
                whole = records[error.number]
                # Refused for another reason, or too large even without its value: it stays in the store only.
                if not isinstance(error, TooLarge) or LEFT_OUT in whole.headers:
                    log.error("not_published", topic=whole.topic, error=error.kind)
                    del records[error.number]
                    continue
                log.error("published_without_value", topic=whole.topic, bytes=len(whole.value))
                records[error.number] = NewRecord(whole.topic, whole.key, b"", (*whole.headers, LEFT_OUT))
