"""How many orders kept each objective (statemachine/objectives.py), and the nearest deadlines of each shop."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from adapters.store import bulk
from adapters.store import schema as s
from adapters.store.transaction import Store, Transaction
from statemachine.deadlines import DeadlineKind
from statemachine.objectives import Kept, Objective

#: How many results one transaction adds to the totals.
FOLD_BATCH: Final = 5_000


@dataclass(frozen=True, slots=True, order=True)
class ObjectiveResult:
    """An order of this shop kept this objective or missed it."""

    shop: str
    objective: Objective
    result: Kept


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The orders of a shop of which Mirakl waits for one thing."""

    nearest: datetime | None = None  # past or not
    overdue: int = 0


# -- Results -----------------------------------------------------------------------------------------------------


def add(tx: Transaction, results: Sequence[ObjectiveResult]) -> None:
    """Store results. The caller marks them as counted in the rows of their orders, in the same transaction."""
    rows = [dict(shop=one.shop, objective=one.objective, result=one.result) for one in results]
    if rows:
        bulk.insert_rows(tx, s.objective_results, rows)


def fold(store: Store) -> int:
    """Move at most FOLD_BATCH results to the totals. Returns how many.

    A result is deleted in the transaction that adds it to its total, so none is lost and none counts twice.
    """
    c, t = s.objective_results.c, s.objective_totals.c
    some = sa.select(c.id).order_by(c.id).limit(FOLD_BATCH)
    with store.transaction() as tx:
        gone = tx.execute(sa.delete(s.objective_results).where(c.id.in_(some)).returning(c.shop, c.objective, c.result))
        found = Counter(ObjectiveResult(*row) for row in gone)
        for one, count in sorted(found.items()):
            mine = (t.shop == one.shop, t.objective == one.objective, t.result == one.result)
            done = tx.execute(sa.update(s.objective_totals).where(*mine).values(total=t.total + count))
            if not done.rowcount:
                new = dict(shop=one.shop, objective=one.objective, result=one.result, total=count)
                tx.execute(sa.insert(s.objective_totals).values(**new))
    return found.total()


def totals(store: Store) -> Mapping[ObjectiveResult, int]:
    """Return the totals, as `fold` left them."""
    with store.reading() as connection:
        rows = connection.execute(sa.select(s.objective_totals)).all()
    return {ObjectiveResult(row.shop, row.objective, row.result): row.total for row in rows}


# -- Deadlines ---------------------------------------------------------------------------------------------------


def deadlines(store: Store, now: datetime) -> Mapping[tuple[str, DeadlineKind], Deadlines]:
    """Return the nearest deadline of each shop, and how many of its orders are past theirs.

    One statement. It reads one entry of the index for each shop and kind, and one for each order that is overdue.
    """
    c, shop = s.orders.c, s.shops.c.name
    columns: list[sa.ColumnElement[Any]] = []
    for kind in DeadlineKind:
        mine = (c.shop == shop, c.deadline_kind == kind, c.deadline.is_not(None))
        nearest = sa.select(sa.func.min(c.deadline, type_=s.Instant)).where(*mine)
        overdue = sa.select(sa.func.count()).select_from(s.orders).where(*mine, c.deadline < now)
        columns += [
            nearest.correlate(s.shops).scalar_subquery().label(f"nearest_{kind}"),
            overdue.correlate(s.shops).scalar_subquery().label(f"overdue_{kind}"),
        ]
    with store.reading() as connection:
        rows = connection.execute(sa.select(shop, *columns)).mappings().all()
    return {
        (row["name"], kind): Deadlines(row[f"nearest_{kind}"], row[f"overdue_{kind}"])
        for row in rows
        for kind in DeadlineKind
    }
