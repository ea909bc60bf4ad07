"""Do the offsets that the store holds fit what the log holds? Where they do not, guessing loses or repeats orders."""

from typing import Final

from adapters.ports import Extent
from adapters.store import Progress

#: Why a place is not read, and what happened.
MISFITS: Final = {
    "no_topic": "the topic or partition does not exist, or we may not see it",
    "topic_recreated": "the topic was deleted and made anew: these offsets belong to another one",
    "offsets_gone": "records were deleted before they were applied: retention is too short, or we were away too long",
    "log_shorter": "the log ends before what was applied: it lost records, or was restored from an older copy",
    "store_restored": "more was applied than the store knows of: it was restored from an older copy, or is new",
}
NO_TOPIC: Final = "no_topic"


def misfit(stored: Progress, extent: Extent) -> str:
    """Why this place must not be read on from the stored position; empty where it may. One of MISFITS."""
    if stored.log_id != extent.log_id:
        return "topic_recreated"
    if stored.position < extent.first:
        return "offsets_gone"
    if stored.position > extent.end:
        return "log_shorter"
    # The commit is made after the transaction that it tells of, so it is never ahead of a store that lost nothing.
    if extent.committed is not None and extent.committed > max(stored.position, stored.excused_commit):
        return "store_restored"
    return ""
