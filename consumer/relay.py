"""The outbox to the log: at least once, in order for each key, by one process under a lease."""

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

BATCH: Final = 500
#: On a dead letter that is larger than the log takes: its bytes are in the store alone.
LEFT_OUT: Final = ("orderflow-value", b"too large; orderflow dead-letters show has it")


class Relay:
    """One thread calls `turn`."""

    def __init__(self, store: Store, writer: LogWriter, lease: Callable[[], Lease]) -> None:
        """`lease`: the relay's own, renewed; it raises Fenced where another process relays by now."""
        self._store = store
        self._writer = writer
        self._lease = lease
        self._stuck: frozenset[str] = frozenset()  # topics that took nothing at their last try

    def turn(self) -> int:
        """Publish the oldest records, topic by topic. Returns how many.

        A topic that takes nothing (no right to write there any more) lets the others go first from then on, and is
        tried again as soon as less than a batch of theirs is left.

        Raises StoreUnavailable and Fenced at once, LogUnavailable when the other topics are served: then the same
        records go out again, in the same order.
        """
        failed: dict[str, LogUnavailable] = {}
        sent = self._send(outbox_rows.oldest(self._store, BATCH, without=self._stuck), failed)
        if sent == BATCH:
            return sent
        for topic in sorted(self._stuck):
            sent += self._send(outbox_rows.oldest(self._store, BATCH, topic=topic), failed)
        self._stuck = frozenset(failed)
        for topic, error in failed.items():
            log.warning("topic_failed", topic=topic, error=str(error))
        if failed:
            raise next(iter(failed.values()))
        return sent

    def _send(self, found: list[OutboxRow], failed: dict[str, LogUnavailable]) -> int:
        """Publish these and delete them, each topic's by themselves; what a topic raises goes into `failed`."""
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
        while records:  # every turn makes one record smaller, or leaves it out
            self._lease()  # a publication takes less than what is left of it (bootstrap.open_log)
            try:
                self._writer.publish(records)
                return
            except TooLarge as error:
                whole = records[error.number]
                if LEFT_OUT in whole.headers:  # its key and headers alone are too much: then the store alone has it
                    log.error("not_published", topic=whole.topic)
                    del records[error.number]
                    continue
                log.error("published_without_value", topic=whole.topic, bytes=len(whole.value))
                records[error.number] = NewRecord(whole.topic, whole.key, b"", (*whole.headers, LEFT_OUT))
