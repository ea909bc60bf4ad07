"""Do the offsets that the store holds fit what the log holds? Where they do not, guessing loses or repeats orders."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final

from adapters.ports import Partition, PartitionOffsets
from adapters.store import progress as progress_rows
from adapters.store.progress import Progress
from adapters.store.transaction import Store

#: Why a partition is not read, and what happened.
MISFITS: Final = {
    "no_topic": "the topic or partition does not exist, or we may not see it",
    "topic_recreated": "the topic was deleted and made anew: these offsets belong to another one",
    "offsets_gone": "records were deleted before they were applied: retention is too short, or we were away too long",
    "log_shorter": "the log ends before what was applied: it lost records, or was restored from an older copy",
    "store_restored": "more was applied than the store knows of: it was restored from an older copy, or is new",
}
NO_TOPIC: Final = "no_topic"
LOG_SHORTER: Final = "log_shorter"


def misfit(stored: Progress, extent: PartitionOffsets) -> str:
    """Why this partition must not be read on from the stored position; empty where it may. One of MISFITS."""
    if stored.log_id != extent.log_id:
        return "topic_recreated"
    if stored.was_shorter:
        return LOG_SHORTER
    if stored.position < extent.first:
        return "offsets_gone"
    if stored.position > extent.end:
        return LOG_SHORTER
    # The commit is made after the transaction that it tells of, so it is never ahead of a store that lost nothing.
    if extent.committed is not None and extent.committed > max(stored.position, stored.excused_commit):
        return "store_restored"
    return ""


def grown(
    ask: Callable[[Collection[Partition]], Mapping[Partition, PartitionOffsets]],
    stored: Mapping[Partition, Progress],
    partition_offsets: Mapping[Partition, PartitionOffsets],
) -> dict[Partition, PartitionOffsets]:
    """The partition_offsets, with the end of those asked again that seem to end before what was applied.

    The log was asked before the store, as the commit must be; another consumer may have applied more in between.
    """
    behind = [
        partition
        for partition, extent in partition_offsets.items()
        if partition in stored and extent.end < stored[partition].position
    ]
    again = ask(behind) if behind else {}
    return {
        partition: replace(extent, end=again[partition].end) if partition in again else extent
        for partition, extent in partition_offsets.items()
    }


def note_shorter(store: Store, cluster: str, group: str, seen: Mapping[Partition, Progress]) -> None:
    """Note in the rows that these logs were shorter, unless a row has moved since it was `seen`.

    The log grows again, and then its end no longer shows that it was shorter. The new records at the offsets of the
    lost ones would be skipped.
    """
    with store.transaction() as tx:
        stored = progress_rows.begin(tx, cluster, group, {partition: PartitionOffsets(0, 0) for partition in seen})
        for partition, was in seen.items():
            if stored[partition] == was and not was.was_shorter:
                progress_rows.reset(tx, cluster, group, partition, replace(was, was_shorter=True))
