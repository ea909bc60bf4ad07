"""What a read shows that a person may settle, and which read before it did not show that.

A settle covers what the order has then. If that ends and comes again, it is another occurrence, and a person has to
look again. Of all reads an order keeps only the newest one. So the facts also keep, for each thing that the newest read
shows, the newest read that did not show it. A settle that was made on an older read is about an earlier occurrence.
Reads may come late, and the log may hold some that are not applied. So a decision keeps what it was made on (facts.py,
Seen).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from statemachine.facts import (
    AFTER_SHIPPING,
    DEBIT,
    DEBITS_FIRST,
    ENDED_LINE_STATES,
    EPOCH,
    OWED_LINE_STATES,
    VOUCHED,
    Decision,
    DecisionKind,
    Dispatch,
    Facts,
    Line,
    Seen,
    Snapshot,
    Tracking,
    Withdrawn,
    age_of,
)
from statemachine.reads_kept import LastOpen, NotShown, Shown

#: Names of what a read can show. The functions below make the others.
NOTHING_OWED: Final = "nothing owed"
PAYMENT: Final = "payment awaited"
SHIPPED: Final = "shipped"
MESSAGE: Final = "message"
#: The states of an order of which one line may be shipped and the next one not.
_MAYBE_TO_SEND: Final = ("SHIPPING", *DEBIT)


def of_state(line: Line) -> str:
    """Name the state of a line. Callers ask for incidents, lines shipped alone, and states that we do not know."""
    return f"{line.id} {line.state}"


def of_withdrawal(line: Line) -> str:
    """Name that a part of a line was withdrawn."""
    return f"{line.id} part withdrawn"


def of_return(line: Line) -> str:
    """Name that a line of a shipped order was taken back, all or a part: in most cases the customer sent it back."""
    return f"{line.id} taken back after the shipment"


def of_shipped_date(line: Line) -> str:
    """Name that a line has a `shipped_date`, though Mirakl shows it to be sent."""
    return f"{line.id} shipped_date"


def of_mark(line: Line) -> str:
    """Name that Mirakl shows a line shipped, by its state or by a `shipped_date`. Only of workflows in which the debit
    follows the shipment."""
    return f"{line.id} marked shipped"


def of_number(shown: Tracking) -> str:
    """Name the tracking number that Mirakl shows."""
    return f"tracking {sha256(shown.bare_number.encode()).hexdigest()[:8]}"


def shown_by(snapshot: Snapshot) -> tuple[str, ...]:
    """Name everything that this read shows, and that a person may have to look at."""
    return tuple(sorted(_shown_by(snapshot)))


def _shown_by(snapshot: Snapshot) -> Iterator[str]:
    for line in snapshot.lines:
        if line.state.startswith("INCIDENT") or line.state not in OWED_LINE_STATES | ENDED_LINE_STATES:
            yield of_state(line)
        if snapshot.state in _MAYBE_TO_SEND and line.state in AFTER_SHIPPING:  # the order is not shipped, this line is
            yield of_state(line)
        if snapshot.state in _MAYBE_TO_SEND and line.shipped and line.is_owed:
            yield of_shipped_date(line)
        after = snapshot.state in _MAYBE_TO_SEND and snapshot.workflow not in DEBITS_FIRST
        if after and line.is_marked:
            yield of_mark(line)
        # Whether refunds of the price took all of the line, only another read can tell: one with more pieces
        # (joining.py).
        if line.withdrawn in (Withdrawn.PART, Withdrawn.PRICE):
            yield of_withdrawal(line)
        if snapshot.state in AFTER_SHIPPING and (line.is_taken_back or line.withdrawn is Withdrawn.PART):
            yield of_return(line)
    if snapshot.lines and not snapshot.owed_lines:
        yield NOTHING_OWED
    if snapshot.state in DEBIT:
        yield PAYMENT
    if snapshot.state in (*AFTER_SHIPPING, *DEBIT):  # a debit may follow the shipment
        yield SHIPPED
    if snapshot.tracking.number:
        yield of_number(snapshot.tracking)
    if snapshot.has_messages:
        yield MESSAGE


def not_shown(newest: Snapshot | None, *known: Facts) -> tuple[NotShown, ...]:
    """For each thing that the newest read shows: the newest read that did not show it. `known`: the facts that are
    joined. A thing that is not in the result: no such read is known."""
    found = [one for facts in known for one in facts.not_shown]
    if newest is not None and newest.shows is not None:
        for read in (facts.snapshot for facts in known):
            if read is not None and read.shows is not None:
                found += [NotShown(what, *age_of(read)[:4]) for what in {*newest.shows} - {*read.shows}]
        found = [one for one in found if one.what in newest.shows]
    return tuple(sorted({one.what: one for one in sorted(found)}.values()))  # of equal keys the later value stays


def last_without(facts: Facts, *what: str) -> NotShown | None:
    """The newest read that did not show one of these. None: no such read is known."""
    return max((one for one in facts.not_shown if one.what in what), key=age_of_kept, default=None)


# -- What a decision knew ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begun:
    """What an occurrence of a reason came after. A decision that did not know all of it is about an earlier occurrence,
    or about none."""

    ended: NotShown | Shown | None = None  # the newest read in which the reason had ended
    told_at: datetime = EPOCH  # a report of the OMS
    decided_at: datetime = EPOCH  # another decision

    def is_known_to(self, decision: Decision) -> bool:
        """Whether the person who decided could know of this occurrence."""
        seen = decision.seen
        if not is_kept(seen):
            ended_at = self.ended.read_at if self.ended else EPOCH
            return decision.at >= max(ended_at, self.told_at, self.decided_at)
        began = self.ended is None or age_of_kept(self.ended) <= age_of_kept(seen)
        return began and self.told_at <= seen.told_at and self.decided_at <= decision.at


def reported_by(one: Dispatch) -> Begun:
    """What a decision has to know to know of this dispatch: the OMS's report, or the decision of the person who
    vouches."""
    return Begun(decided_at=one.told_at) if one.oms_id == VOUCHED else Begun(told_at=one.told_at)


def knew(decision: Decision, shown_at: datetime) -> bool:
    """Whether the person who decided knew a read of this date of Mirakl, or a newer one.

    The clock that dated the decision may have been ahead, so the date of the decision counts only if it is not stored
    what the person knew.
    """
    return (decision.seen.updated_at if is_kept(decision.seen) else decision.at) >= shown_at


def seen_at(facts: Facts, at: datetime, *kinds: DecisionKind) -> Seen | None:
    """What was known when a decision of these kinds was made that has this date. None: there is none, or a version
    before stored it."""
    return next((one.seen for one in facts.decisions if one.at == at and one.kind in kinds and is_kept(one.seen)), None)


def seen_in(facts: Facts) -> Seen:
    """What a decision that is made now on these facts is made on."""
    read = facts.snapshot
    return Seen(*age_of(read)[:4], told_at=_last_told_at(facts)) if read else Seen(told_at=_last_told_at(facts))


def after_all(facts: Facts, now: datetime) -> datetime:
    """When a decision counts as made that is stored now: later than all that these facts hold already.

    The clock of the person's machine may be behind the one that dated another decision, a read or a report, or that one
    was ahead. Then the earlier decision would win over the later one. Dates of a remote do not count: they may be wrong
    by years. So the date of a decision tells which of two decisions is the newer one, and not when it was made.
    """
    known = [EPOCH, *(one.told_at for one in facts.dispatches)]
    known += [one.at for one in facts.decisions] + [one.at for one in facts.handovers]
    known += [one.at for one in facts.answers] + [one.at for one in facts.rejections]
    known += [one.since for one in facts.troubles] + [one.at for one in facts.recoveries]
    return max(after_reads_and_reports(facts, now), max(known) + datetime.resolution)


def after_reads_and_reports(facts: Facts, now: datetime) -> datetime:
    """When a person says something who says it now, as far as the clocks of the reads and reports tell: these may not
    be later. Another decision may, if the clock that dated it was ahead."""
    known = [_last_told_at(facts), *facts.not_found]
    known += [read.read_at for read in (facts.snapshot, facts.unknown) if read is not None]
    known += [began for _, began in facts.stops_read]
    return max(now, max(known) + datetime.resolution)


def is_kept(seen: Seen) -> bool:
    """Whether the decision kept what it was made on. A version before did not, nor does it before the first read."""
    return seen.read_at > EPOCH


def age_of_kept(one: NotShown | Shown | LastOpen | Seen) -> tuple[datetime, int, bool, datetime]:
    """The age of a read that is kept without its digest: the first four fields of `age_of`."""
    return one.updated_at, one.rank, one.has_address, one.read_at


def _last_told_at(facts: Facts) -> datetime:
    """When the OMS last reported. What a person vouches for is no report: a clock that is ahead may have dated it."""
    reported = [one.told_at for one in facts.dispatches if one.oms_id != VOUCHED]
    reported += [one.told_at for one in facts.cancellations]
    reported += [one.at for one in facts.statuses] + [one.at for one in facts.unread]
    return max([*reported, *(one.at for one in facts.receipts)], default=EPOCH)
