"""The relay: publishes the outbox to the log, at least once, in order for each key, from one process at a time."""

from collections.abc import Callable
from typing import Final

import structlog

from adapters.errors import LogUnavailable, TooLarge
from adapters.ports import LogWriter, NewRecord
from adapters.store import outbox as outbox_rows
from adapters.store.leases import Lease
from adapters.store.outbox import OutboxRow
from adapters.store.transaction import Store

log = structlog.get_logger("orderflow.relay")

#: Records of one publication at most.
BATCH: Final = 500
#: The header of a dead letter that is published without its value, because the log does not take that size.
LEFT_OUT: Final = ("orderflow-value", b"too large; orderflow dead-letters show has it")


class Relay:
    """Not thread-safe: one thread calls `turn`."""

    def __init__(self, store: Store, writer: LogWriter, lease: Callable[[], Lease]) -> None:
        """`lease` returns the relay's lease, renewed. It raises Fenced where another process has it by now."""
        self._store = store
        self._writer = writer
        self._lease = lease
        self._failing: frozenset[str] = frozenset()  # topics whose last publication failed

    def turn(self) -> int:
        """Publish the oldest records, topic by topic. Returns how many.

        A topic that fails, for example because this user may no longer write to it, does not hold up the others. It
        comes after them from then on, as soon as less than a batch of their records is left.

        Raises StoreUnavailable and Fenced at once, LogUnavailable after the other topics were served. The records that
        failed are published again in the same order.
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
        """Publish these records and delete their rows, for each topic apart. A topic's error goes into `failed`."""
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
        while records:  # each round shortens one record, or leaves it out
            self._lease()  # renewed: it outlasts one publication (bootstrap.open_log)
            try:
                self._writer.publish(records)
                return
            except TooLarge as error:
                whole = records[error.number]
                if LEFT_OUT in whole.headers:  # too large even so: it stays in the store only
                    log.error("not_published", topic=whole.topic)
                    del records[error.number]
                    continue
                log.error("published_without_value", topic=whole.topic, bytes=len(whole.value))
                records[error.number] = NewRecord(whole.topic, whole.key, b"", (*whole.headers, LEFT_OUT))
