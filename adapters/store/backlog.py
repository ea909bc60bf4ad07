"""What waits for a call, and who holds which lease, for `orderflow status`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.leases import is_over
from adapters.store.transaction import Store
from statemachine.commands import CommandKind
from statemachine.deadlines import DeadlineKind

#: A deadline is near if it is not further away. The alert OrdersAcceptanceDeadlineNear has the same bound.
NEAR: Final = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Backlog:
    """The live calls of one kind of one shop."""

    shop: str
    kind: CommandKind
    live: int
    due: int  # may be made now, or are under way
    oldest: datetime  # when the oldest was opened
    oldest_due: datetime | None  # since when the oldest that is due may be made
    failing: int  # were claimed at least once, so also a first call that is under way
    next_at: datetime  # when the next may be made
    overdue: int = 0  # are for an order whose deadline at Mirakl is over
    near: int = 0  # are for an order whose deadline is over or nearer than NEAR
    deadline: datetime | None = None  # the nearest of these deadlines, past or not


def backlogs(store: Store, now: datetime) -> list[Backlog]:
    """Return what waits, by shop and kind. Raises StoreUnavailable."""
    c, o = s.commands.c, s.orders.c
    due = sa.case((c.next_at <= now, c.next_at))
    # Mirakl never waits for the answer and for the shipment at a time, so an order has one deadline.
    is_answer = c.kind == CommandKind.ACCEPT
    of_call = sa.or_(
        sa.and_(is_answer, o.deadline_kind == DeadlineKind.ACCEPT),
        sa.and_(sa.not_(is_answer), o.deadline_kind == DeadlineKind.SHIP),
    )
    deadline = sa.case((of_call, o.deadline))
    statement = (
        sa.select(
            o.shop,
            c.kind,
            sa.func.count().label("live"),
            sa.func.count(due).label("due"),
            sa.func.min(c.opened_at, type_=s.Instant).label("oldest"),
            sa.func.min(due, type_=s.Instant).label("oldest_due"),
            sa.func.count(sa.case((c.attempts > 0, 1))).label("failing"),
            sa.func.min(c.next_at, type_=s.Instant).label("next_at"),
            sa.func.count(sa.case((sa.and_(of_call, o.deadline <= now), 1))).label("overdue"),
            sa.func.count(sa.case((sa.and_(of_call, o.deadline <= now + NEAR), 1))).label("near"),
            sa.func.min(deadline, type_=s.Instant).label("deadline"),
        )
        .join(s.orders, o.id == c.order_key)
        .where(s.is_live(c))
        .group_by(o.shop, c.kind)
        .order_by(o.shop, c.kind)
    )
    with store.reading() as connection:
        return [Backlog(*row) for row in connection.execute(statement)]


def holders(store: Store, now: datetime) -> dict[str, str]:
    """Return who holds each lease now, by the lease's name. Raises StoreUnavailable."""
    c = s.leases.c
    held = sa.select(c.name, c.holder).where(sa.not_(is_over(c.until, now)), c.holder != "")
    with store.reading() as connection:
        return {row.name: row.holder for row in connection.execute(held.order_by(c.name))}
