"""Which reads of an order something rests on, so that the store keeps their bytes."""

from collections.abc import Iterable

from statemachine.events import Trigger
from statemachine.facts import Facts, Handover, Snapshot, newer


def kept_reads(events: Iterable[tuple[Trigger, Facts]]) -> frozenset[str]:
    """Return the digests of the reads to keep. `events`: the trigger and the new facts of every event of the order, in
    the sequence in which they were applied.

    Kept are the newest read, the newest one at each call, report of the OMS and decision, and the read of the baseline
    (`Facts.baseline`). "The newest" are two, if Mirakl shows a state that we do not know: predicates use the older one.
    """
    known: Snapshot | None = None
    unknown: Snapshot | None = None
    baseline: tuple[Handover, str] | None = None
    kept: set[str] = set()
    for trigger, new in events:
        if trigger not in (Trigger.SNAPSHOT, Trigger.CLOCK):
            kept |= {read.digest for read in (known, unknown) if read is not None}
        known, unknown = newer(known, new.snapshot), newer(unknown, new.unknown)
        if new.baseline is not None and new.snapshot is not None:
            mine = (new.baseline, new.snapshot.digest)
            baseline = mine if baseline is None else min(baseline, mine)
    kept |= {read.digest for read in (known, unknown) if read is not None}
    return frozenset(kept) if baseline is None else frozenset(kept | {baseline[1]})
