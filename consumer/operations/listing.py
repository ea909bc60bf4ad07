"""The list of orders: which orders, in which order, and what it shows of each.

The list of those that need a person begins with the order whose deadline is nearest.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from adapters.store import orders as order_rows
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from statemachine.commands import Policy
from statemachine.deadlines import next_deadline

_LAST: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which orders to list. An empty field asks for every order."""

    shop: str | None = None
    states: Collection[str] = ()
    attention: bool = False  # only orders that need a person
    reasons: Collection[str] = ()  # only orders that have one of these reasons


@dataclass(frozen=True, slots=True)
class Listed:
    """One order, with what tells how urgent it is."""

    row: OrderRow
    since: datetime | None  # from when on it needs a person: by the oldest of the reasons that are asked for
    deadline: datetime | None  # until when Mirakl waits for the seller; None: no deadline runs

    @property
    def urgency(self) -> tuple[datetime, datetime]:
        return self.deadline or _LAST, self.since or _LAST


def find_orders(store: Store, wanted: Wanted, policies: Mapping[str, Policy], limit: int) -> list[Listed]:
    """At most `limit` orders: for a person the most urgent first, else the last changed first."""
    needs_person = wanted.attention or bool(wanted.reasons)
    rows = order_rows.latest(
        store,
        shop=wanted.shop,
        states=sorted(wanted.states),
        attention=needs_person,
        limit=None if needs_person else limit,
    )
    if wanted.reasons:
        rows = [row for row in rows if any(one.reason in wanted.reasons for one in row.attention)]
    found = [listed(row, policies.get(row.shop, Policy()), wanted.reasons) for row in rows]
    if needs_person:
        found.sort(key=lambda one: one.urgency)
    return found[:limit]


def listed(row: OrderRow, policy: Policy, reasons: Collection[str] = ()) -> Listed:
    """What the list says of an order. `reasons`: only these count for `since`; empty: all."""
    since = min((one.since for one in row.attention if not reasons or one.reason in reasons), default=None)
    deadline = None if row.quarantine else next_deadline(row.facts, policy)  # its deadlines may be what raises
    return Listed(row, since, deadline)


def summary_of(row: OrderRow, policy: Policy) -> dict[str, Any]:
    """An order in a few fields, as `--json` shows it."""
    return summary(listed(row, policy))


def summary(one: Listed) -> dict[str, Any]:
    return {
        "shop": one.row.shop,
        "order_id": one.row.order_id,
        "state": one.row.state,
        "attention": list(dict.fromkeys(each.reason for each in one.row.attention)),
        "since": one.since,
        "deadline": one.deadline,
        "entered_at": one.row.entered_at,
        "updated_at": one.row.updated_at,
    }
