"""The next offset to apply of each partition, moved in the transaction that applies the records.

This row decides where a consumer starts to read. The commit in Kafka is only a hint.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from adapters.errors import Fenced
from adapters.ports import Partition, PartitionOffsets
from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a partition was applied, as stored (schema.progress)."""

    position: int  # the next offset to apply
    log_id: str = ""  # the id of the topic that `position` belongs to
    excused_commit: int = 0  # a commit up to here is no sign that an older store was restored
    was_shorter: bool = False  # the log was seen to end before `position`; it may have grown since
    unreadable_until: int | None = None  # the records from `position` to here cannot be read from the log

    def counts_in(self, log_id: str) -> bool:
        """Whether `position` is a position in the log with this id, and this log was never seen to be shorter."""
        return self.log_id == log_id and not self.was_shorter


@dataclass(frozen=True, slots=True)
class Advance:
    """A consumer's step over a range of offsets: from `held`, the position that it has in memory, to `position`."""

    cluster: str
    group: str
    partition: Partition
    held: int
    position: int


def lock_or_insert(
    tx: Transaction, cluster: str, group: str, partition_offsets: Mapping[Partition, PartitionOffsets]
) -> dict[Partition, Progress]:
    """Lock the row of each partition, by topic and partition, and return them.

    A missing row is inserted first, with the log's first offset.
    """
    c = s.progress.c
    rows = [
        dict(
            cluster=cluster,
            group_name=group,
            topic=partition.topic,
            partition=partition.number,
            position=offsets.first,
            log_id=offsets.log_id,
        )
        for partition, offsets in sorted(partition_offsets.items(), key=lambda item: item[0])
    ]
    if not rows:
        return {}
    bulk.insert_rows(tx, s.progress, rows, bulk.do_nothing)
    mine = bulk.in_pairs(c.topic, c.partition, is_sqlite=tx.is_sqlite)
    statement = sa.select(s.progress).where(c.cluster == cluster, c.group_name == group, mine)
    pairs = bulk.pairs(tx, {(each.topic, each.number) for each in partition_offsets})
    found = tx.execute(statement.order_by(c.topic, c.partition).with_for_update(), pairs)
    return dict(_progress_of(row) for row in found)


def lock(tx: Transaction, cluster: str, group: str, partition: Partition) -> Progress | None:
    """Lock the row of one partition and return it. None if there is none."""
    c = s.progress.c
    mine = (c.cluster == cluster, c.group_name == group, c.topic == partition.topic, c.partition == partition.number)
    row = tx.execute(sa.select(s.progress).where(*mine).with_for_update()).first()
    return None if row is None else _progress_of(row)[1]


def advance(tx: Transaction, step: Advance) -> None:
    """Move a partition's row from the position that the consumer holds to the next one.

    Raises Fenced if the stored position is another one, because another consumer has moved it (docs/rules.md 7).
    """
    partition = step.partition
    values = {
        "of_cluster": step.cluster,
        "of_group": step.group,
        "of_topic": partition.topic,
        "of_partition": partition.number,
        "held": step.held,
        "next_position": step.position,
    }
    moved = tx.execute(_ADVANCE, values)
    if moved.rowcount != 1:
        raise Fenced(f"{partition.topic}/{partition.number} is not at {step.held}")


_ADVANCE: Final = (
    sa.update(s.progress)
    .where(
        s.progress.c.cluster == sa.bindparam("of_cluster"),
        s.progress.c.group_name == sa.bindparam("of_group"),
        s.progress.c.topic == sa.bindparam("of_topic"),
        s.progress.c.partition == sa.bindparam("of_partition"),
        s.progress.c.position == sa.bindparam("held"),
    )
    .values(position=sa.bindparam("next_position"))
)


def mark_unreadable(tx: Transaction, cluster: str, group: str, partition: Partition, *, first: int, until: int) -> None:
    """Store that the records of a partition from `first` to `until` cannot be read from the log."""
    c = s.progress.c
    mine = (c.cluster == cluster, c.group_name == group, c.topic == partition.topic, c.partition == partition.number)
    tx.execute(sa.update(s.progress).where(*mine).values(unreadable_from=first, unreadable_until=until))


def reset(tx: Transaction, cluster: str, group: str, partition: Partition, progress: Progress) -> None:
    """Overwrite a partition's row, or insert it if it is missing. The range of `mark_unreadable` stays as it is."""
    values = dict(
        position=progress.position,
        log_id=progress.log_id,
        excused_commit=progress.excused_commit,
        was_shorter=progress.was_shorter,
    )
    key = dict(cluster=cluster, group_name=group, topic=partition.topic, partition=partition.number)
    insert = bulk.insert(tx, s.progress).values(**key, **values)
    tx.execute(insert.on_conflict_do_update(index_elements=list(key), set_=values))


def forget_from(tx: Transaction, cluster: str, group: str, topic: str, first: int) -> None:
    """Delete the rows of the partitions of a topic from the number `first` on."""
    c = s.progress.c
    mine = (c.cluster == cluster, c.group_name == group, c.topic == topic, c.partition >= first)
    tx.execute(sa.delete(s.progress).where(*mine))


def of_group(store: Store, cluster: str, group: str) -> dict[Partition, Progress]:
    """Return how far a group applied each partition that has a row."""
    c = s.progress.c
    statement = sa.select(s.progress).where(c.cluster == cluster, c.group_name == group)
    with store.reading() as connection:
        return dict(_progress_of(row) for row in connection.execute(statement))


def _progress_of(row: sa.Row[Any]) -> tuple[Partition, Progress]:
    is_unreadable = row.unreadable_from is not None and row.unreadable_from <= row.position < row.unreadable_until
    until = row.unreadable_until if is_unreadable else None
    progress = Progress(row.position, row.log_id, row.excused_commit, row.was_shorter, until)
    return Partition(row.topic, row.partition), progress
