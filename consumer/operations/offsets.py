"""What a person can do with offsets: see how far each partition was applied, and set it after a mismatch."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal, NamedTuple, Protocol

from adapters.messages.text import digest_of
from adapters.ports import Partition, PartitionOffsets
from adapters.store import audit as audit_rows
from adapters.store import cursors as cursor_rows
from adapters.store import journal as journal_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store import shops as shop_rows
from adapters.store.dead_letters import RECORD_UNREADABLE, DeadLetter
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store
from consumer.applying.apply import LOST_ATTEMPT, OrderWriter
from consumer.leases import poll_lease
from consumer.offsets import OffsetMismatch, mismatch, with_later_ends
from consumer.operations.errors import NothingToReset
from statemachine.events import Event, Trigger

#: Where the reading of a topic continues after a reset. stored: at the store's position, or at the oldest record if the
#: log does not have that position any more; earliest: at the oldest record; latest: after the newest record.
Whence = Literal["stored", "earliest", "latest"]

#: The source of the events that a reset applies.
SOURCE: Final = "/orderflow/offsets"
#: A store that lost rows of the journal lost the newest ids of published transitions: fewer than this many.
IDS_SKIPPED: Final = 1_000_000
#: How many orders are marked in one transaction.
BATCH_SIZE: Final = 500


class Log(Protocol):
    """The questions that these functions ask the log."""

    def cluster(self) -> str: ...

    def partitions(self, topics: Collection[str]) -> Mapping[str, int]: ...

    def partition_offsets(
        self, group: str, partitions: Collection[Partition]
    ) -> Mapping[Partition, PartitionOffsets]: ...


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition: what the store holds of it, what the log holds of it, and whether the two fit."""

    topic: str
    partition: int
    position: int | None  # the next offset to apply; None: no record of it was applied yet
    first: int  # the oldest offset in the log; 0 if it does not show this partition
    end: int  # one behind the newest; 0 if the log does not show this partition
    committed: int | None  # the group's commit in Kafka
    lag: int  # records that wait
    mismatch: OffsetMismatch | Literal[""]


class ResetPosition(NamedTuple):
    """What a reset did to the position of a partition."""

    partition: Partition
    before: int
    after: int


def partition_statuses(store: Store, log: Log, group: str, topics: Collection[str]) -> list[PartitionStatus]:
    """The status of every partition of these topics, also of one that the store knows and the log does not show.

    Raises LogUnavailable, StoreUnavailable.
    """
    partitions = [
        Partition(topic, number) for topic, count in log.partitions(topics).items() for number in range(count)
    ]
    partition_offsets = log.partition_offsets(group, partitions)
    stored = progress_rows.of_group(store, log.cluster(), group)
    partition_offsets = with_later_ends(partial(log.partition_offsets, group), stored, partition_offsets)
    found, no_topic = [], OffsetMismatch.NO_TOPIC
    for partition in sorted(partition_offsets):
        offsets, progress = partition_offsets[partition], stored.get(partition)
        applied = progress or Progress(offsets.first, offsets.log_id)
        found.append(
            PartitionStatus(
                partition.topic,
                partition.number,
                progress.position if progress else None,
                offsets.first,
                offsets.end,
                offsets.committed,
                max(0, offsets.end - applied.position),
                mismatch(applied, offsets) or (OffsetMismatch.RECORD_UNREADABLE if applied.unreadable_until else ""),
            )
        )
    found += [
        PartitionStatus(partition.topic, partition.number, stored[partition].position, 0, 0, None, 0, no_topic)
        for partition in sorted(stored.keys() - partition_offsets.keys())
        if partition.topic in topics
    ]
    return sorted(found, key=lambda one: (one.topic, one.partition))


def positions_after_reset(
    store: Store, log: Log, group: str, topic: str, *, partition: int | None, whence: Whence
) -> list[ResetPosition]:
    """What `reset` would do to the positions now. Raises NothingToReset, LogUnavailable, StoreUnavailable."""
    partition_offsets = log.partition_offsets(group, _partitions(log, topic, partition))
    stored = progress_rows.of_group(store, log.cluster(), group)
    partition_offsets = with_later_ends(partial(log.partition_offsets, group), stored, partition_offsets)
    found = []
    for one, offsets in sorted(partition_offsets.items()):
        progress = stored.get(one, Progress(offsets.first, offsets.log_id))
        found.append(ResetPosition(one, progress.position, reset_position(progress, offsets, whence)))
    return found


def _partitions(log: Log, topic: str, partition: int | None) -> list[Partition]:
    """Every partition of the topic, or the one with this number. Raises NothingToReset if there is none."""
    count = log.partitions([topic]).get(topic, 0)
    found = [Partition(topic, number) for number in range(count) if partition in (None, number)]
    if not found:
        raise NothingToReset(
            f"Kafka has no such partition: {topic}" + (f"/{partition}" if partition is not None else "")
        )
    return found


def reset(
    store: Store,
    writer: OrderWriter,
    log: Log,
    group: str,
    topic: str,
    *,
    partition: int | None,
    whence: Whence,
    who: str,
    why: str,
    at: datetime,
    shops: Collection[str],
) -> list[ResetPosition]:
    """Set where the reading of a topic, or of one of its partitions, continues, and read every shop from its beginning.

    The records between the old position and the new one may be lost, or may have been applied before. So each shop is
    read as a new one is: from poller.FIRST_WINDOW on. Each open order also counts as one whose import was attempted.
    So does each order that was created before `at` and is not in the store. If the OMS then reports a duplicate, it may
    be our own import (docs/rules.md 28). The ids of transitions go on above all that a restored store may have
    forgotten, because readers drop an event whose id is not greater than the last one.

    Raises NothingToReset, LogUnavailable, StoreUnavailable, BrokenOrders.
    """
    cluster, partition_offsets = log.cluster(), log.partition_offsets(group, _partitions(log, topic, partition))
    with store.transaction() as tx:
        journal_rows.skip_ids(tx, IDS_SKIPPED)
    for shop in sorted(shops):  # first, because these facts do no harm if the rest of the reset fails
        _mark_imports_as_attempted(writer, order_rows.open_keys(store, shop), at)
    with store.transaction() as tx:
        shop_rows.mark_attempted(tx, shops, at)
    with store.transaction() as tx:
        stored = progress_rows.lock_or_insert(tx, cluster, group, partition_offsets)
        # Consumers of partitions without a mismatch went on since the log was asked, so its end may be later by now.
        partition_offsets = with_later_ends(partial(log.partition_offsets, group), stored, partition_offsets)
        found = []
        for one, offsets in sorted(partition_offsets.items()):
            position = reset_position(stored[one], offsets, whence)
            excused = excused_commit(stored[one], offsets)
            progress_rows.reset(tx, cluster, group, one, Progress(position, offsets.log_id, excused))
            found.append(ResetPosition(one, stored[one].position, position))
        if partition is None:  # a topic that was recreated may have fewer partitions: nothing else ends their no_topic
            progress_rows.forget_from(tx, cluster, group, topic, len(partition_offsets))
        subject = ", ".join(f"{one.topic}/{one.number} {before}->{after}" for one, before, after in found)
        audit_rows.add(tx, who=who, act=f"offsets reset to {whence}", subject=subject, why=why, at=at)
        for shop in sorted(shops):
            lease_rows.revoke(tx, poll_lease(shop))  # a poll that is under way would set the cursor again at its end
            cursor_rows.forget(tx, shop)
    return found


def skip(
    store: Store,
    writer: OrderWriter,
    log: Log,
    group: str,
    partition: Partition,
    *,
    who: str,
    why: str,
    at: datetime,
) -> ResetPosition:
    """Pass the records at which a partition stops because they cannot be read from the log (RECORD_UNREADABLE).

    A dead letter keeps what is known of them. Raises NothingToReset, LogUnavailable, StoreUnavailable.
    """
    cluster = log.cluster()
    with store.transaction() as tx:
        stored = progress_rows.lock(tx, cluster, group, partition)
        if stored is None or stored.unreadable_until is None:
            raise NothingToReset(
                f"{partition.topic}/{partition.number} does not stop at an unreadable record: see `offsets list`"
            )
        until = stored.unreadable_until
        progress_rows.advance(tx, Advance(cluster, group, partition, stored.position, until))
        place = f"{partition.topic}/{partition.number}/{stored.position}"
        detail = f"offsets {stored.position} to {until - 1}"
        lost = DeadLetter(partition.topic, place, RECORD_UNREADABLE, detail, digest_of(place.encode()), None, None)
        writer.add_dead_letters(tx, [lost])
        audit_rows.add(tx, who=who, act="offsets skip", subject=f"{place}->{until}", why=why, at=at)
    return ResetPosition(partition, stored.position, until)


def reset_position(stored: Progress, offsets: PartitionOffsets, whence: Whence) -> int:
    """The offset at which the reading of a partition continues.

    If the topic was recreated, or the log is or was seen to be shorter, the stored position does not count. With
    `stored` the partition is then read from its oldest record: records that came after the loss have offsets again that
    the store counts as applied.
    """
    if whence == "earliest":
        return offsets.first
    if whence == "latest":
        return offsets.end
    if not stored.counts_in(offsets.log_id) or not offsets.first <= stored.position <= offsets.end:
        return offsets.first
    return stored.position


def excused_commit(stored: Progress, offsets: PartitionOffsets) -> int:
    """The offset up to which a commit of the group is excused: it does not show that the store was restored.

    A running consumer commits after it has applied. Its commit may come after the reset has set the row back.
    """
    applied = stored.position if stored.counts_in(offsets.log_id) else 0
    return max(offsets.committed or 0, applied)


def _mark_imports_as_attempted(writer: OrderWriter, keys: Sequence[tuple[str, str]], at: datetime) -> None:
    """Write the fact that an import of each of these orders was attempted.

    A restored store has forgotten which orders it imported, so each of them may be in the OMS (docs/rules.md 28). An
    order in quarantine is left out. If the OMS later reports a duplicate of it, a person decides.
    """
    note: dict[str, str | int] = {"act": "offsets reset"}
    events = [
        Event(
            SOURCE, f"{at.isoformat()}:{shop}:{order_id}", shop, order_id, Trigger.DECISION, at, LOST_ATTEMPT, note=note
        )
        for shop, order_id in keys
    ]
    for start in range(0, len(events), BATCH_SIZE):
        writer.apply_alone(events[start : start + BATCH_SIZE])
