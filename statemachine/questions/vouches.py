"""What the OMS reports sent after a person said that the goods left (`orders sent`).

Perhaps these are the same goods, and the OMS reports them late. Perhaps the person sent others, and two parcels are on
their way.
"""

from collections.abc import Sequence
from datetime import datetime

from statemachine.asked_once import asked_once
from statemachine.facts import EPOCH, EVERY_LINE, VOUCHED, DecisionKind, Dispatch, Facts, Seen
from statemachine.occurrences import seen_at
from statemachine.questions.receipts import dispatches_once


@asked_once
def sent_beside(facts: Facts) -> tuple[Dispatch, ...]:
    """What the OMS reported since a person said that the goods left, if other goods may be meant.

    What the OMS had reported before is no news: a number, or that its order was sent. So a person who corrects a number
    of the OMS afterwards, and an OMS that corrects it too, mean one parcel.
    """
    vouches = [one for one in facts.dispatches if one.oms_id == VOUCHED]
    if not vouches:  # nearly always; this saves time
        return ()
    known_at = report_known_at(facts)
    first = known_at[min(one.told_at for one in vouches)]
    reports: dict[tuple[datetime, int], list[Dispatch]] = {}
    for one in dispatches_once(facts):
        if one.oms_id != VOUCHED:
            reports.setdefault((one.told_at, one.oms_id), []).append(one)
    before = [one for (told_at, _), report in reports.items() if told_at <= first for one in report]
    known, sent = _numbers(before), {one.oms_id for one in before if one.covers}
    news = {
        (told_at, oms_id): report
        for (told_at, oms_id), report in sorted(reports.items())
        if told_at > first and oms_id not in sent and not (known and _numbers(report) and _numbers(report) <= known)
    }
    return tuple(
        one
        for (told_at, _), report in news.items()
        if _may_be_others([vouch for vouch in vouches if known_at[vouch.told_at] < told_at], report)
        for one in report
    )


def sent_beside_at(facts: Facts) -> datetime:
    """When the OMS last reported goods of `sent_beside` that it had not reported before. EPOCH: never."""
    first: dict[str, datetime] = {}
    for one in sent_beside(facts):
        what = one.tracking.bare_number or f"of order {one.oms_id}"
        first[what] = min(one.told_at, first.get(what, one.told_at))
    return max(first.values(), default=EPOCH)


def report_known_at(facts: Facts) -> dict[datetime, datetime]:
    """For each vouch, by its date, when the OMS's newest report was made that the person could know.

    A report may have been in the log already and not applied, or the clock that dated the vouch was ahead. A version
    before did not keep what a decision was made on: then the date of the vouch counts.
    """
    return {at: seen.told_at if seen else at for at, seen in _seen(facts).items()}


def read_known_at(facts: Facts) -> list[datetime]:
    """For each vouch, Mirakl's date of the newest read that the person knew, or else the date of the vouch."""
    return [seen.updated_at if seen else at for at, seen in _seen(facts).items()]


def _seen(facts: Facts) -> dict[datetime, Seen | None]:
    """For each vouch, by its date, what the person knew. None: a version before did not keep it."""
    dates = {one.told_at for one in facts.dispatches if one.oms_id == VOUCHED}
    return {at: seen_at(facts, at, DecisionKind.SENT) for at in dates}


def _may_be_others(vouches: Sequence[Dispatch], report: Sequence[Dispatch]) -> bool:
    """Whether one report of the OMS may be about other goods than those for which a person vouched before.

    It is about the same goods if it names a number that the person named. If one of both names no number, it is about
    the same goods if these had left, by the OMS's time, when the person first said so.
    """
    lines = {line for one in report for line, _ in one.items}
    is_of_all = any(one.vouched == EVERY_LINE for one in vouches)
    if lines and not is_of_all and lines.isdisjoint(line for one in vouches for line, _ in one.vouched):
        return False
    named, numbers = _numbers(vouches), _numbers(report)
    if named and numbers:
        return named.isdisjoint(numbers)
    return any(one.at > min(vouch.at for vouch in vouches) for one in report)


def _numbers(dispatches: Sequence[Dispatch]) -> set[str]:
    return {one.tracking.bare_number for one in dispatches} - {""}
