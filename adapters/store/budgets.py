"""How many calls all workers together made to an account in its present hour and day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class BudgetWindow:
    """A limit: at most `calls` to an account in a window of this length, which begins with its first call.

    `name` is hour or day.
    """

    name: str
    length: timedelta
    calls: int


def spend(tx: Transaction, account: str, windows: Sequence[BudgetWindow], now: datetime) -> datetime | None:
    """Count one call in each window of an account's budget. Returns None if each window had a call left.

    If a window is exhausted, returns when it ends. The caller then has to roll the transaction back.
    """
    c = s.budgets.c
    for window in windows:
        insert = bulk.insert(tx, s.budgets).values(
            account=account, span=window.name, ends_at=now + window.length, used=1
        )
        ended = _is_over(c.ends_at, window, now)
        spent = insert.on_conflict_do_update(
            index_elements=["account", "span"],
            set_=dict(
                ends_at=sa.case((ended, now + window.length), else_=c.ends_at),
                used=sa.case((ended, 1), else_=c.used + 1),
            ),
            where=sa.or_(ended, c.used < window.calls),
        )
        if tx.execute(spent.returning(c.used)).scalar() is None:
            mine = (c.account == account, c.span == window.name)
            ends_at: datetime = tx.execute(sa.select(c.ends_at).where(*mine)).scalar_one()
            return ends_at
    return None


def spent_until(tx: Transaction, account: str, windows: Sequence[BudgetWindow], now: datetime) -> datetime | None:
    """Return when the account may be called again; None if every window has a call left. Counts nothing."""
    c = s.budgets.c
    if not windows:
        return None
    spent = (
        sa.and_(c.span == window.name, c.used >= window.calls, sa.not_(_is_over(c.ends_at, window, now)))
        for window in windows
    )
    ends = tx.execute(sa.select(c.ends_at).where(c.account == account, sa.or_(*spent))).scalars()
    return max(ends, default=None)


def _is_over(ends_at: sa.ColumnElement[datetime], window: BudgetWindow, now: datetime) -> sa.ColumnElement[bool]:
    """The condition that a window of this kind is over.

    A window that ends further ahead than its length began while a clock was wrong. Twice the length, because the clocks
    of two processes may differ by some milliseconds.
    """
    return sa.or_(ends_at <= now, ends_at > now + 2 * window.length)


def used(store: Store, now: datetime) -> dict[tuple[str, str], int]:
    """Return the calls made in each account's present windows, by account and name of the window."""
    with store.reading() as connection:
        rows = connection.execute(sa.select(s.budgets).where(s.budgets.c.ends_at > now))
        return {(row.account, row.span): row.used for row in rows}
