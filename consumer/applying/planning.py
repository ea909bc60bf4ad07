"""Plans orders: the commands to open and to end, the attention reasons, and when the plan changes by time alone."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from adapters.errors import BrokenOrders
from adapters.store.commands import CommandRow, NewCommand
from adapters.store.objectives import ObjectiveResult
from adapters.store.orders import OrderRow
from statemachine.attention.urgency_of_order import most_urgent
from statemachine.commands import Policy
from statemachine.deadlines import mirakl_deadline
from statemachine.invariants import is_lost
from statemachine.objectives import Kept
from statemachine.plan import Plan, plan, read_after
from statemachine.reason_of_order import Attention, StandingAttention
from statemachine.reasons import Reason

#: A command is given up this long after the latest of three instants: the order's deadline (`ship_by`), the opening of
#: the command, and its first try (docs/rules.md 27).
GIVE_UP_AFTER: Final = timedelta(hours=72)


@dataclass(frozen=True, slots=True)
class CommandChanges:
    """The changes of the commands of some orders."""

    opened: Sequence[NewCommand]
    obsolete: Sequence[int]  # ids of commands
    revived: Sequence[int]  # ids of leased commands that had become obsolete


@dataclass(frozen=True, slots=True)
class Planned:
    """Some orders as the plan leaves them. `lost`: the keys of those that wait for nothing, which is a bug."""

    orders: Sequence[OrderRow]
    commands: CommandChanges
    lost: AbstractSet[int]
    results: Sequence[ObjectiveResult]  # of objectives; each counts once for an order


def plan_orders(
    rows: Sequence[OrderRow], live: Sequence[CommandRow], policies: Mapping[str, Policy], now: datetime
) -> Planned:
    """Return the orders with their new attention reasons, and the commands to open, to mark obsolete and to revive.

    A due command is opened, and a command that is no longer due becomes obsolete (docs/rules.md 21).
    """
    commands_of: dict[int, list[CommandRow]] = {}
    for command in live:
        commands_of.setdefault(command.order_key, []).append(command)
    opened: list[NewCommand] = []
    obsolete, revived, planned, lost = [], [], [], set()
    results: list[ObjectiveResult] = []
    for row in rows:
        with of_order(row):
            policy = policies.get(row.shop, Policy())
            wanted = plan(row.facts, policy)
            no_edge = wanted.state != row.state  # the table has no edge to the state that follows from the facts
            needed = {} if no_edge else {command.key: command for command in wanted.due}
            mine = commands_of.get(row.key, [])
            obsolete += [command.id for command in mine if command.key not in needed and not command.unwanted]
            revived += [command.id for command in mine if command.key in needed and command.unwanted]
            have = {command.key for command in mine}
            give_up_at = max(now, row.facts.snapshot.ship_by if row.facts.snapshot else now) + GIVE_UP_AFTER
            opened += [
                NewCommand(row.key, row.shop, command, give_up_at) for key, command in needed.items() if key not in have
            ]
            found = [*wanted.attention]
            results += _results(row, wanted)
            if is_lost(row.facts, policy, wanted):
                lost.add(row.key)
            if no_edge:
                found.append(Attention(Reason.NO_EDGE, f"{row.state}->{wanted.state}"))
            attention = _attention(row, found, now)
            planned.append(
                replace(
                    row,
                    attention=attention,
                    urgency=most_urgent(attention, row.facts),
                    updated_at=row.updated_at if _tokens(attention) == _tokens(row.attention) else now,
                    quarantine=None,
                    read_after=read_after(row.facts, policy),
                    wake_at=_wakes_at(row, wanted),
                    planned_by=policy.version,
                    deadline=mirakl_deadline(row.facts, policy),
                    counted=row.counted | {objective for objective, _ in wanted.results},
                )
            )
    return Planned(planned, CommandChanges(opened, obsolete, revived), lost, results)


def _results(row: OrderRow, wanted: Plan) -> list[ObjectiveResult]:
    """The results of objectives that are known now and were not counted before."""
    new = [(objective, kept) for objective, kept in wanted.results if objective not in row.counted]
    return [ObjectiveResult(row.shop, objective, kept) for objective, kept in new if kept is not Kept.NEITHER]


def _wakes_at(row: OrderRow, wanted: Plan) -> datetime | None:
    """When an event of the clock is due: the plan changes then, or an objective that was not counted is missed."""
    limits = [limit for objective, limit in wanted.limits if objective not in row.counted]
    return min([*limits, *([wanted.wakes_at] if wanted.wakes_at else [])], default=None)


@contextmanager
def of_order(row: OrderRow) -> Iterator[None]:
    """Turn any exception into BrokenOrders with this order."""
    try:
        yield
    except BrokenOrders:
        raise
    except Exception as error:
        raise broken(row, error) from error


def broken(row: OrderRow, error: Exception) -> BrokenOrders:
    """Return the BrokenOrders that names this order and the kind of `error`. Its catcher quarantines the order."""
    return BrokenOrders({(row.shop, row.order_id): type(error).__name__})


def plan_of(row: OrderRow, policy: Policy) -> Plan:
    """Plan one order. Raises BrokenOrders if that raises anything: no order may stop the others."""
    with of_order(row):
        return plan(row.facts, policy)


def _tokens(attention: Iterable[StandingAttention]) -> set[str]:
    return {one.token for one in attention}


def _attention(row: OrderRow, found: Iterable[Attention], now: datetime) -> tuple[StandingAttention, ...]:
    """Return the reasons that stand now. A reason that stood before keeps the instant since which it stands."""
    since = {one.token: one.since for one in row.attention}
    return tuple(
        StandingAttention(one.reason, one.detail, command=one.command, since=since.get(one.token, now)) for one in found
    )
