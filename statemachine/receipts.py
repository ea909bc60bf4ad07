"""Which of the OMS's callbacks repeat the one before.

KornitX repeats a callback for ten hours if it does not get our answer. A repeat can be recognised by its content only,
and if another callback of the order came in between, the same content is no repeat: tracking A, then B, then A again.
Several processes take callbacks, and the log may hold them in another order. So every receipt is a fact, and the
receipts of an order together tell which of them are repeats (docs/rules.md 32).
"""

from collections.abc import Callable, Hashable
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from statemachine.facts import Cancellation, Dispatch, Facts, Unread

T = TypeVar("T")


def repeats(facts: Facts) -> frozenset[datetime]:
    """The times at which a callback was received that repeats the order's callback before it."""
    if len(facts.receipts) < 2:
        return frozenset()
    found = {later.at for earlier, later in pairwise(facts.receipts) if earlier.digest == later.digest}
    news = {later.at for earlier, later in pairwise(facts.receipts) if earlier.digest != later.digest}
    return frozenset(found - news - {facts.receipts[0].at})


def dispatches_once(facts: Facts) -> tuple[Dispatch, ...]:
    """The dispatches without those that a repeat reports once more."""
    return _once(facts, facts.dispatches, lambda one: (one.told_at, (one.oms_id, one.tracking, one.items, one.covers)))


def cancellations_once(facts: Facts) -> tuple[Cancellation, ...]:
    """The cancellations without those that a repeat reports once more."""
    return _once(facts, facts.cancellations, lambda one: (one.told_at, (one.oms_id, one.items)))


def unread_once(facts: Facts) -> tuple[Unread, ...]:
    """The unread reports without those that a repeat brings once more."""
    return _once(facts, facts.unread, lambda one: (one.at, one.reason))


def _once(facts: Facts, told: tuple[T, ...], when_and_what: Callable[[T], tuple[datetime, Hashable]]) -> tuple[T, ...]:
    """Return these reports without those of repeats. A report that only a repeat brings stays: the callback before it
    was read by another version or with other settings of the shop, and so gave other facts."""
    again = repeats(facts)
    if not again:
        return told
    each = [(one, *when_and_what(one)) for one in told]
    news = {what for _, when, what in each if when not in again}
    return tuple(one for one, when, what in each if when not in again or what not in news)
