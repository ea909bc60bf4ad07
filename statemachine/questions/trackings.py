"""Which tracking is to be reported, of all that the OMS and people named (docs/rules.md 4)."""

from collections.abc import Sequence
from datetime import datetime

from statemachine.asked_once import asked_once
from statemachine.facts import EPOCH, VOUCHED, Dispatch, Facts, Tracking
from statemachine.occurrences import Begun, reported_by
from statemachine.questions.receipts import dispatches_once
from statemachine.questions.vouches import sent_beside


@asked_once
def best_tracking(facts: Facts) -> Tracking:
    """The tracking to report: of the newest dispatch, one with a number before one without (docs/rules.md 4).

    The same number reported again without its URL (status 8, then 64) is no other tracking.
    """
    if not facts.dispatches:  # of orders that are not sent yet; this saves time
        return Tracking()
    dispatches = dispatches_once(facts)  # a repeat is no news: a person may have named another tracking since
    with_number = [one for one in dispatches if one.tracking.number] or dispatches
    # If a person vouches without a tracking, the tracking that the OMS named stays.
    vouches = (one for one in with_number if one.oms_id == VOUCHED and one.tracking)
    vouched = max(vouches, key=lambda one: (one.told_at, one.at, one.tracking), default=None)
    # Perhaps two parcels left: Mirakl keeps the number that a person named, until a person names the other one.
    beside = sent_beside(facts) if vouched and vouched.tracking.number else ()
    reports = [one for one in with_number if one.oms_id != VOUCHED and one not in beside]
    best = _newest(reports)
    if vouched and not (best and _first_told_at(reports, best.tracking) > min(vouched.at, vouched.told_at)):
        best = vouched
    if best is None:
        return Tracking()
    named = (best.tracking.carrier, best.tracking.number)
    same = [d for d in dispatches if d.tracking.url and (d.tracking.carrier, d.tracking.number) == named]
    return (_newest(same) or best).tracking


def _newest(dispatches: Sequence[Dispatch]) -> Dispatch | None:
    """The dispatch that counts. Of those with a time of their own the one with the latest time, and of the same time
    the one that was reported later, because that is a correction. One without a time counts if it was reported later
    than this one: the same parcel may be reported first without its time, and then with it."""

    timed = max((d for d in dispatches if d.timed), key=lambda d: (d.at, d.told_at, d.tracking), default=None)
    other = max((d for d in dispatches if not d.timed), key=lambda d: (d.told_at, d.tracking), default=None)
    return timed if other is None or (timed and max(timed.told_at, timed.at) >= other.told_at) else other


def best_begun(facts: Facts) -> Begun:
    """What a decision has to know to know of the tracking to report: who first named it since another one was named."""
    each, best = dispatches_once(facts), best_tracking(facts)
    first = _first_told_at(each, best)
    named = (one for one in each if one.tracking and one.told_at == first and _is_same(one.tracking, best))
    return next(map(reported_by, named), Begun())


def _first_told_at(dispatches: Sequence[Dispatch], best: Tracking) -> datetime:
    reports = [(one.told_at, _is_same(one.tracking, best)) for one in dispatches if one.tracking]
    newest = max((told_at for told_at, same in reports if same), default=EPOCH)
    other = max((told_at for told_at, same in reports if not same and told_at < newest), default=None)
    return min((told_at for told_at, same in reports if same and (other is None or told_at > other)), default=EPOCH)


def _is_same(one: Tracking, other: Tracking) -> bool:
    return (one.bare_number or one.carrier) == (other.bare_number or other.carrier)
