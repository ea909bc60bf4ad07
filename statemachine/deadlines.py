"""What changes for an order by time alone: its deadlines.

The only time that the rules read is `Facts.clock`, so the same facts always give the same plan. `wakes_at` is the next
instant at which the plan changes. When that instant has passed, an event of the clock sets `Facts.clock`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from statemachine.asked_once import asked_once
from statemachine.commands import CommandKind, Policy
from statemachine.facts import DEBIT, DEBITS_LATE, EPOCH, Facts, Line, Snapshot
from statemachine.occurrences import PAYMENT, last_without
from statemachine.questions import troubles
from statemachine.questions.in_oms import is_sent_by_others
from statemachine.questions.readings import all_sent, is_canceled_by_oms, is_pending, last_answer
from statemachine.questions.stops import KEPT_FIRST
from statemachine.reason_of_order import Attention
from statemachine.reasons import Reason
from statemachine.states import State, state_of

_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_NO_MARGIN: Final = timedelta()


@dataclass(frozen=True, slots=True)
class Deadline:
    """From `reason_from` on, the order has this reason. `at` is the deadline itself."""

    at: datetime
    reason_from: datetime
    reason: Attention


def has_come(facts: Facts, instant: datetime) -> bool:
    """Whether the facts say that this instant has passed."""
    return facts.clock >= instant


def reasons_now(facts: Facts, policy: Policy) -> Iterator[Attention]:
    """The attention reasons of the deadlines that are near or over."""
    return (one.reason for one in _deadlines(facts, policy) if has_come(facts, one.reason_from))


class DeadlineKind(StrEnum):
    """What Mirakl waits for: the label `deadline` of orderflow_overdue."""

    ACCEPT = "accept"
    SHIP = "ship"


_KINDS: Final = {Reason.ACCEPTANCE_DUE: DeadlineKind.ACCEPT, Reason.SHIPPING_DUE: DeadlineKind.SHIP}


def next_deadline(facts: Facts, policy: Policy) -> datetime | None:
    """Until when Mirakl waits for the seller, past or not: for the answer or for the shipment. None: for neither."""
    found = mirakl_deadline(facts, policy)
    return found[1] if found else None


def mirakl_deadline(facts: Facts, policy: Policy) -> tuple[DeadlineKind, datetime] | None:
    """What Mirakl waits for, and until when, past or not. None: for nothing. It never waits for both at a time."""
    reasons = {one.reason.reason: one.at for one in _deadlines(facts, policy)}
    return next(((_KINDS[one], at) for one, at in reasons.items() if one in _KINDS), None)


def acceptance_deadline(snapshot: Snapshot, policy: Policy, created_at: datetime | None = None) -> datetime:
    """Until when Mirakl waits for the seller's decision. EPOCH: not known. `created_at` None: as Mirakl shows it."""
    since = snapshot.created_at if created_at is None else created_at
    return snapshot.accept_by if snapshot.accept_by > EPOCH else _after(since, policy.accept_within)


def wakes_at(facts: Facts, policy: Policy) -> datetime | None:
    """The next instant at which the plan changes by time alone, always after `Facts.clock`. None: no such instant."""
    return min((instant for instant in _instants(facts, policy) if not has_come(facts, instant)), default=None)


def _instants(facts: Facts, policy: Policy) -> Iterator[datetime]:
    """Every instant, past or not, at which the plan changes by time alone. Each rule that asks `has_come` adds its
    instant here: without that, no clock event comes for it."""
    yield from (one.reason_from for one in _deadlines(facts, policy))
    yield from troubles.instants(facts, policy)


@asked_once
def _deadlines(facts: Facts, policy: Policy) -> tuple[Deadline, ...]:
    """The deadlines that run in the newest state that Mirakl shows, or while no read has shown the order.

    An order that is left alone because of the shop's `not_before` has no deadlines.
    """
    return tuple(_found(facts, policy))


def _found(facts: Facts, policy: Policy) -> Iterator[Deadline]:
    snapshot = facts.snapshot
    if facts.newest is None and facts.statuses and not policy.other_channels:
        reason_from = _after(min(one.at for one in facts.statuses), policy.gone_after)
        yield Deadline(reason_from, reason_from, Attention(Reason.UNKNOWN_TO_MIRAKL))
    if snapshot is None or policy.leaves_alone(facts):
        return
    created_at = _created_at(facts, snapshot)
    if snapshot.state == "WAITING_ACCEPTANCE" and not is_pending(facts, last_answer(facts, CommandKind.ACCEPT)):
        accept_by = acceptance_deadline(snapshot, policy, created_at)
        yield from _before(Reason.ACCEPTANCE_DUE, created_at, accept_by, policy.accept_margin)
    if snapshot.state in DEBIT and not _is_debited_later(facts, snapshot):
        before = last_without(facts, PAYMENT)
        accepted_at = snapshot.accepted_at if snapshot.accepted_at <= snapshot.read_at else EPOCH  # not in the future
        since = max(created_at, accepted_at, before.read_at if before else EPOCH)
        yield from _before(Reason.PAYMENT_LATE, since, _after(since, policy.payment_within), _NO_MARGIN)
    is_just_confirmed = is_pending(facts, last_answer(facts, CommandKind.CONFIRM))
    if snapshot.state == "SHIPPING" and not is_just_confirmed and _is_ours_to_send(facts, policy, snapshot.lines):
        # Every order needs this deadline, also if Mirakl names none: if a person settled that the OMS canceled the
        # order, the order waits for nothing else.
        ship_by = snapshot.ship_by if snapshot.ship_by > EPOCH else _after(created_at, policy.ship_within)
        margin = policy.shipping_margin
        if is_canceled_and_settled(facts):  # half of the time is left to make the goods after all
            margin = max(margin, (ship_by - created_at) / 2)
        yield from _before(Reason.SHIPPING_DUE, created_at, ship_by, margin)


def _is_ours_to_send(facts: Facts, policy: Policy, lines: Sequence[Line]) -> bool:
    """Whether the shop owes the shipment of an order in SHIPPING. It does not if somebody else ships it, for which
    not_ours_to_ship stands, nor if Mirakl took every line back and nothing has left: then the operator cancels it."""
    if is_sent_by_others(facts, policy):
        return False
    is_taken_back = bool(lines) and all(line.is_taken_back for line in lines)
    return bool(facts.dispatches) or not is_taken_back


def _created_at(facts: Facts, snapshot: Snapshot) -> datetime:
    """When the order was created. If Mirakl's date is missing, or after our first read, the first read that showed that
    the seller has to act, or a debit, counts: every order needs a deadline. EPOCH: not known."""
    first = min((at for what, at in facts.seen if not what.startswith(KEPT_FIRST)), default=EPOCH)
    latest = first if first > EPOCH else snapshot.read_at
    return snapshot.created_at if EPOCH < snapshot.created_at <= latest else first


def is_canceled_and_settled(facts: Facts) -> bool:
    """Whether the OMS canceled the whole order, a person settled that, and nobody is known to have sent it."""
    settled = any(one.names(Reason.OMS_CANCELED) for one in facts.settles)
    return settled and is_canceled_by_oms(facts) and not all_sent(facts)


def _is_debited_later(facts: Facts, snapshot: Snapshot) -> bool:
    """Whether the customer pays for goods that left before, when their payment is due, maybe weeks later."""
    return state_of(facts) is State.SHIPPED and snapshot.workflow in DEBITS_LATE


def _before(reason: Reason, since: datetime, deadline: datetime, margin: timedelta) -> Iterator[Deadline]:
    """The deadline, and its reason. The reason begins `margin` earlier, but not in the first half of the time from
    `since` to the deadline.

    EPOCH or earlier means no deadline: then nothing is yielded. The detail of the reason is the deadline, so if Mirakl
    moves the deadline, the order gets a new reason.
    """
    if deadline > EPOCH:
        half = (deadline - since) / 2 if since > EPOCH else margin
        earlier = max(min(margin, half), _NO_MARGIN)
        yield Deadline(deadline, deadline - earlier, Attention(reason, f"{deadline:%Y-%m-%d %H:%M}"))


def _after(since: datetime, delay: timedelta) -> datetime:
    """`since` plus `delay`. EPOCH, which is no deadline, if `since` is not known or the sum is after the year 9999."""
    return EPOCH if since <= EPOCH or since > _LATEST - delay else since + delay
