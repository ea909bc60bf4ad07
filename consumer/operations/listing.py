"""The list of orders: which orders and how many, in which order, and what it shows of each.

The list of those that need a person is sorted by urgency, then by the deadline, then by how long the order needs a
person. The store sorts it (schema.by_urgency), if nothing else is asked for that the store does not know.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final

from adapters.store import names as name_rows
from adapters.store import order_lists
from adapters.store.order_lists import Which
from adapters.store.orders import OrderRow
from adapters.store.transaction import Store
from consumer.applying.names import unnamed
from consumer.operations.what_first import names_in_turn
from statemachine.attention.urgency_of_order import most_urgent
from statemachine.commands import Policy
from statemachine.deadlines import next_deadline
from statemachine.urgency import Urgency

#: If the first so many orders of a list fill the page, the index of names is not asked: it would find nearly all.
NEWEST: Final = 500
#: More orders than this are first looked for among the WINDOW first orders of the list, which takes 0.6 us for each. To
#: read an order by its key takes 4 us. A name that 0.5 % of a million orders have fills a page from the window.
FEW: Final = 5_000
WINDOW: Final = 20_000
#: The keys of more orders than this are not fetched at first. In the window they are found by their names, 4 us each.
MANY: Final = 20_000
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
    text: str = ""  # an id, a reference, a SKU or a tracking number begins with it, or a word in them does
    older_than: timedelta | None = None  # it needs a person (`for_a_person`), else is in its state, for longer
    deadline_within: timedelta | None = None  # the deadline is over, or is nearer than this
    changed_after: datetime | None = None
    after: tuple[datetime, int] | None = None  # behind the order with this `updated_at` and key, by the last change
    sort: Sort | None = None  # None: by urgency if it is about a person, else by the last change

    @property
    def for_a_person(self) -> bool:
        return self.attention or bool(self.reasons)

    @property
    def store_decides(self) -> bool:
        """Whether `which` is all of it, but for `text`. The rest needs an order's facts or reasons, and the policy."""
        return not (self.reasons or self.deadline_within is not None or (self.older_than and self.for_a_person))

    def which(self, now: datetime) -> Which:
        """The part of it that columns of an order decide."""
        in_state = None if self.older_than is None or self.for_a_person else now - self.older_than
        return Which(
            shop=self.shop,
            states=sorted(self.states),
            attention=self.for_a_person,
            changed_after=self.changed_after,
            entered_before=in_state,
            after=self.after,
        )


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
    if sort is Sort.URGENCY and wanted.attention and wanted.store_decides and not wanted.text:
        rows = _most_urgent(store, wanted, limit)
    else:
        at_once = sort is Sort.UPDATED and wanted.store_decides  # the store can limit
        rows = _rows(store, wanted, now, limit if at_once else None)
    found = [listed(row, policies.get(row.shop, Policy()), wanted.reasons) for row in rows]
    found = [one for one in found if _is_wanted(one, wanted, now)]
    found.sort(key=_KEYS[sort])  # a stable sort: rows come with the last changed first
    return found[:limit]


def count_orders(store: Store, wanted: Wanted, policies: Mapping[str, Policy], now: datetime) -> int:
    """How many orders `find_orders` finds without a limit. The store counts them, unless the facts of each are needed
    to decide whether it is wanted, or orders that older code wrote have the text in names that are not stored yet."""
    if not wanted.store_decides or (wanted.text and any(_late(store, wanted.text))):
        return len(find_orders(store, wanted, policies, now))
    if wanted.text and name_rows.is_blank(wanted.text):
        return 0
    return order_lists.count(store, text=wanted.text, **wanted.which(now))


def _rank(urgency: Urgency | None) -> int:
    return urgency.rank if urgency else len(Urgency)


_KEYS: Final[Mapping[Sort, Callable[[Listed], tuple[Any, ...]]]] = {
    Sort.URGENCY: lambda one: (_rank(one.urgency), one.deadline or _LAST, one.since or _LAST, one.row.key),
    Sort.DEADLINE: lambda one: (one.deadline or _LAST, one.since or _LAST),
    Sort.SINCE: lambda one: (one.since or _LAST,),
    Sort.ENTERED: lambda one: (one.row.entered_at,),
    Sort.UPDATED: lambda _: (),
}


def _most_urgent(store: Store, wanted: Wanted, limit: int | None) -> list[OrderRow]:
    """The most urgent of the orders that need a person, and all whose urgency is not stored: those are few, but in the
    first minute after an update. The second statement finds what is stored between the two."""
    rows = partial(
        order_lists.latest,
        store,
        shop=wanted.shop,
        states=sorted(wanted.states),
        changed_after=wanted.changed_after,
    )
    found = [*rows(urgency=False, limit=None), *rows(urgency=True, limit=limit)]
    return list({row.key: row for row in found}.values())


def _rows(store: Store, wanted: Wanted, now: datetime, limit: int | None) -> list[OrderRow]:
    """The orders that the store finds, the last changed first."""
    rows = partial(order_lists.latest, store, limit=limit, **wanted.which(now))
    if not wanted.text:
        return rows()
    found = rows(text=wanted.text, newest=NEWEST) if limit and not name_rows.is_blank(wanted.text) else []
    if limit is None or len(found) < limit:
        found = _by_names(store, rows, wanted.text, limit)
    late = list(_late(store, wanted.text))
    for start in range(0, len(late), MANY):
        found += rows(keys=late[start : start + MANY])
    once = {row.key: row for row in found}.values()  # also a stored name of a late order may have the text
    return sorted(once, key=lambda row: (row.updated_at, row.key), reverse=True)


def _by_names(store: Store, rows: Callable[..., list[OrderRow]], text: str, limit: int | None) -> list[OrderRow]:
    """The orders that the index of names finds. If there are many, those among the first orders of the list mostly fill
    the page, and the others are not read."""
    keys = name_rows.find(store, text, MANY)
    if limit is None:
        return rows(text=text) if len(keys) == MANY else rows(keys=keys) if keys else []
    found: list[OrderRow] = []
    if len(keys) == MANY:
        found = rows(text=text, newest=WINDOW)
        keys = name_rows.find(store, text, None) if len(found) < limit else keys
    elif len(keys) > FEW:
        found = rows(keys=keys, newest=WINDOW)
    return rows(keys=keys) if keys and len(found) < limit else found


def _late(store: Store, text: str) -> Iterator[int]:
    """The keys of orders that have the text in their names, which are not stored yet."""
    return (row.key for row, names in unnamed(store) if name_rows.holds(names, text))


def _is_wanted(one: Listed, wanted: Wanted, now: datetime) -> bool:
    if wanted.reasons and not any(each.reason in wanted.reasons for each in one.row.attention):
        return False
    if wanted.older_than and wanted.for_a_person and (one.since is None or one.since > now - wanted.older_than):
        return False
    within = wanted.deadline_within
    return within is None or (one.deadline is not None and one.deadline <= now + within)


def listed(row: OrderRow, policy: Policy, reasons: Collection[str] = ()) -> Listed:
    """What the list says of an order. `reasons`: only these count for `since` and `urgency`; empty: all."""
    asked = [one for one in row.attention if not reasons or one.reason in reasons]
    since = min((one.since for one in asked), default=None)
    if row.quarantine:  # its facts may be what raises
        return Listed(row, since, row.deadline[1] if row.deadline else None, most_urgent(asked, None))
    return Listed(row, since, next_deadline(row.facts, policy), most_urgent(asked, row.facts))


def summary_of(row: OrderRow, policy: Policy) -> dict[str, Any]:
    """An order in a few fields, as `--json` shows it."""
    return summary(listed(row, policy))


def summary(one: Listed) -> dict[str, Any]:
    return {
        "shop": one.row.shop,
        "order_id": one.row.order_id,
        "state": one.row.state,
        "attention": names_in_turn(one.row),
        "do": one.urgency,
        "since": one.since,
        "deadline": one.deadline,
        "entered_at": one.row.entered_at,
        "updated_at": one.row.updated_at,
    }
