"""The list of orders: which orders, in which order, and what it shows of each.

The list of those that need a person is sorted by urgency, and among orders of one urgency by the deadline.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from adapters.store import orders as order_rows
from adapters.store.orders import OrderRow
from adapters.store.snapshots import newest_with
from adapters.store.transaction import Store
from statemachine.commands import Policy
from statemachine.deadlines import next_deadline
from statemachine.facts import Tracking
from statemachine.payloads import may_be_in_oms
from statemachine.reason_of_order import Attention
from statemachine.urgency import Urgency

_LAST: Final = datetime.max.replace(tzinfo=UTC)


class Sort(StrEnum):
    """In which order the list comes."""

    URGENCY = "urgency"  # what has to be done now first, what a read ends last; among equals the nearest deadline
    DEADLINE = "deadline"  # the nearest first
    SINCE = "since"  # the one that has needed a person longest first
    ENTERED = "entered"  # the longest in its state first
    UPDATED = "updated"  # the last changed first


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which orders to list. An empty field asks for every order."""

    shop: str | None = None
    states: Collection[str] = ()
    attention: bool = False  # only orders that need a person
    reasons: Collection[str] = ()  # only orders that have one of these reasons
    text: str = ""  # in an id, a reference, a SKU or a tracking
    older_than: timedelta | None = None  # it needs a person (`for_a_person`), else is in its state, for longer
    deadline_within: timedelta | None = None  # the deadline is over, or is nearer than this
    changed_after: datetime | None = None
    after: tuple[datetime, int] | None = None  # behind the order with this `updated_at` and key, by the last change
    sort: Sort | None = None  # None: by urgency if it is about a person, else by the last change

    @property
    def for_a_person(self) -> bool:
        return self.attention or bool(self.reasons)


@dataclass(frozen=True, slots=True)
class Listed:
    """One order, with what tells how urgent it is."""

    row: OrderRow
    since: datetime | None  # from when on it needs a person: by the oldest of the reasons that are asked for
    deadline: datetime | None  # until when Mirakl waits for the seller; None: no deadline runs
    urgency: Urgency | None  # of the most urgent reason that is asked for; None: it needs no person


def find_orders(
    store: Store, wanted: Wanted, policies: Mapping[str, Policy], now: datetime, limit: int | None = None
) -> list[Listed]:
    """At most `limit` orders, sorted as `wanted` says."""
    sort = wanted.sort or (Sort.URGENCY if wanted.for_a_person else Sort.UPDATED)
    is_filtered = wanted.reasons or wanted.text or wanted.deadline_within or (wanted.older_than and wanted.for_a_person)
    at_once = sort is Sort.UPDATED and not is_filtered  # the store can limit
    rows = _rows(store, wanted, now, limit if at_once else None)
    found = [listed(row, policies.get(row.shop, Policy()), wanted.reasons) for row in rows]
    found = [one for one in found if _is_wanted(one, wanted, now)]
    found.sort(key=_KEYS[sort])  # a stable sort: rows come with the last changed first
    return found[:limit]


def _rank(urgency: Urgency | None) -> int:
    """The place of an urgency, the most urgent first."""
    return list(Urgency).index(urgency) if urgency else len(Urgency)


_KEYS: Final[Mapping[Sort, Callable[[Listed], tuple[Any, ...]]]] = {
    Sort.URGENCY: lambda one: (_rank(one.urgency), one.deadline or _LAST, one.since or _LAST),
    Sort.DEADLINE: lambda one: (one.deadline or _LAST, one.since or _LAST),
    Sort.SINCE: lambda one: (one.since or _LAST,),
    Sort.ENTERED: lambda one: (one.row.entered_at,),
    Sort.UPDATED: lambda _: (),
}


def _rows(store: Store, wanted: Wanted, now: datetime, limit: int | None) -> list[OrderRow]:
    """The orders that the store finds: by the text in their facts, or in the references of the order as received."""
    in_state = None if wanted.older_than is None or wanted.for_a_person else now - wanted.older_than

    def rows(text: str, limit: int | None) -> list[OrderRow]:
        return order_rows.latest(
            store,
            shop=wanted.shop,
            states=sorted(wanted.states),
            attention=wanted.for_a_person,
            text=text,
            changed_after=wanted.changed_after,
            entered_before=in_state,
            after=wanted.after,
            limit=limit,
        )

    if not wanted.text:
        return rows("", limit)
    found = [row for row in rows(wanted.text, None) if _holds(_names_of(row), wanted.text)]
    known = {row.key for row in found}
    referred = {key for key, body in newest_with(store, wanted.text) if _holds(_references_in(body), wanted.text)}
    if referred - known:
        found += [row for row in rows("", None) if row.key in referred - known]
    return found


def _is_wanted(one: Listed, wanted: Wanted, now: datetime) -> bool:
    if wanted.reasons and not any(each.reason in wanted.reasons for each in one.row.attention):
        return False
    if wanted.older_than and wanted.for_a_person and (one.since is None or one.since > now - wanted.older_than):
        return False
    within = wanted.deadline_within
    return within is None or (one.deadline is not None and one.deadline <= now + within)


def _holds(names: Iterable[str], text: str) -> bool:
    return any(text.casefold() in name.casefold() for name in names)


def _names_of(row: OrderRow) -> Iterator[str]:
    """The names by which people and remotes call the order, its lines, its orders in the OMS and its parcels."""
    facts = row.facts
    yield row.order_id
    for line in facts.newest.lines if facts.newest else ():
        yield from (line.id, line.sku)
    for part in facts.parts:
        yield from (str(part.oms_id), part.ref)
    shown = facts.newest.tracking if facts.newest else Tracking()
    for tracking in (shown, *facts.sent, *(one.tracking for one in facts.dispatches)):
        yield tracking.number


def _references_in(body: bytes) -> Iterator[str]:
    """The references of the customer, the seller and the marketplace in an order of OR11."""
    try:
        order = json.loads(body)
    except (ValueError, RecursionError):
        return
    if isinstance(order, dict):
        references = order.get("references")
        named = [order.get("commercial_id"), *(references.values() if isinstance(references, dict) else ())]
        yield from (one for one in named if isinstance(one, str))


def listed(row: OrderRow, policy: Policy, reasons: Collection[str] = ()) -> Listed:
    """What the list says of an order. `reasons`: only these count for `since` and `urgency`; empty: all."""
    asked = [one for one in row.attention if not reasons or one.reason in reasons]
    since = min((one.since for one in asked), default=None)
    urgency = min((_urgency(one, row) for one in asked), key=_rank, default=None)
    deadline = None if row.quarantine else next_deadline(row.facts, policy)  # its deadlines may be what raises
    return Listed(row, since, deadline, urgency)


def _urgency(one: Attention, row: OrderRow) -> Urgency:
    """When a person has to act on the reason. The facts of a quarantined order are not asked."""
    in_oms = one.about.urgency_in_oms
    return in_oms if in_oms and not row.quarantine and may_be_in_oms(row.facts) else one.about.urgency


def summary_of(row: OrderRow, policy: Policy) -> dict[str, Any]:
    """An order in a few fields, as `--json` shows it."""
    return summary(listed(row, policy))


def summary(one: Listed) -> dict[str, Any]:
    return {
        "shop": one.row.shop,
        "order_id": one.row.order_id,
        "state": one.row.state,
        "attention": list(dict.fromkeys(each.reason for each in one.row.attention)),
        "do": one.urgency,
        "since": one.since,
        "deadline": one.deadline,
        "entered_at": one.row.entered_at,
        "updated_at": one.row.updated_at,
    }
