"""The consumer: where it starts, and what comes again after a failure. Real store, embedded log."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from adapters.errors import LogUnavailable, StoreUnavailable
from adapters.ports import Partition, PartitionOffsets
from adapters.store import commands as command_rows
from adapters.store import dead_letters as dead_letter_rows
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.dead_letters import DeadLetter
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store, Transaction
from consumer.applying.apply import Batch
from consumer.applying.loop import COMPARE_AGAIN_SECONDS
from consumer.hooks import Applied
from consumer.offsets import ROWS_AGAIN_SECONDS
from consumer.operations.offsets import partition_statuses, reset
from tests.consumer.applying.looping import BREAKS, OMS, SNAPSHOTS, World, once, said
from tests.statemachine.lives import read, sent, snapshot_event


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


# -- Where it starts, and what comes again ------------------------------------------------------------------------


def test_reading_starts_at_the_progress_row_not_at_the_log_s_commit(world: World) -> None:
    """docs/rules.md 8: after a stop between the commits of store and log, the consumer would be fenced for ever."""
    for n in range(4):
        world.publish(said(n))
    (partition,) = {record.partition for record in world.log.reader("x", [SNAPSHOTS]).poll(9, 0)}
    with world.store.transaction() as tx:
        progress_rows.lock_or_insert(tx, "embedded", "g", {partition: PartitionOffsets(0, 9)})
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


def test_a_store_that_became_older_is_noticed_without_a_new_record(world: World) -> None:
    """After a failover to a replica that lagged, or a reset, nothing may be published for hours."""
    world.publish(said(1))
    world.publish(said(2))
    assert world.drain() == 2
    (partition,) = [p for p, row in progress_rows.of_group(world.store, "embedded", "g").items() if row.position]
    with world.store.transaction() as tx:
        progress_rows.reset(tx, "embedded", "g", partition, Progress(1, excused_commit=2))
    assert world.drain() == 0
    world.clock.advance(ROWS_AGAIN_SECONDS)
    assert world.drain() == 1
    assert world.journal() == [("O-1/1", 0), ("O-1/2", 1)]


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
    plain, calls = world.orders.store_batch, []

    def applies(batch_in: Callable[[Transaction], Batch], moves: Sequence[Advance], **options: Any) -> list[Applied]:
        calls.append(sum(move.position - move.held for move in moves))
        if len(calls) == 2:  # another consumer takes the partition between our two tries
            one = Batch([said(0)])
            plain(lambda _: one, [replace(move, position=move.held + 1) for move in moves], **options)
        return plain(batch_in, moves, **options)

    monkeypatch.setattr(world.orders, "store_batch", applies)
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
    monkeypatch.setattr(world.orders, "store_batch", once(StoreUnavailable("no answer"), world.orders.store_batch))
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
