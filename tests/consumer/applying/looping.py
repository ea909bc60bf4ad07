"""A consumer over the embedded log, for tests of its loop."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from adapters.errors import Unreadable, UnreadableReason
from adapters.log.embedded import EmbeddedLog
from adapters.ports import NewRecord, Partition, PartitionOffsets, Record
from adapters.store import journal as journal_rows
from adapters.store import order_lists
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.dead_letters import DeadLetter
from adapters.store.orders import OrderRow
from consumer.applying.apply import OrderWriter
from consumer.applying.dead_letter_limit import DeadLetterLimit
from consumer.applying.loop import Consumer
from consumer.hooks import Applied, Hooks
from statemachine.events import Event
from statemachine.machine import EventResult
from tests.statemachine.lives import spoke
from tests.support import StillClock, new_store

SNAPSHOTS, OMS = "snapshots", "oms"
UNREADABLE, BREAKS, UNEXPECTED = b"unreadable", b"breaks", b"unexpected"


class World(Hooks):
    """A consumer over the embedded log. Each record's value names the event that it stands for."""

    def __init__(self, folder: Path) -> None:
        self.clock = StillClock()
        self.store = new_store(folder)
        self.log = EmbeddedLog(self.store, self.clock)
        self.events: dict[bytes, Event] = {}
        self.batches: list[tuple[int, list[EventResult], list[str]]] = []
        self.reported: list[Applied] = []
        self.paused: list[list[str]] = []
        self.orders = OrderWriter(self.store, {}, self.clock, self)
        self.consumer = self.new_consumer()

    def new_consumer(self, most: int = 50, owners: frozenset[str] = frozenset()) -> Consumer:
        self.reader = self.log.reader("g", [SNAPSHOTS, OMS])
        self.limit = DeadLetterLimit(self.clock, {SNAPSHOTS: owners, OMS: owners}, most=most, window_seconds=600)
        return Consumer(
            self.reader,
            self.store,
            self.orders,
            {SNAPSHOTS: self.decode, OMS: self.decode},
            self.clock,
            hooks=self,
            limit=self.limit,
        )

    def decode(self, value: bytes | None, _headers: Sequence[tuple[str, bytes]]) -> Event | None:
        if not value:
            return None
        if value.startswith(UNREADABLE):
            raise Unreadable(UnreadableReason.NOT_JSON, "at 0")
        if value.startswith(UNEXPECTED):
            raise RecursionError
        if value.startswith(BREAKS):
            return replace(spoke(), event_id=value.decode(), note={"breaks": object()})  # type: ignore[dict-item]
        return self.events[value]

    def event_applied(self, applied: Applied) -> None:
        self.reported.append(applied)

    def batch_applied(
        self, records: Sequence[Record], applied: Sequence[Applied], dead_letters: Sequence[DeadLetter]
    ) -> None:
        results, reasons = [one.result for one in applied], [one.reason for one in dead_letters]
        self.batches.append((len(records), results, reasons))

    def topics_paused(self, topics: Collection[str]) -> None:
        self.paused.append(sorted(topics))

    def publish(self, event: Event, topic: str = SNAPSHOTS) -> None:
        value = f"{topic}/{event.shop}/{event.order_id}/{event.event_id}".encode()
        self.events[value] = event
        self.log.publish([NewRecord(topic, f"{event.shop}:{event.order_id}".encode(), value)])

    def publish_raw(self, value: bytes, key: str = "alpha:O-1", topic: str = SNAPSHOTS) -> None:
        self.log.publish([NewRecord(topic, key.encode(), value, (("h", b"\xff"),))])

    def drain(self) -> int:
        return sum(iter(lambda: self.consumer.turn(0), 0))

    def orders_now(self) -> list[OrderRow]:
        return sorted(order_lists.latest(self.store), key=lambda order: order.order_id)

    def journal(self) -> list[tuple[str, int]]:
        return [
            (e.event.event_id, e.repeats)
            for order in self.orders_now()
            for e in journal_rows.of_order(self.store, order.key)
        ]

    def position(self, partition: Partition) -> int:
        with self.store.transaction() as tx:
            rows = progress_rows.lock_or_insert(tx, "embedded", "g", {partition: PartitionOffsets(0, 0)})
            return rows[partition].position

    def passed(self) -> int:
        with self.store.reading() as connection:
            return connection.execute(sa.select(sa.func.sum(s.progress.c.position))).scalar() or 0


def said(oms_id: int, order_id: str = "O-1") -> Event:
    return replace(spoke(oms_id), order_id=order_id, event_id=f"{order_id}/{oms_id}")


def once(raising: BaseException, instead_of: Callable[..., Any]) -> Callable[..., Any]:
    """Fails the first time."""
    left = [raising]

    def call(*args: Any, **kwargs: Any) -> Any:
        if left:
            raise left.pop()
        return instead_of(*args, **kwargs)

    return call
