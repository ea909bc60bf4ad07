"""Which of the OMS's callbacks repeat the one before.

KornitX repeats a callback for ten hours if it does not get our answer (docs/kornitx.md 8.2). A repeat can be recognised
by its content only. The same content is no repeat later than that, or if another callback of the order came in between:
tracking A, then B, then A again.
Several processes take callbacks, and the log may hold them in another order. So every receipt is a fact, and the
receipts of an order together tell which of them are repeats (docs/rules.md 32).
"""

from collections.abc import Callable, Hashable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final, TypeVar

from statemachine.facts import EPOCH, Cancellation, Dispatch, Facts, Receipt, Unread

T = TypeVar("T")

#: KornitX's last repeat comes ten hours after the callback, and the minutes that its five tries take.
REPEATED_FOR: Final = timedelta(hours=10, minutes=15)
#: An order keeps this many repeats of one callback. KornitX makes five; more come from a sender that does not stop.
MOST_REPEATS: Final = 20


def repeats(facts: Facts) -> frozenset[datetime]:
    """The times at which a callback was received that repeats the order's callback before it."""
    if len(facts.receipts) < 2:
        return frozenset()
    found, news, first = set(), set(), Receipt(EPOCH, "")
    for one in facts.receipts:
        if one.digest == first.digest and one.at - first.at <= REPEATED_FOR:
            found.add(one.at)
        else:
            news.add(one.at)
            first = one
    return frozenset(found - news)


def is_surplus(facts: Facts, new: Facts) -> bool:
    """Whether these new facts are of a callback that was repeated too often, so that the order does not keep it.

    Which repeats of a run are kept depends on the order in which they come. All of them report the same.
    """
    if len(new.receipts) != 1:
        return False
    (one,) = new.receipts
    before = [known for known in facts.receipts if known < one and one.at - known.at <= REPEATED_FOR]
    return len(list(takewhile(lambda known: known.digest == one.digest, reversed(before)))) > MOST_REPEATS


def dispatches_once(facts: Facts) -> tuple[Dispatch, ...]:
    """The dispatches without those that a repeat reports once more."""
    return _once(facts, dispatches(facts), lambda one: (one.told_at, (one.oms_id, one.tracking, one.items, one.covers)))


def dispatches(facts: Facts) -> tuple[Dispatch, ...]:
    """The dispatches, each with one instant, however often it was reported.

    A time in the hour that clocks repeat is two instants. The report chooses between them: the later one that is not
    after it. A report that comes again an hour later would choose the other one, so the first report counts.
    """
    if not any(one.repeated_hour > EPOCH for one in facts.dispatches):  # nearly always; this saves time
        return facts.dispatches
    first: dict[tuple[int, datetime], datetime] = {}
    for one in facts.dispatches:
        written = one.oms_id, one.repeated_hour
        first[written] = min(one.at, first.get(written, one.at))
    return tuple(
        replace(one, at=first[one.oms_id, one.repeated_hour]) if one.repeated_hour > EPOCH else one
        for one in facts.dispatches
    )


def cancellations_once(facts: Facts) -> tuple[Cancellation, ...]:
    """The cancellations without those that a repeat reports once more."""
    return _once(facts, facts.cancellations, lambda one: (one.told_at, (one.oms_id, one.items)))


def unread_once(facts: Facts) -> tuple[Unread, ...]:
    """The unread reports without those that a repeat brings once more."""
    return _once(facts, facts.unread, lambda one: (one.at, (one.reason, one.fields)))


def _once(
    facts: Facts, reports: tuple[T, ...], when_and_what: Callable[[T], tuple[datetime, Hashable]]
) -> tuple[T, ...]:
    """Return these reports without those of repeats. A report that only a repeat brings stays: the callback before it
    was read by another version or with other settings of the shop, and so gave other facts."""
    again = repeats(facts)
    if not again:
        return reports
    each = [(one, *when_and_what(one)) for one in reports]
    news = {what for _, when, what in each if when not in again}
    return tuple(one for one, when, what in each if when not in again or what not in news)
