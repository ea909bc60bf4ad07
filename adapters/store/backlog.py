"""What waits for a call, and who holds which lease, for `orderflow status`."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from adapters.store import schema as s
from adapters.store.leases import is_over
from adapters.store.transaction import Store
from statemachine.commands import CommandKind


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


def backlogs(store: Store, now: datetime) -> list[Backlog]:
    """Return what waits, by shop and kind. Raises StoreUnavailable."""
    c, o = s.commands.c, s.orders.c
    due = sa.case((c.next_at <= now, c.next_at))
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
        )
        .join(s.orders, o.id == c.order_key)
        .where(s.is_live(c))
        .group_by(o.shop, c.kind)
        .order_by(o.shop, c.kind)
    )
    with store.reading() as connection:
        return [
            Backlog(row.shop, row.kind, row.live, row.due, row.oldest, row.oldest_due, row.failing, row.next_at)
            for row in connection.execute(statement)
        ]


def holders(store: Store, now: datetime) -> dict[str, str]:
    """Return who holds each lease now, by the lease's name. Raises StoreUnavailable."""
    c = s.leases.c
    held = sa.select(c.name, c.holder).where(sa.not_(is_over(c.until, now)), c.holder != "")
    with store.reading() as connection:
        return {row.name: row.holder for row in connection.execute(held.order_by(c.name))}
