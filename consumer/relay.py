"""The outbox to the log: at least once, in order for each key, by one process under a lease."""

from collections.abc import Callable
from typing import Final

import structlog

from adapters import views
from adapters.ports import LogWriter, NewRecord, TooLarge
from adapters.store import Lease, Store

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

    def turn(self) -> int:
        """Publish the oldest records. Returns how many.

        Raises LogUnavailable, StoreUnavailable, Fenced: then the same records go out again, in the same order.
        """
        found = views.outbox(self._store, BATCH)
        if not found:
            return 0
        self._publish([record for _, record in found])
        with self._store.transaction() as tx:
            tx.published([id_ for id_, _ in found])
        return len(found)

    def _publish(self, records: list[NewRecord]) -> None:
        while records:
            self._lease()  # a publication takes less than what is left of it (wiring.open_log)
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
