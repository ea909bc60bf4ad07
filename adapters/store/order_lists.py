"""The list of orders: which of them it has and how many, in which order, and what a page of it reads."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypedDict, Unpack

import sqlalchemy as sa

from adapters.store import bulk, names
from adapters.store import schema as s
from adapters.store.orders import OrderRow, shown
from adapters.store.transaction import Store


class Which(TypedDict, total=False):
    """Which orders a list has. What is left out asks for every order."""

    shop: str | None
    states: Sequence[str]  # empty: all
    attention: bool  # only orders that need a person
    changed_after: datetime | None
    entered_before: datetime | None
    after: tuple[datetime, int] | None  # behind the order with this `updated_at` and key: those changed before it


def latest(
    store: Store,
    *,
    text: str = "",
    newest: int | None = None,
    keys: Collection[int] | None = None,
    urgency: bool | None = None,
    limit: int | None = 100,
    **which: Unpack[Which],
) -> list[OrderRow]:
    """Return orders, the last changed first. `limit` None: no limit.

    `urgency` True: only orders whose urgency is stored, the most urgent first (`by_urgency`). False: only orders that
    need a person, and whose urgency is not stored, because older code wrote them.
    `text`: only orders with a stored name that it finds (names.py); fast only if many have it, or with `newest`.
    `keys`: only these. `newest`: of the list without `text` and `keys` only the first so many orders are looked at.
    """
    c = s.orders.c
    where = _where(which)
    if urgency is not None:
        where.append(s.has_urgency(c) if urgency else s.lacks_urgency(c))
    if keys is not None:
        where = [c.id.in_(_last_changed(where, newest, limit, is_sqlite=store.is_sqlite))]
    statement = sa.select(s.orders).where(*where).order_by(*(s.by_urgency(c) if urgency else _by_change(c)))
    if text:
        statement = _with_name(statement, text, newest, is_sqlite=store.is_sqlite)
    with store.reading(by_index=urgency is not None) as connection:
        return [shown(row) for row in connection.execute(statement.limit(limit), bulk.numbers(keys or ()))]


def count(store: Store, *, text: str = "", **which: Unpack[Which]) -> int:
    """Return how many orders `latest` returns for the same arguments without a limit.

    PostgreSQL counts the entries of an index, if one has the columns that are asked for, and reads no facts.
    """
    c = s.orders.c
    where = _where(which)
    if text:
        named = names.matches(text, is_sqlite=store.is_sqlite)
        where.append(c.id.in_(sa.select(s.names.c.order_key).where(named)))
    with store.reading(by_index=True) as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(s.orders).where(*where)).scalar_one()


def _where(which: Which) -> list[sa.ColumnElement[bool]]:
    c = s.orders.c
    where: list[sa.ColumnElement[bool]] = []
    if shop := which.get("shop"):
        where.append(c.shop == shop)
    if states := which.get("states"):
        where.append(c.state.in_(states))
    if which.get("attention"):
        where.append(s.needs_attention(c))
    if changed_after := which.get("changed_after"):
        where.append(c.updated_at >= changed_after)
    if entered_before := which.get("entered_before"):
        where.append(c.entered_at <= entered_before)
    if place := which.get("after"):
        at, key = place
        where += [c.updated_at <= at, sa.or_(c.updated_at < at, c.id < key)]
    return where


def _by_change(c: Any) -> tuple[sa.ColumnElement[Any], ...]:
    return (c.updated_at.desc(), c.id.desc())


def _last_changed(
    where: Sequence[sa.ColumnElement[bool]], newest: int | None, limit: int | None, *, is_sqlite: bool
) -> sa.Select[Any]:
    """The keys of those of `bulk.numbers` that changed last; with `newest` of the first so many orders of the list,
    which an index gives. Without OFFSET 0, PostgreSQL may read the list by change until it has met enough of them."""
    c = s.orders.c
    some = sa.select(c.id, c.updated_at).where(*where)
    if newest is None:
        mine = some.where(bulk.among(c.id, is_sqlite=is_sqlite)).offset(0).subquery()
    else:
        first = some.order_by(*_by_change(c)).limit(newest).subquery()
        mine = sa.select(first).where(bulk.among_many(first.c.id, is_sqlite=is_sqlite)).offset(0).subquery()
    return sa.select(mine.c.id).order_by(*_by_change(mine.c)).limit(limit)


def _with_name(statement: sa.Select[Any], text: str, newest: int | None, *, is_sqlite: bool) -> sa.Select[Any]:
    """Those orders of a list that have the name. Asked for each row in the order of the list: PostgreSQL would else
    read all that have the name, and sort them. No index of names is asked for that."""
    c: Any = s.orders.c
    if newest is not None:
        some = statement.limit(newest).subquery()
        statement, c = sa.select(some).order_by(*_by_change(some.c)), some.c
    found = sa.select(names.holds_line(text, is_sqlite=is_sqlite)).where(s.names.c.order_key == c.id)
    return statement.where(found.scalar_subquery())
