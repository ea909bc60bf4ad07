"""What the service promises for each order (its objectives), and whether the promise was kept.

`accept`: Mirakl takes our acceptance in time. `ship_confirm`: Mirakl takes OR24 in time after the OMS reported that the
goods left. An order counts once for each objective: the store keeps which results it has counted (`orders.counted`).
A result is known when Mirakl answers the call, when Mirakl shows the next state without our call, or when the limit
passes, whichever is first. So an order that is stuck for ever counts too.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from statemachine.commands import CommandKind, Policy
from statemachine.deadlines import acceptance_deadline, has_come
from statemachine.facts import EPOCH, VOUCHED, Facts, Snapshot
from statemachine.questions.readings import all_sent, unsent_parts

WAITING: Final = "WAITING_ACCEPTANCE"
SHIPPING: Final = "SHIPPING"
#: What an answer to OR21 carried that refused every line.
_REFUSE: Final = "refuse"


class Objective(StrEnum):
    """The label `slo` of orderflow_slo_total."""

    ACCEPT = "accept"
    SHIP_CONFIRM = "ship_confirm"


class Kept(StrEnum):
    """The label `result` of orderflow_slo_total."""

    GOOD = "good"
    BAD = "bad"
    NEITHER = "neither"  # not the service's doing: refused, canceled, accepted or shipped by somebody else in time


@dataclass(frozen=True, slots=True)
class Running:
    """An objective that has begun: its limit, the state of Mirakl in which it runs, and the call that ends it."""

    objective: Objective
    limit: datetime
    state: str
    ends_by: CommandKind


def running(facts: Facts, policy: Policy) -> Iterator[Running]:
    """The objectives that have begun, ended or not."""
    snapshot = facts.snapshot
    if snapshot is None or policy.leaves_alone(facts):
        return
    seen = dict(facts.seen)
    if WAITING in seen:
        yield Running(Objective.ACCEPT, _accept_limit(seen[WAITING], policy, snapshot), WAITING, CommandKind.ACCEPT)
    if SHIPPING in seen and (sent_at := _sent_at(facts)) is not None:
        limit = max(sent_at, seen[SHIPPING]) + policy.ship_target
        yield Running(Objective.SHIP_CONFIRM, limit, SHIPPING, CommandKind.CONFIRM)


def results(facts: Facts, begun: Iterable[Running]) -> Iterator[tuple[Objective, Kept]]:
    """The objectives whose result these facts show. Only the first result that is found of an order counts."""
    snapshot = facts.snapshot
    if snapshot is None:
        return
    for one in begun:
        at, carries = _answered(facts, one.ends_by)
        if at is not None:
            result = Kept.GOOD if at <= one.limit else Kept.BAD
            yield one.objective, Kept.NEITHER if carries == _REFUSE else result
        elif snapshot.state != one.state:  # it went on without us
            yield one.objective, Kept.NEITHER if _moved_at(snapshot, one.objective) <= one.limit else Kept.BAD
        elif has_come(facts, one.limit):
            yield one.objective, Kept.BAD


def limits(facts: Facts, begun: Iterable[Running]) -> Iterator[tuple[Objective, datetime]]:
    """The objectives that run, each with the instant at which its result becomes `bad`, always after `Facts.clock`."""
    snapshot = facts.snapshot
    if snapshot is None:
        return
    for one in begun:
        if snapshot.state == one.state and _answered(facts, one.ends_by)[0] is None and not has_come(facts, one.limit):
            yield one.objective, one.limit


def _accept_limit(first_seen: datetime, policy: Policy, snapshot: Snapshot) -> datetime:
    """The target, but never nearer to Mirakl's deadline than a quarter of the time from the creation to it."""
    limit = first_seen + policy.accept_target
    deadline = acceptance_deadline(snapshot, policy)
    if deadline <= EPOCH or snapshot.created_at <= EPOCH:
        return limit
    return min(limit, deadline - max(deadline - snapshot.created_at, timedelta()) / 4)


def _sent_at(facts: Facts) -> datetime | None:
    """When the OMS reported the last piece, or the last part, that was open: from then on OR24 is owed. None: some are
    open, or only a person vouches."""
    if not _has_left(facts):
        return None
    reported = sorted({max(one.told_at, one.at) for one in facts.dispatches if one.oms_id != VOUCHED})
    for at in reported:
        until = tuple(one for one in facts.dispatches if max(one.told_at, one.at) <= at)
        if len(until) == len(facts.dispatches) or _has_left(replace(facts, dispatches=until)):
            return at
    return None


def _has_left(facts: Facts) -> bool:
    """Whether all that OR24 waits for has left. A status of one part covers the whole order, unless the shop has
    `may_split`, but OR24 waits for each part."""
    return all_sent(facts) and not unsent_parts(facts)


def _answered(facts: Facts, kind: CommandKind) -> tuple[datetime | None, str]:
    """When Mirakl first took a call of this kind, and what that call carried."""
    first = min(((one.at, one.carries) for one in facts.answers if one.kind == kind), default=None)
    return first if first is not None else (None, "")


def _moved_at(snapshot: Snapshot, objective: Objective) -> datetime:
    """By when the order had left the state at the latest. Mirakl names the moment of a decision."""
    decided = objective is Objective.ACCEPT and snapshot.accepted_at > EPOCH
    return snapshot.accepted_at if decided else snapshot.updated_at
