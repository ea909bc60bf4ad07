"""Progress: a consumer can move a partition's row only if it knows the row's present position."""

import pytest

from adapters.errors import Fenced
from adapters.ports import Partition, PartitionOffsets
from adapters.store import progress as progress_rows
from adapters.store import schema as s
from adapters.store.progress import Advance, Progress
from adapters.store.transaction import Store
from tests.adapters.store.support import rows

PARTITION = Partition("mirakl.order-snapshots", 2)


def advance(store: Store, held: int, position: int, partition: Partition = PARTITION, group: str = "g") -> None:
    with store.transaction() as tx:
        progress_rows.advance(tx, Advance("c", group, partition, held, position))


def begin(
    store: Store, offsets: PartitionOffsets, partition: Partition = PARTITION, group: str = "g", cluster: str = "c"
) -> Progress:
    with store.transaction() as tx:
        return progress_rows.lock_or_insert(tx, cluster, group, {partition: offsets})[partition]


def test_a_partition_begins_at_the_logs_first_offset_and_continues_at_its_row(store: Store) -> None:
    assert begin(store, PartitionOffsets(40, 90, "topic-1", committed=7)) == Progress(40, "topic-1", 0)
    advance(store, 40, 43)
    assert begin(store, PartitionOffsets(0, 1, "topic-2")) == Progress(43, "topic-1", 0)


def test_a_person_resets_progress(store: Store) -> None:
    with store.transaction() as tx:
        progress_rows.reset(tx, "c", "g", PARTITION, Progress(3, "a", 4))
        progress_rows.reset(tx, "c", "g", PARTITION, Progress(5, "b", 9))
    assert begin(store, PartitionOffsets(0, 0)) == Progress(5, "b", 9)


def test_a_zombie_is_fenced_and_moves_nothing(store: Store) -> None:
    """docs/rules.md 7: the zombie names the position that it holds in memory, and does not read the row."""
    begin(store, PartitionOffsets(0, 9))
    advance(store, 0, 1)
    with pytest.raises(Fenced):
        advance(store, 0, 2)
    advance(store, 1, 3)
    for held in (1, 2, 4):
        with pytest.raises(Fenced):
            advance(store, held, 9)
    assert begin(store, PartitionOffsets(0, 9)).position == 3


def test_a_partition_without_a_row_is_fenced(store: Store) -> None:
    for held in (0, 7):
        with pytest.raises(Fenced):
            advance(store, held, 8)
    assert rows(store, s.progress) == []


def test_each_cluster_topic_partition_and_group_has_progress_of_its_own(store: Store) -> None:
    begin(store, PartitionOffsets(0, 9))
    advance(store, 0, 5)
    others = [
        ("c", "h", PARTITION),
        ("c", "g", Partition(PARTITION.topic, 1)),
        ("c", "g", Partition("other", 2)),
        ("d", "g", PARTITION),
    ]
    for cluster, group, partition in others:
        assert begin(store, PartitionOffsets(0, 9), partition, group, cluster).position == 0
    assert begin(store, PartitionOffsets(0, 9)).position == 5
