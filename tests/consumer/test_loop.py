"""The consumer: where it starts, what comes again after a failure, what is dead-lettered. Real store, embedded log."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.errors import LogUnavailable, RecordUnreadable, StoreUnavailable, Unreadable, UnreadableReason
from adapters.log.embedded import EmbeddedLog
from adapters.ports import NewRecord, Partition, PartitionOffsets, Record
from adapters.store import commands as command_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import journal as journal_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.dead_letters import SET_ASIDE, DeadLetter
from adapters.store.orders import OrderRow
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store, Transaction
from consumer.apply import OrderWriter
from consumer.dead_letter_limit import DeadLetterLimit
from consumer.hooks import Applied, Hooks
from consumer.loop import COMPARE_AGAIN_SECONDS, Consumer, dead_letter
from consumer.offsets import OffsetMismatch
from consumer.operations.errors import NothingToReset
from consumer.operations.offsets import partition_statuses, reset, skip
from statemachine.events import Event
from statemachine.machine import EventResult
from tests.statemachine.lives import read, sent, snapshot_event, spoke
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
        return sorted(order_rows.latest(self.store), key=lambda order: order.order_id)

    def journal(self) -> list[tuple[str, int]]:
        return [
            (e.event.event_id, e.repeats)
            for order in self.orders_now()
            for e in journal_rows.of_order(self.store, order.key)
        ]

    def position(self, partition: Partition) -> int:
        with self.store.transaction() as tx:
            return progress_rows.begin(tx, "embedded", "g", {partition: PartitionOffsets(0, 0)})[partition].position

    def passed(self) -> int:
        with self.store.reading() as connection:
            return connection.execute(sa.select(sa.func.sum(s.progress.c.position))).scalar() or 0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


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


# -- Where it starts, and what comes again ------------------------------------------------------------------------


def test_reading_starts_at_the_progress_row_not_at_the_log_s_commit(world: World) -> None:
    """docs/rules.md 8: after a stop between the commits of store and log, the consumer would be fenced for ever."""
    for n in range(4):
        world.publish(said(n))
    (partition,) = {record.partition for record in world.log.reader("x", [SNAPSHOTS]).poll(9, 0)}
    with world.store.transaction() as tx:
        progress_rows.begin(tx, "embedded", "g", {partition: PartitionOffsets(0, 9)})
        progress_rows.advance(tx, Advance("embedded", "g", partition, 0, 2))
    assert world.drain() == 2
    assert world.journal() == [("O-1/2", 0), ("O-1/3", 0)]
    world.reader.seek(partition, 0)  # the log's position goes back, the row does not
    assert world.drain() == 0
    assert world.position(partition) == 4


def test_a_restart_goes_on_where_the_last_one_ended(world: World) -> None:
    world.publish(said(1))
    assert world.drain() == 1
    world.publish(said(2))
    world.consumer = world.new_consumer()
    assert world.drain() == 1
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 0)]


def test_a_zombie_applies_nothing_twice_and_goes_on_behind_its_successor(world: World) -> None:
    world.publish(said(1))
    zombie, successor = world.consumer, world.new_consumer()
    assert zombie.turn(0) == 1
    world.publish(said(2))
    world.publish(said(3))
    assert successor.turn(0) == 2
    assert zombie.turn(0) == 0
    world.publish(said(4))
    assert zombie.turn(0) == 1
    assert world.journal() == [(f"O-1/{n}", 0) for n in range(1, 5)]
    assert [batch[0] for batch in world.batches] == [1, 2, 1]


def test_records_that_another_consumer_applies_meanwhile_are_no_mismatch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log's end is read before the row. If a record is applied in between, the row is ahead of that end."""
    other = world.new_consumer()
    newcomer = world.new_consumer()
    plain, left = world.reader.partition_offsets, [1]

    def partition_offsets(partitions: Collection[Partition]) -> Mapping[Partition, PartitionOffsets]:
        found = plain(partitions)
        if left:
            left.pop()
            world.publish(said(1))
            assert other.turn(0) == 1
        return found

    monkeypatch.setattr(world.reader, "partition_offsets", partition_offsets)
    with capture_logs() as logged:
        assert newcomer.turn(0) == 0
    assert logged == []
    world.publish(said(2))
    assert newcomer.turn(0) == 1


def test_a_log_that_was_shorter_stays_stopped_when_it_has_grown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise records that were published under the offsets of lost records would be skipped unnoticed."""
    monkeypatch.setattr("adapters.log.embedded.PARTITIONS", 1)
    world.consumer = world.new_consumer()
    world.publish(said(1))
    world.drain()
    partition = Partition(SNAPSHOTS, 0)
    with world.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "g", partition, Progress(3, ""))
    world.consumer = world.new_consumer()
    with capture_logs() as logged:
        assert world.drain() == 0
    assert [line["reason"] for line in logged] == ["log_shorter"]
    for n in range(2, 6):
        world.publish(said(n))
    assert world.drain() == 0
    world.consumer = world.new_consumer()  # a restart does not forget the mismatch
    assert world.drain() == 0
    (_, status) = partition_statuses(world.store, world.log, "g", [SNAPSHOTS, OMS])
    assert status.mismatch == "log_shorter"
    assert status.position == 3
    assert status.end == 5
    reset(
        world.store,
        world.orders,
        world.log,
        "g",
        SNAPSHOTS,
        partition=0,
        whence="stored",
        who="ana",
        why="a test",
        at=world.clock.now(),
        shops=["alpha"],
    )
    world.clock.advance(COMPARE_AGAIN_SECONDS)
    world.drain()
    assert [event_id for event_id, _ in world.journal() if event_id.startswith("O-1/")] == [
        f"O-1/{n}" for n in range(1, 6)
    ]


def test_a_fence_within_a_halved_batch_ends_the_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        world.publish(said(n))
    world.publish_raw(BREAKS)
    plain, calls = world.orders.store, []

    def applies(events: Sequence[Event], moves: Sequence[Advance], dead_letters: Sequence[DeadLetter]) -> list[Applied]:
        calls.append(len(events))
        if len(calls) == 2:  # another consumer takes the partition between our two tries
            plain(events[:1], [replace(move, position=move.held + 1) for move in moves])
        return plain(events, moves, dead_letters)

    monkeypatch.setattr(world.orders, "store", applies)
    assert world.consumer.turn(0) == 0
    assert calls == [4, 2]
    world.drain()
    assert world.journal() == [("O-1/0", 0), ("O-1/1", 0), ("O-1/2", 0)]
    assert [one.reason for one in dead_letter_rows.newest(world.store)] == ["not_applicable"]


def test_while_the_store_is_unavailable_the_same_records_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(said(1))
    world.publish(said(2))
    monkeypatch.setattr(world.orders, "store", once(StoreUnavailable("no answer"), world.orders.store))
    with pytest.raises(StoreUnavailable):
        world.consumer.turn(0)
    assert world.journal() == []
    assert world.batches == []
    assert world.consumer.turn(0) == 2
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 0)]
    assert dead_letter_rows.newest(world.store) == []


def test_a_store_that_is_unavailable_at_the_start_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(said(1))
    monkeypatch.setattr(Store, "transaction", once(StoreUnavailable("no answer"), Store.transaction))
    with pytest.raises(StoreUnavailable):
        world.consumer.turn(0)
    assert world.drain() == 1


def test_a_crash_between_apply_and_commit_applies_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(said(1))
    monkeypatch.setattr(world.reader, "commit", once(LogUnavailable("gone"), world.reader.commit))
    with pytest.raises(LogUnavailable):
        world.consumer.turn(0)
    world.publish(said(2))
    assert world.drain() == 1
    world.consumer = world.new_consumer()  # and the same for a new process
    assert world.drain() == 0
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 0)]


@pytest.mark.parametrize("which", ["batch_applied", "event_applied"])
def test_a_hook_that_fails_after_the_commit_loses_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    for n in range(4):
        world.publish(said(n))
    fails = once(ValueError("a hook"), lambda *_: None)
    monkeypatch.setattr(world, which, fails)
    with pytest.raises(ValueError, match="a hook"):  # in the service, `Several` catches it
        world.consumer.turn(0)
    world.publish(said(9))
    world.drain()
    assert world.journal() == [(f"O-1/{n}", 0) for n in (0, 1, 2, 3, 9)]
    assert dead_letter_rows.newest(world.store) == []


def test_a_failure_half_way_through_a_halved_batch_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader is past the whole batch then, so the records that were not applied have to come again."""
    world.publish_raw(BREAKS)
    for n in range(3):
        world.publish(said(n))
    monkeypatch.setattr(dead_letter_rows, "add", refuse_once(dead_letter_rows.add))
    with pytest.raises(ArithmeticError):
        world.consumer.turn(0)
    world.publish(said(3))
    world.drain()
    assert world.journal() == [(f"O-1/{n}", 0) for n in range(4)]
    assert [one.reason for one in dead_letter_rows.newest(world.store)] == ["not_applicable"]


def refuse_once(plain: Callable[..., None]) -> Callable[..., None]:
    """A store that raises an unexpected error for the first dead letter."""
    left = [ArithmeticError()]

    def add(tx: Transaction, dead_letters: Sequence[DeadLetter], now: Any) -> None:
        if dead_letters and left:
            raise left.pop()
        plain(tx, dead_letters, now)

    return add


def test_a_gap_in_the_offsets_loses_nothing_even_if_the_log_is_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher's transaction leaves a gap. The log may be unavailable when the consumer asks about the gap."""
    world.publish(said(0))
    world.drain()
    for n in range(1, 5):
        world.publish(said(n))
    with world.store.transaction() as tx:
        tx.execute(sa.delete(s.log_records).where(s.log_records.c.offset == 1))
    monkeypatch.setattr(
        world.reader, "partition_offsets", once(LogUnavailable("no answer"), world.reader.partition_offsets)
    )
    with pytest.raises(LogUnavailable):
        world.consumer.turn(0)
    world.publish(said(5))
    world.drain()
    assert world.journal() == [(f"O-1/{n}", 0) for n in (0, 2, 3, 4, 5)]


def test_a_record_from_the_reader_s_old_buffer_is_not_passed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(said(1))
    world.publish(said(2))
    stale = world.log.reader("x", [SNAPSHOTS]).poll(1, 0)
    assert world.drain() == 2
    monkeypatch.setattr(world.reader, "poll", lambda *_: stale)
    assert world.consumer.turn(0) == 0
    assert world.passed() == 2


def test_records_of_a_partition_that_is_no_longer_assigned_are_not_applied(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.publish(said(1))
    monkeypatch.setattr(world.reader, "assignment", frozenset)
    assert world.consumer.turn(0) == 0
    assert world.journal() == []
    monkeypatch.undo()
    assert world.drain() == 1


# -- Dead letters -------------------------------------------------------------------------------------------------


def test_an_unreadable_record_is_kept_as_received_and_the_rest_goes_on(world: World) -> None:
    world.publish(said(1))
    world.publish_raw(UNREADABLE + b"\x00\xff")
    world.publish(said(2))
    with capture_logs() as logged:
        assert world.drain() == 3
    (one,) = dead_letter_rows.newest(world.store)
    assert one.source == SNAPSHOTS
    assert one.reason == "not_json"
    assert one.detail == "at 0"
    assert one.times == 1
    assert one.key == b"alpha:O-1"
    assert one.value == UNREADABLE + b"\x00\xff"
    assert one.place.startswith(f"{SNAPSHOTS}/")
    assert one.place.endswith("/1")
    with world.store.reading() as connection:
        assert json.loads(connection.execute(sa.select(s.dead_letters.c.headers)).scalar_one()) == [["h", "ff"]]
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 0)]
    assert world.batches == [(3, ["noted", "noted"], ["not_json"])]
    assert [line["event"] for line in logged] == ["dead_lettered"]


@pytest.mark.parametrize("poison", [BREAKS, UNEXPECTED], ids=["apply fails", "decode fails"])
@pytest.mark.parametrize("at", [0, 3, 6])
def test_a_poison_record_is_dead_lettered_alone_and_the_rest_is_applied_in_order(
    world: World, poison: bytes, at: int
) -> None:
    """Decoding or applying may raise any exception."""
    for n in range(7):
        if n == at:
            world.publish_raw(poison)
        world.publish(said(n))
    world.publish(said(0, "O-2"))
    with capture_logs() as logged:
        assert world.drain() == 9
    assert world.journal() == [*((f"O-1/{n}", 0) for n in range(7)), ("O-2/0", 0)]
    assert [order.version for order in world.orders_now()] == [7, 1]
    (one,) = dead_letter_rows.newest(world.store)
    assert one.reason == "not_applicable"
    assert one.value == poison
    assert one.detail in ("TypeError", "RecursionError")
    assert sum(count for count, _, _ in world.batches) == 9
    assert [line["event"] for line in logged] == ["dead_lettered"]
    assert world.passed() == 9


def test_a_batch_of_poison_records_alone_is_dead_lettered(world: World) -> None:
    for n in range(4):
        world.publish_raw(BREAKS + b"%d" % n)
    assert world.drain() == 4
    assert [one.times for one in dead_letter_rows.newest(world.store)] == [1] * 4
    assert world.orders_now() == []


def test_a_record_without_a_value_is_skipped(world: World) -> None:
    world.publish_raw(b"")
    world.publish(said(1))
    assert world.drain() == 2
    assert world.journal() == [("O-1/1", 0)]
    assert dead_letter_rows.newest(world.store) == []


def test_the_same_record_is_one_dead_letter_and_other_headers_make_another(world: World) -> None:
    """In the binary mode of CloudEvents only the headers name the order: one dead letter for two would lose one."""
    record = Record(Partition(OMS, 0), 1, b"k", b"v", (("ce_subject", b"O-1"),), world.clock.now())
    same = dead_letter(replace(record, offset=2), "not_json", "")
    assert same.digest == dead_letter(record, "not_json", "").digest
    for other in ({"headers": (("ce_subject", b"O-2"),)}, {"key": b"kv", "value": b""}, {"key": None}, {"value": None}):
        assert dead_letter(replace(record, **other), "not_json", "").digest != same.digest


# -- Two topics ---------------------------------------------------------------------------------------------------


def test_what_the_oms_reports_before_the_first_snapshot_counts_when_that_comes(world: World) -> None:
    world.publish(sent(), OMS)
    world.drain()
    (order,) = world.orders_now()
    assert order.state == "new"
    assert len(order.facts.dispatches) == 1
    assert order.read_after is not None  # the poller reads it by its id
    world.publish(snapshot_event(read("SHIPPING")))
    world.drain()
    (order,) = world.orders_now()
    assert order.state == "dispatched"
    assert [command.kind for command in command_rows.of_order(world.store, order.key)] == ["send_tracking"]


# -- DeadLetterLimit (docs/rules.md 33) ---------------------------------------------------------------------------


def bad(world: World, *numbers: int, topic: str = SNAPSHOTS) -> None:
    for n in numbers:
        world.publish_raw(UNREADABLE + b"%d" % n, key=f"alpha:O-{n}", topic=topic)


@pytest.mark.parametrize("poison", [UNREADABLE, BREAKS], ids=["unreadable", "not applicable"])
def test_a_topic_is_paused_before_all_its_keys_are_dead_lettered(world: World, poison: bytes) -> None:
    world.consumer = world.new_consumer(most=3)
    for n in range(10):
        world.publish_raw(poison + b"%d" % n, key=f"alpha:O-{n}")
    world.publish(said(1, "O-99"), OMS)
    with capture_logs() as logged:
        for _ in range(5):
            world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.passed() == 4  # those three, and the other topic's
    assert world.journal() == [("O-99/1", 0)]
    assert [line["topic"] for line in logged if line["event"] == "topic_paused"] == [SNAPSHOTS]
    assert world.paused == [[SNAPSHOTS]]
    assert world.reader.poll(10, 0) == []  # meanwhile the topic is not read again and again


SHOPS = frozenset({"alpha", "beta"})


@pytest.mark.parametrize("poison", [UNREADABLE, BREAKS], ids=["unreadable", "not applicable"])
def test_too_much_dead_lettered_of_one_shop_stops_its_records_and_no_other_shop(world: World, poison: bytes) -> None:
    """The records beyond the limit are set aside in the transaction that moves the offset."""
    world.consumer = world.new_consumer(most=3, owners=SHOPS)
    for n in range(10):
        world.publish_raw(poison + b"%d" % n, key=f"alpha:O-{n}")
    world.publish_raw(UNREADABLE, key="beta:O-1")
    world.publish(said(1, "O-99"))
    with capture_logs() as logged:
        assert world.drain() == 12
    kept = dead_letter_rows.newest(world.store)
    assert Counter(one.reason == SET_ASIDE for one in kept) == {True: 7, False: 4}
    assert {one.detail.partition(":")[0] for one in kept if one.reason == SET_ASIDE} <= {"not_json", "not_applicable"}
    assert world.journal() == [("O-99/1", 0)]
    assert world.paused == []
    assert {line["log_level"] for line in logged if line.get("reason") == SET_ASIDE} == {"error"}
    assert len(dead_letter_rows.set_aside(world.store, "alpha")) == 7
    assert dead_letter_rows.set_aside(world.store, "beta") == dead_letter_rows.set_aside(world.store, "alph") == []


def test_a_topic_is_paused_when_every_shop_is_beyond_its_limit(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    for n in range(5):
        for shop in sorted(SHOPS):
            world.publish_raw(UNREADABLE + b"%d" % n, key=f"{shop}:O-{n}")
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]
    world.clock.advance(601)
    world.drain()
    assert world.paused[1] == []


def test_a_topic_is_paused_when_too_many_records_name_no_shop(world: World) -> None:
    """Otherwise keys that nobody knows would have no limit."""
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    for n, key in enumerate(("gamma:1", "2", "delta:3", ":4")):
        world.publish_raw(UNREADABLE + b"%d" % n, key=key)
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]


def test_one_shop_alone_pauses_its_topic_which_resumes_by_itself(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=frozenset({"alpha"}))
    bad(world, 1, 2, 3, 4)
    for _ in range(5):
        world.consumer.turn(0)
    assert world.paused == [[SNAPSHOTS]]
    assert dead_letter_rows.set_aside(world.store, "alpha") == []


def test_a_shop_beyond_its_limit_has_dead_letters_again_when_the_window_has_passed(world: World) -> None:
    world.consumer = world.new_consumer(most=2, owners=SHOPS)
    bad(world, 1, 2, 3)
    world.drain()
    world.clock.advance(601)
    bad(world, 4)
    world.drain()
    assert Counter(one.reason for one in dead_letter_rows.newest(world.store)) == {"not_json": 3, SET_ASIDE: 1}


def test_a_paused_topic_resumes_when_the_window_has_passed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.log.embedded.PARTITIONS", 1)
    world.consumer = world.new_consumer(most=2)
    bad(world, 1, 2, 3)
    world.publish(said(1, "O-3"))
    for seconds in (0, 0, 599):
        world.clock.advance(seconds)
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 2
    assert world.journal() == []
    world.clock.advance(1)
    world.drain()
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.journal() == [("O-3/1", 0)]
    assert world.paused == [[SNAPSHOTS], []]


def test_a_restart_resumes_a_paused_topic(world: World) -> None:
    world.consumer = world.new_consumer(most=2)
    bad(world, 1, 2, 3)
    world.drain()
    world.drain()
    assert world.passed() == 2
    world.consumer = world.new_consumer(most=2)
    assert world.drain() == 1


@pytest.mark.parametrize("key", [None, b"", b"k", b"alpha:O-1"])
def test_too_many_records_stop_their_topic_also_if_all_have_the_same_key(world: World, key: bytes | None) -> None:
    """A publisher that gives no key, or one key to all records, had no limit: 5,000 of 5,000 were dead-lettered."""
    world.consumer = world.new_consumer(most=3)
    for n in range(20):
        world.log.publish([NewRecord(OMS, key, UNREADABLE + b"%d" % n)])
    for _ in range(10):
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    assert world.paused == [[OMS]]


def test_a_consumer_that_starts_again_knows_what_was_dead_lettered(world: World) -> None:
    world.consumer = world.new_consumer(most=3)
    bad(world, 1, 2)
    world.drain()
    world.consumer = world.new_consumer(most=3)
    window = timedelta(minutes=10)
    world.limit.remember(dead_letter_rows.received_since(world.store, world.clock.now() - window))
    bad(world, 3, 4, 5)
    for _ in range(10):
        world.consumer.turn(0)
    assert len(dead_letter_rows.newest(world.store)) == 3
    world.clock.advance(601)
    assert dead_letter_rows.received_since(world.store, world.clock.now() - window) == []


def test_the_same_record_again_and_again_and_slow_drops_stop_nothing(world: World) -> None:
    world.consumer = world.new_consumer(most=2)
    for _ in range(20):
        world.publish_raw(UNREADABLE, key="alpha:O-1")
    assert world.drain() == 20
    for n in range(2, 6):
        world.clock.advance(601)
        bad(world, n)
        assert world.drain() == 1
    bad(world, 6, 7, topic=OMS)  # each topic by itself
    assert world.drain() == 2
    assert world.paused == []


# -- Records that cannot be read ----------------------------------------------------------------------------------


def unreadable_at(world: World, partition: Partition, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the client raises when it comes to this record, unless its partition is paused."""
    plain = world.reader.poll
    at: dict[str, int] = {"position": 0, "paused": False}
    pause, seek = world.reader.pause, world.reader.seek

    def poll(max_records: int, timeout_seconds: float) -> list[Record]:
        if not at["paused"] and at["position"] == offset:
            raise RecordUnreadable(partition.topic, partition.number, offset, offset + 1, "UnsupportedCodecError")
        found = plain(max_records, timeout_seconds)
        kept = [one for one in found if one.partition != partition or one.offset < offset or at["position"] > offset]
        if any(one.partition == partition for one in found):
            at["position"] = max([at["position"], *(one.offset + 1 for one in kept if one.partition == partition)])
        return kept

    def paused(partitions: Collection[Partition]) -> None:
        at["paused"] = partition in partitions
        pause(partitions)

    def sought(one: Partition, to: int) -> None:
        if one == partition:
            at["position"] = to
        seek(one, to)

    for name, method in (("poll", poll), ("pause", paused), ("seek", sought)):
        monkeypatch.setattr(world.reader, name, method)


def test_a_record_that_cannot_be_read_stops_its_partition_alone_until_a_person_passes_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        world.publish(said(n))
    (stopped,) = {record.partition for record in world.log.reader("other", [SNAPSHOTS]).poll(10, 0)}
    unreadable_at(world, stopped, 1, monkeypatch)
    with capture_logs() as logged:
        world.drain()
        world.publish(said(9, "O-9"), topic=OMS)
        world.consumer.turn(0)
        world.drain()
    assert world.journal() == [("O-1/0", 0), ("O-9/9", 0)], "the other partitions go on"
    (line,) = [line for line in logged if line["event"] == "partition_stopped"]
    assert (line["log_level"], line["reason"], line["offset"]) == ("error", "record_unreadable", 1)
    (status,) = [
        one for one in partition_statuses(world.store, world.log, "g", [SNAPSHOTS]) if one.partition == stopped.number
    ]
    assert status.mismatch == OffsetMismatch.RECORD_UNREADABLE

    arguments = dict(who="ana", why="broken header", at=world.clock.now())
    passed = skip(world.store, world.orders, world.log, "g", stopped, **arguments)  # type: ignore[arg-type]
    assert (passed.before, passed.after) == (1, 2)
    with pytest.raises(NothingToReset):
        skip(world.store, world.orders, world.log, "g", stopped, **arguments)  # type: ignore[arg-type]
    world.clock.advance(COMPARE_AGAIN_SECONDS)
    world.consumer.turn(0)
    world.drain()
    assert world.journal() == [("O-1/0", 0), ("O-1/2", 0), ("O-9/9", 0)]
    (letter,) = dead_letter_rows.newest(world.store)
    assert (letter.reason, letter.place) == ("record_unreadable", f"{SNAPSHOTS}/{stopped.number}/1")
    with world.store.reading() as connection:
        assert connection.execute(sa.select(s.audit.c.act, s.audit.c.why)).all() == [("offsets skip", "broken header")]


def test_an_id_that_is_used_again_for_another_order_is_a_dead_letter(world: World) -> None:
    """As a repeat it was dropped in silence."""
    world.publish(said(1, "O-1"))
    world.publish(replace(said(2, "O-2"), event_id="O-1/1"))  # in one batch
    world.drain()
    world.publish(replace(said(3, "O-3"), event_id="O-1/1"))  # and later
    world.publish(said(1, "O-1"))  # a true repeat
    world.publish(said(4, "O-4"))
    world.drain()
    assert world.journal() == [("O-1/1", 1), ("O-4/4", 0)]
    assert [(one.reason, one.detail) for one in dead_letter_rows.newest(world.store)] == [
        ("not_applicable", "EventIdReused")
    ] * 2
