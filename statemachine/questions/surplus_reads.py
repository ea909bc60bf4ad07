"""Which reads of an order nothing rests on, so that the store need not keep their bytes."""

from collections.abc import Iterable

from statemachine.commands import CommandKind
from statemachine.events import Trigger
from statemachine.facts import Facts, Handover, Snapshot, newer
from statemachine.questions.before_shipment import newest_open, newest_underway, oldest_shipped
from statemachine.reads_kept import LastOpen


def surplus_reads(events: Iterable[tuple[Trigger, Facts]]) -> frozenset[str]:
    """Return the digests of the reads on which nothing rests. `events`: the trigger and the new facts of every event of
    the order, in the sequence in which they were applied.

    Something rests on the newest read, on the newest one at each call, report of the OMS and decision, and on the read
    of the baseline (`Facts.baseline`). Also on the first read after the shipment, if it shows that the parcel goes
    elsewhere than the newest read before it shows (before_shipment.py), and on the newest read that shows the order
    under way, if it shows other contents and somebody else reported the shipment. If Mirakl shows a state that we do
    not know, the newest read with a state that we know counts beside it, because predicates use that one.
    """
    known: Snapshot | None = None
    unknown: Snapshot | None = None
    baseline: tuple[Handover, str] | None = None
    before: LastOpen | None = None
    first: LastOpen | None = None
    underway: LastOpen | None = None
    ours = False  # our OR24 was called or answered
    shown, kept = set[str](), set[str]()
    for trigger, new in events:
        if trigger not in (Trigger.SNAPSHOT, Trigger.CLOCK):
            kept |= _digests(known, unknown)
        shown |= _digests(new.snapshot, new.unknown)
        known, unknown = newer(known, new.snapshot), newer(unknown, new.unknown)
        if new.baseline is not None and new.snapshot is not None:
            mine = (new.baseline, new.snapshot.digest)
            baseline = mine if baseline is None else min(baseline, mine)
        before = max(filter(None, (before, newest_open(new))), default=None)
        first = min(filter(None, (first, oldest_shipped(new))), default=None)
        called = [*(one.kind for one in new.attempts), *(one.kind for one in new.answers)]
        ours = ours or CommandKind.CONFIRM in called
        underway = max(filter(None, (underway, newest_underway(new))), default=None)
    kept |= _digests(known, unknown) | ({baseline[1]} if baseline else set())
    if before and first and {*first.contents} - {*before.contents}:
        kept.add(first.digest)
    if before and underway and not ours and {*underway.contents} - {*before.contents}:
        kept.add(underway.digest)
    return frozenset(shown - kept)


def _digests(*reads: Snapshot | None) -> set[str]:
    return {read.digest for read in reads if read is not None}
