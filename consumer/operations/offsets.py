"""How far the log was read, and setting it by hand."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final, Literal, Protocol

from adapters.ports import Partition, PartitionOffsets
from adapters.store import audit as audit_rows
from adapters.store import cursors as cursor_rows
from adapters.store import leases as lease_rows
from adapters.store import orders as order_rows
from adapters.store import progress as progress_rows
from adapters.store.progress import Progress
from adapters.store.transaction import Store
from consumer.apply import OrderWriter
from consumer.leases import poll_lease
from consumer.offsets import OffsetMismatch, mismatch, with_later_ends
from consumer.operations.errors import NothingToReset
from statemachine.commands import CommandKind
from statemachine.events import Event, Trigger
from statemachine.facts import RESTORED, Attempt, Facts

# -- By hand -----------------------------------------------------------------------------------------------------

#: Where a reset begins: where the store is, as far as the log still has it; at the oldest record; behind the newest.
Whence = Literal["stored", "earliest", "latest"]

SOURCE: Final = "/orderflow/offsets"
#: So many orders are marked in one transaction.
AT_ONCE: Final = 500


class Log(Protocol):
    """What is asked of the log."""

    def cluster(self) -> str: ...

    def partitions(self, topics: Collection[str]) -> Mapping[str, int]: ...

    def partition_offsets(
        self, group: str, partitions: Collection[Partition]
    ) -> Mapping[Partition, PartitionOffsets]: ...


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """One partition: what the store holds, what the log holds, and whether they fit."""

    topic: str
    partition: int
    position: int | None  # None: nothing was applied of it yet
    first: int
    end: int
    committed: int | None
    lag: int
    mismatch: OffsetMismatch | Literal[""]


def partition_statuses(store: Store, log: Log, group: str, topics: Collection[str]) -> list[PartitionStatus]:
    """Every partition of these topics. Raises LogUnavailable, StoreUnavailable."""
    partitions = [
        Partition(topic, number) for topic, count in log.partitions(topics).items() for number in range(count)
    ]
    partition_offsets = log.partition_offsets(group, partitions)
    stored = progress_rows.of_group(store, log.cluster(), group)
    partition_offsets = with_later_ends(partial(log.partition_offsets, group), stored, partition_offsets)
    found = []
    for partition in sorted(partition_offsets):
        offsets, progress = partition_offsets[partition], stored.get(partition)
        begun = progress or Progress(offsets.first, offsets.log_id)
        found.append(
            PartitionStatus(
                partition.topic,
                partition.number,
                progress.position if progress else None,
                offsets.first,
                offsets.end,
                offsets.committed,
                max(0, offsets.end - begun.position),
                mismatch(begun, offsets) or "",
            )
        )
    return found


def reset(
    store: Store,
    orders: OrderWriter,
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
) -> list[tuple[Partition, int, int]]:
    """Set where a topic is read on, and read every shop anew. Returns (partition, from, to) of each partition.

    What lies between may be lost, or applied before: so every shop is read from its beginning, and every open order
    counts as one whose import was attempted, since what the OMS then calls a duplicate may be our own.
    Raises NothingToReset, LogUnavailable, StoreUnavailable.
    """
    count = log.partitions([topic]).get(topic, 0)
    partitions = [Partition(topic, number) for number in range(count) if partition in (None, number)]
    if not partitions:
        raise NothingToReset(
            f"Kafka has no such partition: {topic}" + (f"/{partition}" if partition is not None else "")
        )
    cluster, partition_offsets = log.cluster(), log.partition_offsets(group, partitions)
    moved = []
    for shop in sorted(shops):  # first: a reset that ends here, half done, has done no harm
        _count_as_attempted(orders, order_rows.open_keys(store, shop), at)
    with store.transaction() as tx:
        stored = progress_rows.begin(tx, cluster, group, partition_offsets)
        # Consumers of partitions that fit went on since the log was asked: neither its end nor their commit is older.
        partition_offsets = with_later_ends(
            lambda behind: log.partition_offsets(group, behind), stored, partition_offsets
        )
        for one, offsets in sorted(partition_offsets.items()):
            position = reset_position(stored[one], offsets, whence)
            excused = excused_commit(stored[one], offsets)
            progress_rows.reset(tx, cluster, group, one, Progress(position, offsets.log_id, excused))
            moved.append((one, stored[one].position, position))
        told = ", ".join(f"{one.topic}/{one.number} {was}->{now_}" for one, was, now_ in moved)
        audit_rows.add(tx, who=who, act=f"offsets reset to {whence}", subject=told, why=why, at=at)
        for shop in sorted(shops):
            cursor_rows.forget(tx, shop)
            lease_rows.revoke(tx, poll_lease(shop))  # a run that is under way would set the cursor again at its end
    return moved


def reset_position(stored: Progress, offsets: PartitionOffsets, whence: Whence) -> int:
    if whence == "earliest":
        return offsets.first
    if whence == "latest":
        return offsets.end
    if not stored.counts_in(offsets.log_id):
        return offsets.first
    return min(max(stored.position, offsets.first), offsets.end)


def excused_commit(stored: Progress, offsets: PartitionOffsets) -> int:
    """What the group may have committed without that being a sign of a restored store.

    A consumer that runs commits a moment after it applied: that commit may come when the row is set back already.
    """
    applied = stored.position if stored.counts_in(offsets.log_id) else 0
    return max(offsets.committed or 0, applied)


def _count_as_attempted(orders: OrderWriter, keys: Sequence[tuple[str, str]], at: datetime) -> None:
    """The store may have forgotten what it did: an import may have been made, of every order that can be imported."""
    says = Facts(attempts=(Attempt(CommandKind.IMPORT, RESTORED),))
    for start in range(0, len(keys), AT_ONCE):
        orders.apply(
            [
                Event(
                    SOURCE,
                    f"{at.isoformat()}:{shop_}:{order_id}",
                    shop_,
                    order_id,
                    Trigger.DECISION,
                    at,
                    says,
                    note={"act": "offsets reset"},
                )
                for shop_, order_id in keys[start : start + AT_ONCE]
            ]
        )
