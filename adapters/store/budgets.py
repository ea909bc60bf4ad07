"""How many calls all workers together made to an account in each of its present windows (`BudgetWindow`)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction


@dataclass(frozen=True, slots=True)
class BudgetWindow:
    """A limit: at most `calls` to an account in a window of this length, which begins with its first call.

    `name` tells the windows of an account apart: hour and day at the OMS; at Mirakl the operation (A01, A02, SH21).
    """

    name: str
    length: timedelta
    calls: int


def spend(tx: Transaction, account: str, windows: Sequence[BudgetWindow], now: datetime) -> datetime | None:
    """Count one call in each window of an account's budget. Returns None, or when the account may be called again, if a
    window has no call left. Then nothing is counted."""
    return take(tx, account, windows, 1, now)[1]


def take(
    tx: Transaction, account: str, windows: Sequence[BudgetWindow], calls: int, now: datetime
) -> tuple[int, datetime | None]:
    """Count calls in each window of an account's budget: as many of `calls` as every window has left.

    Returns how many were counted; and, if not all were, when the account may be called again.
    """
    if not windows:
        return calls, None
    new = [
        dict(account=account, span=one.name, ends_at=now + one.length, used=0)
        for one in sorted(windows, key=lambda one: one.name)
    ]
    bulk.insert_rows(tx, s.budgets, new, bulk.do_nothing)
    stored = {row.span: row for row in tx.execute(_locked(), {"of": account})}
    used, ends = {}, {}
    for one in windows:
        row = stored[one.name]
        is_over = _is_over(one, row.ends_at, now)
        used[one.name], ends[one.name] = (0, now + one.length) if is_over else (row.used, row.ends_at)
    left = {one.name: max(0, one.calls - used[one.name]) for one in windows}
    counted = min(calls, *left.values())
    if counted:
        for one in windows:
            values = dict(used=used[one.name] + counted, ends_at=ends[one.name])
            tx.execute(_counted(), {"of": account, "window": one.name, **values})
    if counted == calls:
        return counted, None
    return counted, max(ends[name] for name, number in left.items() if number == counted)


def spent_until(tx: Transaction, account: str, windows: Sequence[BudgetWindow], now: datetime) -> datetime | None:
    """Return when the account may be called again; None if every window has a call left. Counts nothing."""
    if not windows:
        return None
    limits = {one.name: one for one in windows}
    stored = tx.execute(_present(), {"of": account, "windows": list(limits)})
    present = [row for row in stored if not _is_over(limits[row.span], row.ends_at, now)]
    return max((row.ends_at for row in present if row.used >= limits[row.span].calls), default=None)


# These statements are built once: each claim and last look of an import executes them.


@cache
def _present() -> sa.Select[tuple[str, datetime, int]]:
    c = s.budgets.c
    return sa.select(c.span, c.ends_at, c.used).where(
        c.account == sa.bindparam("of"), c.span.in_(sa.bindparam("windows", expanding=True))
    )


@cache
def _locked() -> sa.Select[tuple[str, datetime, int]]:
    c = s.budgets.c
    every = sa.select(c.span, c.ends_at, c.used).where(c.account == sa.bindparam("of"))
    return every.order_by(c.span).with_for_update()


@cache
def _counted() -> sa.Update:
    c = s.budgets.c
    mine = (c.account == sa.bindparam("of"), c.span == sa.bindparam("window"))
    return sa.update(s.budgets).where(*mine).values(used=sa.bindparam("used"), ends_at=sa.bindparam("ends_at"))


def _is_over(window: BudgetWindow, ends_at: datetime, now: datetime) -> bool:
    """Whether the stored window of this kind, which ends at `ends_at`, is over.

    A window that ends further ahead than its length began while a clock was wrong. Twice the length, because the clocks
    of two processes may differ by some milliseconds.
    """
    return ends_at <= now or ends_at > now + 2 * window.length


def used(store: Store, windows: Iterable[tuple[str, BudgetWindow]], now: datetime) -> dict[tuple[str, str], int]:
    """Return the calls made in the present window of each account and kind, by account and name. No entry: none was."""
    with store.reading() as connection:
        stored = {(row.account, row.span): row for row in connection.execute(sa.select(s.budgets))}
    rows = {(account, one.name): (one, stored.get((account, one.name))) for account, one in windows}
    return {key: row.used for key, (one, row) in rows.items() if row and not _is_over(one, row.ends_at, now)}
